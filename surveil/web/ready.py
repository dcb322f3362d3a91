"""Documents of builds as they are sent: written once, and sent again for as long as they are true.

What belongs here: remembering them, and how it is known that one is still true. What does not: the documents
(`surveil.answer.whole`), who may see them (`own`), and what is answered to whoever has one already (`tags`).

Nothing is taken for true by its age. Each time the store is asked: where nothing at all was written since, nothing has
changed; otherwise the build's own rows are compared with those that its document was made of. What a document says
beyond its rows, of logs that still grow and of jobs that wait, comes from elsewhere, and such a document is made anew
(docs/adr/0051).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from hashlib import sha256
from sys import getsizeof
from threading import Lock
from typing import Any, Final, TypeAlias

from pydantic_core import to_json

from surveil.answer import Question
from surveil.answer.answers import Answers
from surveil.answer.arguments import Arguments, no_build
from surveil.answer.portions import fitting, shares, whole_cost
from surveil.answer.views import brief_view
from surveil.answer.whole import is_settled
from surveil.core.model import Build
from surveil.frozen import dataclass, replace
from surveil.store import BuildDetail
from surveil.store.looks import Look
from surveil.web.ids import uuid_of

KEPT_BYTES_MAX: Final = 32 * 1024 * 1024
"""Of all documents together, with the rows that they are compared with, and with what was asked: a question may be long
where its answer is short, and a small build may be compared with a large one.
"""
EACH_BYTES_MAX: Final = 1024 * 1024
"""What is larger is made anew each time, rather than to push so many others out."""
BESIDE_BYTES: Final = 600
"""About so much a document takes to be remembered at all."""
WAITING_STATES: Final = frozenset({"blocked", "held", "queued"})
_TAG_CHARACTERS: Final = 32
Document: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A document as it is sent. Two that differ have different tags."""

    body: bytes
    tag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What is remembered: a document that was true when the store had this `mark`, and whose rows are its `version`."""

    mark: object
    version: object
    written: Written
    cost: int
    size: int


def written(body: bytes) -> Written:
    """A document with its tag."""
    return Written(body=body, tag=f'"{sha256(body).hexdigest()[:_TAG_CHARACTERS]}"')


class Ready:
    """The documents of one store, for installation `cluster` as each request says it; its methods are called on the
    loop.
    """

    def __init__(self, answers: Answers) -> None:
        self._whole = answers.whole
        self._wanted = answers.wanted
        self._memory = _Memory()

    async def build(
        self, number: int, cluster: str, with_waiting: Callable[[Document], Awaitable[Document]]
    ) -> Written:
        """One build with its jobs; `with_waiting` says what those wait for that do. Raises NotFoundError."""
        kept = self._unchanged(("build", cluster, number))
        if kept is not None:
            return kept.written
        found = await self._whole.read(lambda: self._build(number, cluster))
        if isinstance(found, Written):
            return found
        return written(to_json(_named(await with_waiting(found), cluster)))

    async def builds(self, about: Mapping[str, Any], cluster: str, *, brief: bool) -> Written:
        """A page of a list of builds; `brief` is without their jobs."""
        key = ("list", cluster, brief, repr(sorted(about.items())))
        kept = self._unchanged(key)
        if kept is not None:
            return kept.written
        find = self._wanted(Arguments(Question.BUILDS, about))
        return await self._whole.read(lambda: self._list(key, find, cluster, brief=brief))

    def _unchanged(self, key: Hashable) -> _Kept | None:
        """What is remembered, if nothing at all was written since. On the loop: a way to a thread and back would take
        longer than to know it.
        """
        kept = self._memory.get(key)
        return kept if kept is not None and kept.mark == self._whole.reader.mark() else None

    def _build(self, number: int, cluster: str) -> Written | Document:
        """One build; where jobs wait, what is known here of it."""
        mark, key = self._whole.reader.mark(), ("build", cluster, number)
        kept = self._memory.get(key)
        look = next(iter(self._whole.reader.looks([number], tests=True)), None)
        if look is None:
            raise no_build(number)
        if kept is not None and kept.version == look.version:
            self._memory.put(key, replace(kept, mark=mark))
            return kept.written
        detail = look.detail()
        # What shards told counts without a report.
        tests = look.tested or any(job.spec.shards for job in detail.jobs)
        document = self._whole.document(detail, tests=tests)
        if any(job["state"] in WAITING_STATES for job in document["jobs"]):
            return document
        made = written(to_json(_named(document, cluster)))
        if is_settled(detail, document):
            self._memory.put(key, _kept(mark, look.version, made))
        return made

    def _list(self, key: Hashable, find: Callable[[], list[Build]], cluster: str, *, brief: bool) -> Written:
        mark = self._whole.reader.mark()
        found = find()
        if brief:
            alone = [BuildDetail(build=build, jobs=(), attempts=()) for build in found]
            bodies = [to_json(_named(brief_view(detail.build), cluster)) for detail, _ in shares(alone)]
            lasts = True
        else:
            bodies, lasts = self._bodies([build.id for build in found], mark, cluster)
        last = found[len(bodies) - 1].id if bodies else 0
        following = str(last) if last > 1 else "null"
        made = written(b'{"builds":[%b],"next":%b}' % (b",".join(bodies), following.encode()))
        if lasts:
            self._memory.put(key, _kept(mark, None, made))
        return made

    def _bodies(self, numbers: Sequence[int], mark: object, cluster: str) -> tuple[list[bytes], bool]:
        """The documents of these builds that fit on a page, and whether they stay true for as long as nothing is
        written.
        """
        keys = {number: ("listed", cluster, number) for number in numbers}
        kept = {number: one for number, key in keys.items() if (one := self._memory.get(key)) is not None}
        found = {number: one for number, one in kept.items() if one.mark == mark}
        lasts = True
        for look in self._whole.reader.looks([number for number in numbers if number not in found]):
            known = kept.get(look.build)
            if known is not None and known.version == look.version:
                found[look.build] = replace(known, mark=mark)
            else:
                found[look.build], is_lasting = self._one_of_many(look, mark, cluster)
                lasts = lasts and is_lasting
                if not is_lasting:
                    continue
            self._memory.put(keys[look.build], found[look.build])
        page = [found[number] for number in numbers if number in found]
        return [each.written.body for each, _ in zip(page, fitting(each.cost for each in page), strict=False)], lasts

    def _one_of_many(self, look: Look, mark: object, cluster: str) -> tuple[_Kept, bool]:
        detail = look.detail()
        document = self._whole.document(detail, tests=False)
        made = Written(body=to_json(_named(document, cluster)), tag="")
        lasts = is_settled(detail, document)
        return _kept(mark, look.version if lasts else None, made, cost=whole_cost(detail)), lasts


class _Memory:
    """The documents that were asked for last, as many as there is room for; for any thread."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, key: Hashable) -> _Kept | None:
        """What is remembered under this key."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: Hashable, kept: _Kept) -> None:
        """Remember this in the place of what was before, unless it is too large."""
        if kept.size > EACH_BYTES_MAX:
            return
        with self._lock:
            before = self._kept.pop(key, None)
            self._bytes += kept.size - before.size if before is not None else kept.size + _size(key)
            self._kept[key] = kept
            while self._bytes > KEPT_BYTES_MAX:
                asked, oldest = self._kept.popitem(last=False)
                self._bytes -= oldest.size + _size(asked)


def _kept(mark: object, version: object, made: Written, *, cost: int = 0) -> _Kept:
    size = BESIDE_BYTES + _size(made.body) + _size(version)
    return _Kept(mark=mark, version=version, written=made, cost=cost, size=size)


def _size(value: object) -> int:
    """How many bytes this takes, whatever is in it."""
    return getsizeof(value) + (sum(map(_size, value)) if isinstance(value, list | tuple) else 0)


def _named(document: Document, cluster: str) -> Document:
    """A build's document with the UUID that programs may use for its number."""
    return {"id": document["id"], "uuid": uuid_of(document["id"], cluster), **document}
