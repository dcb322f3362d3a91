"""What a disk of ours has after a loss of power: no less than was synced, no more than was written, torn by sectors."""

import random
import stat

from tests.disks.model import ROOT, SECTOR_BYTES, Disk, Image

FILE = stat.S_IFREG | 0o600
FOLDER = stat.S_IFDIR | 0o700


def all_losses(disk: Disk) -> list[Image]:
    return [disk.lost(random.Random(seed)) for seed in range(200)]


def contents(disk: Disk, name: str = "a") -> set[bytes | None]:
    return {image[name].content if name in image else None for image in all_losses(disk)}


def disk_with(content: bytes) -> tuple[Disk, int]:
    disk = Disk()
    file = disk.make(ROOT, "a", FILE)
    disk.write(file, 0, content)
    disk.sync(file)
    disk.sync(ROOT)
    return disk, file


def test_what_was_synced_with_its_name_is_there_whatever_follows() -> None:
    disk, file = disk_with(b"x" * 1000)
    disk.write(disk.make(ROOT, "b", FILE), 0, b"y")
    assert contents(disk) == {b"x" * 1000}
    assert contents(disk, "b") == {None, b"", b"y"}
    assert disk.inodes[file].data == b"x" * 1000


def test_a_file_whose_name_was_not_synced_may_be_gone_with_all_its_synced_bytes() -> None:
    disk = Disk()
    file = disk.make(ROOT, "a", FILE)
    disk.write(file, 0, b"x")
    disk.sync(file)
    assert contents(disk) == {None, b"x"}


def test_each_sector_arrives_by_itself_and_as_it_was_at_some_moment() -> None:
    disk, file = disk_with(b"0" * 2 * SECTOR_BYTES)
    disk.write(file, 0, b"1" * 2 * SECTOR_BYTES)
    disk.write(file, 10, b"2")
    found = contents(disk)
    first = {content[:SECTOR_BYTES] for content in found if content}
    old, new = b"0" * SECTOR_BYTES, b"1" * SECTOR_BYTES
    assert first == {old, new, new[:10] + b"2" + new[11:]}, "never the second write without the first"
    assert {content[SECTOR_BYTES:] for content in found if content} == {old, new}
    assert new + old in found
    assert old + new in found


def test_what_did_not_arrive_before_what_did_reads_as_zeros() -> None:
    disk, file = disk_with(b"")
    disk.write(file, 0, b"1" * SECTOR_BYTES)
    disk.write(file, SECTOR_BYTES, b"2" * SECTOR_BYTES)
    assert bytes(SECTOR_BYTES) + b"2" * SECTOR_BYTES in contents(disk)


def test_nothing_arrives_beyond_a_cut_that_did_not() -> None:
    disk, file = disk_with(b"old")
    disk.cut(file, 0)
    disk.write(file, 0, b"new!")
    assert contents(disk) == {b"old", b"", b"new!"}


def test_a_rename_happens_in_both_folders_or_in_neither() -> None:
    disk, _file = disk_with(b"x")
    folder = disk.make(ROOT, "f", FOLDER)
    disk.sync(ROOT)
    disk.rename(ROOT, "a", folder, "b")
    found = {tuple(sorted(image)) for image in all_losses(disk)}
    assert found == {("a", "f"), ("f", "f/b")}


def test_a_file_in_the_place_of_another_leaves_one_of_the_two() -> None:
    disk, _ = disk_with(b"old")
    draft = disk.make(ROOT, "draft", FILE)
    disk.write(draft, 0, b"new")
    disk.sync(draft)
    disk.rename(ROOT, "draft", ROOT, "a")
    assert contents(disk) == {b"old", b"new"}


def test_after_a_sync_that_failed_no_later_one_brings_the_bytes_back() -> None:
    disk, file = disk_with(b"old")
    disk.write(file, 0, b"new")
    disk.sync_failed(file)
    disk.sync(file)
    assert disk.inodes[file].data == b"new"
    assert contents(disk) == {b"old"}
