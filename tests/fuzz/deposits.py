"""What runners say of files to the dispatcher, in any order, with any offsets and lengths: whatever is under a digest
has it, `whole` is said of nothing else, and whoever is honest gets there afterwards.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Final, cast

from surveil.core.kept import Artifact, Cache
from surveil.core.peers import Peer, Role
from surveil.core.state import Identity, State
from surveil.frozen import replace
from surveil.hands.depot import Brought, Depot, _Job
from surveil.net.traffic import Received, Route
from surveil.protocol import (
    BLOB_BYTES_MAX,
    ArtifactSpec,
    CacheSpec,
    Deposit,
    Deposited,
    DoubtBlob,
    KeepArtifact,
    KeepCache,
)
from surveil.store.blobs import FolderBlobs
from surveil.store.shelf import Shelf
from tests.fuzz.disks import emptied
from tests.fuzz.draw import Draw
from tests.store.records import make_build, make_job

CONTENTS: Final = (b"abc", b"", b"x" * 700, bytes(range(256)) * 5)
DIGESTS: Final = tuple(hashlib.sha256(content).hexdigest() for content in CONTENTS)
PEERS: Final = tuple(Peer(key=letter * 40, role=Role.RUNNER, name=letter) for letter in "ab")
SIZES: Final = (0, 1, 2, 3, 4, 699, 700, 701, 1_279, 1_280, 1_281, BLOB_BYTES_MAX, BLOB_BYTES_MAX + 1)
STEPS_MAX: Final = 24
PIECE_BYTES: Final = 500
"""What an honest runner brings at once, so that it brings the larger ones in several pieces."""
BUILD: Final = make_build(1)
SPEC: Final = replace(
    make_job(1).spec,
    artifacts=(ArtifactSpec(name="files", paths=("*",)),),
    cache=(CacheSpec(key="key", restore_keys=(), paths=("lib",)),),
)


class _Notes:
    """What was noted, in the place of the database."""

    def __init__(self) -> None:
        self.kept: list[Artifact | Cache] = []

    def known_to(self, _repo: str, blob: str) -> bool:
        return any(each.blob == blob for each in self.kept)


class _Desk:
    """A depot without its loop: what it is told is done at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = _Notes()
        self.upto: dict[tuple[str, str], int] = {}
        """How much of a blob each runner was told to be here."""
        self.blobs = FolderBlobs(folder)
        self.places = tuple(str(self.blobs.path(digest)) for digest in DIGESTS)
        self.begin()

    def begin(self) -> None:
        """As a new process does, which finds what the last one left."""
        state = State(identity=Identity(cluster="c", epoch=1, bulk_port=1))
        self.depot = Depot(
            self.folder, self.blobs, cast("Shelf", self.notes), state,
            write=cast("Executor", None), now=lambda: 1, reply=lambda _route, _message: True,
            on_refused=lambda _peer: None,
        )  # fmt: skip

    def end(self) -> None:
        """As a process that is killed does: files are closed, nothing is said."""
        self.depot._incoming.close()  # noqa: SLF001  # its own way to close waits for threads of a loop

    def say(self, said: Brought, peer: Peer) -> Deposited:
        """Have it done, and judge the answer."""
        job = _Job(Received(peer, Route(bulk=True, id=peer.key.encode()), said), said, BUILD, SPEC)
        answers, notes = self.depot._do([job])  # noqa: SLF001  # what the loop calls in its thread
        (answer,) = answers.values()
        assert isinstance(answer, Deposited), "an answer is of another kind"
        self.notes.kept += notes.values()
        if isinstance(said, Deposit):
            self.upto[peer.key, said.blob] = answer.upto
        if not isinstance(said, DoubtBlob):
            there = self.blobs.size(said.blob)
            assert not answer.whole or (there == said.size and not answer.problem), "what is not here was called whole"
            assert answer.upto <= max(said.size, 0), "there is more of it than was announced"
            assert not notes or there == said.size, "something was noted that is not here"
        return answer

    def look(self) -> None:
        """Whatever is under a digest has it."""
        for place, content in zip(self.places, CONTENTS, strict=True):
            with contextlib.suppress(FileNotFoundError), open(place, "rb") as file:  # noqa: PTH123  # called for each word
                assert file.read() == content, "a blob has another digest"


