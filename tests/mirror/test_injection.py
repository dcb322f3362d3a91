"""Whatever strangers write into an address, a ref, a commit's name, a variable or a configuration: git starts nothing
for them, writes nothing for them, and what is refused is refused in one sentence.
"""

import ast
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import git.cmd  # noqa: F401  # At its import it asks for git's version, in whatever surroundings it finds.
import pytest

import surveil
from surveil.core.patterns import read_patterns
from surveil.errors import SurveilError, UsageError
from surveil.mirror.address import Address, parse
from surveil.mirror.bundle import make_bundle, take_bundle, tips
from surveil.mirror.checkout import bring, checkout, is_alone
from surveil.mirror.command import _OPTIONS, run
from surveil.mirror.local import LocalRepository
from surveil.mirror.mirror import Mirror
from surveil.mirror.refs import list_remote
from surveil.mirror.sighting import look
from surveil.mirror.typed import resolve
from tests.mirror.payloads import TEXTS, keys, texts, variables
from tests.mirror.repositories import Repository, make_repository, serve_git

ROOT: Final = Path(surveil.__file__).parent
MARK: Final = "pwned"


class World:
    """A sound repository by its path and through a server, and a folder in which nothing may appear."""

    def __init__(self, folder: Path, server: str, model: Path) -> None:
        self.folder = folder
        self.marker = folder / "trap-sprung" / MARK
        self.marker.parent.mkdir()
        shutil.copytree(model, folder / "source")
        self.repository = Repository(folder / "source")
        self.first, self.sha = self.repository.git("rev-list", "--reverse", "main").split()
        self.addresses: tuple[Address, ...] = (
            parse(str(self.repository.path), "/"),
            parse(f"{server}/source/.git", "/"),
        )

    def mirror(self, address: Address) -> Mirror:
        """A mirror that is not there yet."""
        return Mirror(tempfile.mkdtemp(dir=self.folder, prefix="mirrors-"), address)

    def untouched(self) -> bool:
        """Whether nobody made the marker, here or where tests are run."""
        # A ref may well have this name.
        found = [path for path in self.folder.rglob(MARK) if "refs" not in path.parts]
        return not found and not Path(MARK).exists() and self.sound()

    def sound(self) -> bool:
        """Whether the repository's refs are what they were."""
        names = LocalRepository(str(self.repository.path)).refs().refs
        return set(names) == {"refs/heads/main", "refs/tags/v1"} and names["refs/heads/main"] == self.sha


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository of which every world has a copy."""
    made = make_repository(tmp_path_factory.mktemp("model"))
    made.commit("First", hello__txt="hello\n")
    (made.path / ".gitattributes").write_text("* filter=evil diff=evil merge=evil\n")
    made.commit("Second")
    made.git("tag", "--annotate", "--message=One", "v1")
    return made.path


@pytest.fixture(scope="module")
def plain(model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What every call sees in a world in which nobody did anything: of its path, and through a server."""
    folder = tmp_path_factory.mktemp("plain")
    with serve_git(folder) as server:
        return every_call(World(folder, server, model))


@pytest.fixture
def world(model: Path, tmp_path: Path) -> Iterator[World]:
    with serve_git(tmp_path) as server:
        yield World(tmp_path, server, model)


def every_call(world: World) -> list[str]:
    """Do with a repository all that surveil ever does with one, each call of git at least once; what it saw."""
    saw = []
    for address in world.addresses:
        mirror = world.mirror(address)
        refs = mirror.refs()
        seen = look(mirror, world.sha, refs.head)
        grew = (mirror.grew(world.first, world.sha), mirror.changed(world.first, world.sha))
        tree = mirror.path.parent / "tree"
        checkout(mirror, world.sha, tree, "refs/heads/main")
        bring(mirror, world.first, tree, "refs/heads/main")
        alone = is_alone(mirror, tree)
        with tempfile.TemporaryFile(dir=world.folder) as file:
            make_bundle(mirror, world.sha, [world.first], file)
            file.truncate(0)
            file.seek(0)
            make_bundle(mirror, world.sha, [], file)
            other = Mirror(mirror.path.parent / "others", parse("https://127.0.0.1:1/never", "/"))
            take_bundle(other, world.sha, file, "refs/heads/main")
            known = (other.has(world.sha), len(tips(other)), sorted(other.tags()))
        other.tidy()
        mirror.tidy()
        names = sorted(path.name for path in tree.iterdir())
        saw.append(f"{refs} {seen.message} {grew} {alone} {known} {names}")
    saw.append(run("version", about="git").stdout.decode())
    return saw


def refusal(call: Callable[[], object]) -> str:
    """Why a call is refused; empty if it is not. A refusal is one sentence that can be shown."""
    sentence = ""
    try:
        call()
    except SurveilError as refused:
        sentence = str(refused) or "nothing"
    assert sentence.isprintable(), repr(sentence)
    return sentence


