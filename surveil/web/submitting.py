"""Builds that are asked for by the web: commits of repositories that somebody watches, read as `surveil submit` does.

What belongs here: which repository is meant, who may have what built, and the pipeline of a bare command. What does
not: how a commit is read (`surveil.client.commits`), and the routes.

A visitor names no address that git would be sent to: only what an observer watches already, or for an administrator a
folder of this machine. So nobody can make this process ask a machine that it should not know of (docs/adr/0045).
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from surveil.answer.arguments import ends_with
from surveil.config import WebConfig
from surveil.core.spelling import quoted
from surveil.core.trust import Trust, read_trust
from surveil.errors import NotAllowedError, NotFoundError, UsageError
from surveil.frozen import dataclass
from surveil.mirror.access import Access
from surveil.mirror.address import Address, parse, show
from surveil.mirror.typed import resolve
from surveil.pipeline import FILENAMES
from surveil.places import MIRRORS
from surveil.web.books import Books
from surveil.web.rights import Scope
from surveil.web.visitors import Visitor

FOLDER: Final = "web"
"""Below the data folder: what this process keeps to read commits with."""
READS_MAX: Final = 2
"""So many repositories are read at once; the others wait their turn."""
COMMAND_JOB: Final = "command"
COMMAND_RULE: Final = "the command that was asked for over HTTP"
_NOT_YAML: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_MIDS: Final = uuid.UUID("3d5a9f0e-7c1b-5e64-8a27-6f0b92d4c1e8")
"""What keys of idempotency are hashed with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody wants built: a commit by `sha`, or what `ref` points to, or HEAD; with `command` instead of its
    pipeline.
    """

    repo: str
    ref: str | None = None
    sha: str | None = None
    inputs: Mapping[str, str] | None = None
    command: str | None = None


class Submitter:
    """Reads commits for the question `submit`."""

    def __init__(self, mirrors: Path, access: Access, trust: Trust) -> None:
        self._mirrors = mirrors
        self._access = access
        self._trust = trust
        self._turns = asyncio.Semaphore(READS_MAX)

    async def commit(self, wanted: Wanted, visitor: Visitor, watched: Iterable[str], mid: str) -> dict[str, Any]:
        """What the question `submit` takes for what this visitor wants.

        Raises:
            NotFoundError: nobody watches such a repository, or it has no such ref or commit.
            NotAllowedError: it takes a right that they do not have there.
            SurveilError: the repository cannot be read.
        """
        async with self._turns:
            return await asyncio.to_thread(self._read, wanted, visitor, tuple(watched), mid)

    def _read(self, wanted: Wanted, visitor: Visitor, watched: tuple[str, ...], mid: str) -> dict[str, Any]:
        from surveil.client.commits import checked_inputs, read_commit  # noqa: PLC0415  # Git is for who has commits built.

        address = _meant(wanted.repo, watched, admin=visitor.may("admin"))
        # A command would be given the secrets of the ref that the asker names.
        visitor.require(Scope.RUN if wanted.command is None else Scope.ADMIN, address.key)
        commit = read_commit(
            address, wanted.ref, wanted.sha, mirrors=self._mirrors, access=self._access, trust=self._trust,
            strict=not visitor.may("admin", address.key),
        )  # fmt: skip
        commit["mid"] = mid
        if wanted.command is not None:
            commit |= _pipeline_of(wanted.command)
            commit.pop("includes", None)
        if wanted.inputs:
            commit["inputs"] = checked_inputs(commit, dict(wanted.inputs))
        return commit


async def require_watched(books: Books, repo: str) -> None:
    """See that somebody who may see it watches this very repository. A role's pattern also fits addresses that lead out
    of what it means, by `..` or what a server takes for it; an observer's operator has written none of those.

    Raises:
        NotAllowedError: nobody does.
    """
    if repo not in {each["repo"] for each in (await books.ask("status")).body["watching"]}:
        raise _not_watched(repo)


def _not_watched(repo: str) -> NotAllowedError:
    return NotAllowedError(f"No observer watches {show(repo)}: only an administrator may have it built.")


def submitter_of(config: WebConfig) -> Submitter:
    """What reads commits for a web process. Raises UsageError for patterns of refs that are none."""
    access = Access(ssh_config=config.ssh_config, credentials=config.credentials)
    return Submitter(config.data / FOLDER / MIRRORS, access, read_trust(config.trusted_refs))


def mid_of(visitor: Visitor, key: str, *what: object) -> str:
    """The id of a wish: from the key by which its asker will know it again, or else by chance. The dispatcher fulfils
    a wish once, however often it comes.

    It follows from what is wished as well: nobody who takes a key for something else is answered with the build of
    what they wished before.
    """
    chosen = uuid.uuid5(_MIDS, json.dumps([visitor.pass_id, key, *what], sort_keys=True)) if key else uuid.uuid4()
    return f"manual:{chosen}"


def _meant(text: str, watched: tuple[str, ...], *, admin: bool) -> Address:
    """The repository that was named, by its address or the end of it."""
    address = parse(text, "/") if "://" in text or text.startswith("/") or ":" in text else None
    found = {each for each in watched if address is not None and each == address.key} or {
        each for each in watched if ends_with(each, text)
    }
    if len(found) == 1:
        return parse(found.pop(), "/")
    if found:
        raise UsageError(f"{quoted(show(text))} is the end of several repositories: write all of its address.")
    if address is not None and address.is_local:
        if not admin:
            raise _not_watched(text)
        return resolve(address.key, "/")
    raise NotFoundError(
        f"No observer watches {show(text)}: name one of those that `surveil status` lists, or have it watched with "
        "`surveil observer` or `surveil up`."
    )


def _pipeline_of(command: str) -> dict[str, Any]:
    """A pipeline of one step; JSON is YAML but for some characters, which end lines there or may not stand alone."""
    document = {"version": 1, "jobs": {COMMAND_JOB: {"steps": [{"name": COMMAND_JOB, "run": command}]}}}
    text = _NOT_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(document, ensure_ascii=False))
    return {"pipeline": text, "pipeline_file": FILENAMES[0], "rule": COMMAND_RULE, "problem": ""}