def check(data: bytes) -> None:
    """Say things in any order, and then bring everything as an honest runner does."""
    draw = Draw(data)
    desk = _Desk(emptied())
    for _ in range(1 + draw.byte() % STEPS_MAX):
        if draw.seldom():
            desk.end()
            desk.begin()
        peer = draw.pick(PEERS)
        desk.say(_word(draw, desk, peer), peer)
        desk.look()
    for peer in PEERS:
        for content, digest in zip(CONTENTS, DIGESTS, strict=True):
            if content:
                _bring(desk, peer, content, digest)
    desk.look()
    assert {digest for digest, _ in desk.blobs.all()} <= set(DIGESTS), "there is a blob that nobody brought"
    desk.end()


def seeds() -> Iterator[bytes]:
    """Words of each kind in a row, and blobs that are brought in pieces: sound, damaged, longer or shorter than was
    announced, and over the end of a process.
    """
    for start in range(0, 256, 8):
        yield bytes([start % STEPS_MAX]) + bytes((start + 7 * step) % 256 for step in range(90))
    for kind in range(6):
        for which in range(len(CONTENTS)):
            yield bytes([3]) + bytes([0, 0, kind, which, 0, 0]) * 4
    part = bytes([0, 0, 0, 2])  # where the last answer said, and two bytes
    rest = bytes([0, 1])  # there as well, and all that is left
    for which in (0, 2, 3):
        for harm in (b"\0", bytes([1, 0, 1, 7])):
            for died in range(2):
                first = bytes([0, 0, 3, which, 0, 0]) + part + harm
                yield bytes([died]) + first + bytes([died, 0, 2])
                yield bytes([2]) + first + bytes([died, 0, 3, which, 1, 0]) + rest + bytes([0, 0, 0, 0, which, 2, 0])
                for size in range(0, len(SIZES), 3):
                    yield bytes([1]) + first + bytes([died, 0, 3, which, 1, 1, size]) + rest + b"\0"


def _word(draw: Draw, desk: _Desk, peer: Peer) -> Brought:
    kind, which = draw.byte() % 6, draw.byte() % len(CONTENTS)
    content, blob = CONTENTS[which], DIGESTS[which]
    keys: dict[str, Any] = {"id": draw.byte() % 3, "job": "1/test", "attempt": 1, "blob": blob}
    size = len(content) if not draw.seldom(8) else draw.pick(SIZES)
    match kind:
        case 0:
            return KeepArtifact(**keys, name="files", size=size, files=1)
        case 1:
            return KeepCache(**keys, key="key", paths=("lib",), size=size)
        case 2:
            return DoubtBlob(**keys)
        case _:
            at = desk.upto.get((peer.key, blob), 0) if not draw.seldom(4) else draw.pick((*SIZES, 22, 200))
            piece = content[at:] if draw.flag() else content[at : at + draw.at_most(900)]
            return Deposit(**keys, size=size, at=at, data=_harmed(draw, piece))


def _harmed(draw: Draw, piece: bytes) -> bytes:
    """Mostly as it was; else with one byte changed, which keeps its length, or anything in its place."""
    match draw.byte() % 6:
        case 1 if piece:
            at = draw.at_most(len(piece) - 1)
            return piece[:at] + bytes([piece[at] ^ (draw.byte() or 1)]) + piece[at + 1 :]
        case 2:
            return draw.some(900)
        case _:
            return piece


def _bring(desk: _Desk, peer: Peer, content: bytes, digest: str) -> None:
    """As a courier does: begin with a question, and go on where the answer says. It may be refused once, for what the
    same runner brought before; every other answer goes on.
    """
    at, piece, refusals = 0, b"", 0
    while True:
        answer = desk.say(
            Deposit(id=9, job="1/test", attempt=1, blob=digest, size=len(content), at=at, data=piece), peer
        )
        if answer.whole:
            return
        if answer.problem:
            refusals += 1
            assert refusals == 1, f"an honest runner does not get its blob there: {answer.problem}"
        else:
            assert not piece or answer.upto > at, "a piece that an honest runner brought was not taken"
        at = 0 if answer.problem else answer.upto
        piece = content[at : at + PIECE_BYTES]