# ---- one door --------------------------------------------------------------------------------------------------------


def starts(text: str) -> Iterator[str]:
    """The ways in which a module starts programs, as far as it names them."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if node.value.id == "os" and node.attr.startswith(("exec", "spawn", "posix_spawn", "system", "popen")):
                yield name
            if name in {"subprocess.Popen", "subprocess.run", "subprocess.check_output", "subprocess.call"}:
                yield name
            if node.attr in {"create_subprocess_exec", "create_subprocess_shell"}:
                yield name
        modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (module for module in modules if module.split(".")[0] in {"git", "pty", "multiprocessing"})


def test_one_module_starts_git_and_those_that_start_other_programs_are_known() -> None:
    found = {str(path.relative_to(ROOT)): set(starts(path.read_text())) for path in ROOT.rglob("*.py")}
    assert {module: names for module, names in found.items() if names} == {
        "cli/drilling.py": {"subprocess.Popen"},
        "execute/collect/cases.py": {"subprocess.Popen"},
        "execute/keeper/enclosure.py": {"os.execve"},
        "execute/isolation/isolating.py": {"subprocess.run"},
        "execute/nursery.py": {"subprocess.Popen"},
        "execute/keeper/offspring.py": {"os.execvpe"},
        "execute/shell.py": {"subprocess.Popen"},
        "execute/victims.py": {"subprocess.Popen"},
        "fleet/child.py": {"asyncio.create_subprocess_exec"},
        "fleet/parent.py": {"os.execv"},
        "mirror/command.py": {"git.cmd", "git.exc", "subprocess.Popen"},
        "notify/apprising.py": {"asyncio.create_subprocess_exec"},
        "shards.py": {"subprocess.run"},
    }


@pytest.mark.parametrize(
    "text", ["import git", "from git import Repo", "import os\nos.execvp('git', [])", "import pty"]
)
def test_another_door_would_be_seen(text: str) -> None:
    assert list(starts(text))


def test_every_call_of_git_stands_behind_our_options_and_in_our_surroundings(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.which("git")
    spy, book = world.folder / "spy", world.folder / "book"
    spy.mkdir()
    (spy / "git").write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$*" >> {book}\nenv | grep ^GIT_ALLOW_PROTOCOL= >> {book}\nexec {real} "$@"\n'
    )
    (spy / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{spy}:{os.environ['PATH']}")
    every_call(world)
    calls = [line for line in book.read_text().splitlines() if not line.startswith("GIT_ALLOW_PROTOCOL=")]
    assert all(call.startswith(" ".join(_OPTIONS) + " ") for call in calls)
    assert book.read_text().count("GIT_ALLOW_PROTOCOL=") == len(calls)
    commands = {next(word for word in call.split() if word in COMMANDS) for call in calls}
    assert commands == COMMANDS - {"for-each-ref", "symbolic-ref", "rev-parse", "repack"}, "tell the catalogue of it"


COMMANDS: Final = frozenset({
    "cat-file", "diff-tree", "fetch", "for-each-ref", "gc", "index-pack", "ls-files", "ls-remote", "merge-base",
    "pack-objects", "read-tree", "repack", "rev-list", "rev-parse", "symbolic-ref", "update-ref", "version",
})  # fmt: skip
"""All that surveil ever asks of git. Four of them need a mirror with many packs, or refs in a table."""


# ---- texts -----------------------------------------------------------------------------------------------------------


def ask_for(world: World, address: Address, text: str) -> None:
    """Put a text into each argument of each call on a repository's mirror."""
    mirror = world.mirror(address)
    mirror.fetch(world.sha, "refs/heads/main")
    tree = mirror.path.parent / "tree"
    with tempfile.TemporaryFile(dir=world.folder) as file:
        calls: list[Callable[[], object]] = [
            lambda: mirror.fetch(text),
            lambda: mirror.has(text),
            lambda: mirror.read(text),
            lambda: mirror.grew(text, world.sha),
            lambda: mirror.grew(world.sha, text),
            lambda: mirror.changed(text, world.sha),
            lambda: mirror.changed(world.sha, text),
            lambda: mirror.changed(None, text),
            lambda: checkout(mirror, text, tree),
            lambda: bring(mirror, text, tree, ""),
            lambda: make_bundle(mirror, text, [], file),
            lambda: make_bundle(mirror, world.sha, [text], file),
            lambda: take_bundle(mirror, text, file),
        ]
        assert all(refusal(call) for call in calls)
    assert not tree.exists()
    # A ref of that name may be noted, or asked for; nothing else may come of it.
    refusal(lambda: world.mirror(address).fetch(world.sha, text))
    checkout(mirror, world.sha, tree, text)
    assert "evil" not in (tree / ".git" / "packed-refs").read_text()


@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_no_text_from_outside_makes_git_do_anything_else(world: World, number: int) -> None:
    text = texts(world.marker)[number]
    with suppress(UsageError):
        # Whatever is an address after all leads to a port at which nobody listens, or to a path.
        address = parse(text, str(world.folder))
        assert refusal(lambda: resolve(text, str(world.folder))) or not address.is_local
        assert refusal(lambda: Mirror(world.folder / "addressed", address).fetch(world.sha, "refs/heads/main"))
        assert address.is_local or refusal(lambda: list_remote(address))
    with suppress(UsageError):
        prefixes = read_patterns([text]).prefixes()
        refusal(lambda: list_remote(world.addresses[1], prefixes))
    for address in world.addresses:
        ask_for(world, address, text)
    assert world.untouched()


@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_no_name_in_a_bundle_makes_git_do_anything_else(world: World, number: int) -> None:
    text = os.fsencode(texts(world.marker)[number])
    mirror = world.mirror(world.addresses[1])
    mirror.fetch(world.sha)
    with tempfile.TemporaryFile(dir=world.folder) as file:
        make_bundle(mirror, world.sha, [], file)
        file.seek(0)
        head, _, pack = file.read().partition(b"\n\n")
        sha = world.sha.encode()
        odd = b"\n".join([head, b"-" + text, sha + b" " + text, sha + b" refs/tags/" + text, text + b" refs/tags/x"])
        other = Mirror(world.folder / "others", parse("https://127.0.0.1:1/never", "/"))
        file.seek(0)
        file.truncate()
        file.write(odd + b"\n\n" + pack)
        refusal(lambda: take_bundle(other, world.sha, file))
        if other.path.is_dir():
            names = LocalRepository(str(other.path)).refs().refs
            assert all(name.startswith(("refs/tags/", "refs/surveil/")) for name in names)
            assert set(names.values()) <= {world.sha, world.repository.git("rev-parse", "refs/tags/v1")}
    assert world.untouched()


@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_a_repository_at_any_path_is_read_or_refused(world: World, number: int) -> None:
    name = texts(Path(MARK))[number].replace("/", "_")
    path = world.folder / name
    try:
        shutil.copytree(world.repository.path, path)
    except (OSError, ValueError, UnicodeError):
        pytest.xfail("no folder can have this name")
    if not refusal(lambda: resolve(f"./{name}", str(world.folder))):
        mirror = world.mirror(resolve(f"./{name}", str(world.folder)))
        assert look(mirror, world.sha).message == "Second"
        tree = mirror.path.parent / "tree"
        checkout(mirror, world.sha, tree)
        assert Repository(tree).git("status", "--porcelain") == ""
        assert Repository(tree).git("remote", "get-url", "origin") == str(path)
    assert world.untouched()


# ---- surroundings ----------------------------------------------------------------------------------------------------


def trap(folder: Path, marker: Path) -> Path:
    """A folder with a configuration that names programs, and with programs in the place of git's own."""
    made = folder / "trap"
    made.mkdir()
    lines = [f"[core]\n\tfsmonitor = touch {marker}\n\tgitProxy = touch {marker}\n\tsshCommand = touch {marker}\n"]
    lines.append(f'[alias]\n\tx = !touch {marker}\n[url "ext::touch {marker} "]\n\tinsteadOf = git://\n')
    for name in ("config", ".gitconfig", "git/config"):
        (made / name).parent.mkdir(exist_ok=True)
        (made / name).write_text("".join(lines))
    shutil.rmtree(made / "git")
    for name in ("git", "git-remote-git", "git-upload-pack", "git-cat-file", "git-fetch", "ssh", "post-checkout"):
        (made / name).write_text(f"#!/bin/sh\ntouch {marker}\nexit 1\n")
        (made / name).chmod(stat.S_IRWXU)
    return made


@pytest.mark.parametrize("number", range(len(variables(Path("/m"), Path("/t")))))
def test_what_the_users_shell_has_set_changes_nothing(
    world: World, plain: list[str], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    there = trap(world.folder, world.marker)
    for name, value in variables(world.marker, there)[number].items():
        monkeypatch.setenv(name, value)
    assert every_call(world) == plain
    assert world.untouched()


@pytest.mark.parametrize("key", list(keys(Path("/m"))))
def test_no_key_of_a_repositorys_configuration_changes_what_is_seen(world: World, plain: list[str], key: str) -> None:
    trap(world.folder, world.marker)
    # What a server makes of its own configuration is its own affair; ours is the path.
    world.addresses = world.addresses[:1]
    planted = dict(zip(keys(Path("/m")), keys(world.marker).items(), strict=True))[key]
    section, _, rest = planted[0].partition(".")
    middle, dot, name = rest.rpartition(".")
    head = f'[{section} "{middle}"]' if dot else f"[{section}]"
    with (world.repository.path / ".git" / "config").open("a") as file:
        file.write(f"{head}\n\t{name} = {planted[1]}\n")
    by_path, _, version = plain
    assert every_call(world) == [by_path, version]
    assert world.untouched()
