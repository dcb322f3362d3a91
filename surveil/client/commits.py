"""A commit as `submit` sends it: found by what a person typed, read from its repository, with its pipeline's text.

What belongs here: choosing ref and commit. What does not: how git is asked (`surveil.mirror`), and what the pipeline
means.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from surveil.core.spelling import did_you_mean, quoted
from surveil.core.triggers import fill_inputs
from surveil.core.trust import DETACHED, Trust
from surveil.errors import NotAllowedError, NotFoundError, UsageError
from surveil.frozen import dataclass
from surveil.mirror.access import Access
from surveil.mirror.address import Address
from surveil.mirror.changes import Base
from surveil.mirror.mirror import Mirror
from surveil.mirror.refs import SHA, RefList
from surveil.mirror.sighting import Sighting, look, look_at_stranger
from surveil.protocol import IncludedFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A commit of a repository, and the ref that its build counts for."""

    address: Address
    ref: str
    sha: str


def read_commit(
    address: Address, ref: str | None, sha: str | None, *, mirrors: Path, access: Access, trust: Trust, strict: bool
) -> dict[str, Any]:
    """What the question `submit` takes, for the commit of a repository that these name; by default its HEAD. The
    pipeline of a ref that is not trusted is that of the branch that HEAD names. Blocks.

    With `strict`, the commit has to be the one that its ref points to: else a stranger's commit could be said to count
    for a branch, and would be trusted as that is.

    Raises:
        NotFoundError: there is no such ref or commit.
        NotAllowedError: with `strict`, the ref does not point to the commit.
        UsageError: the SHA is none.
        MirrorError: the repository cannot be read.
    """
    mirror = Mirror(mirrors, address, access=access)
    refs = mirror.refs()
    chosen = choose(address, refs, ref, sha)
    pointed = refs.refs.get(chosen.ref, refs.head_sha if chosen.ref == DETACHED else None)
    if strict and pointed != chosen.sha:
        raise NotAllowedError(
            f"No ref {quoted(chosen.ref)} of {address.key} points to {chosen.sha[:12]}: only an administrator may have "
            "it built."
        )
    if trust.trusts(chosen.ref):
        sighting = look(mirror, chosen.sha, chosen.ref)
        return submission(address, chosen.ref, sighting)
    base = Base(ref=refs.head or "", sha=refs.head_sha or "")
    sighting = look_at_stranger(mirror, chosen.sha, chosen.ref, base)
    return submission(address, chosen.ref, sighting) | {"untrusted": True, "base": base.ref}


def submission(address: Address, ref: str, seen: Sighting) -> dict[str, Any]:
    """What the question `submit` takes for a commit. Dispatchers that do not know `include` are told nothing of it."""
    return {
        "mid": f"manual:{uuid.uuid4()}",
        "repo": address.key,
        "ref": ref,
        "sha": seen.sha,
        "message": seen.message,
        "author": seen.author,
        "pipeline": seen.pipeline,
        "pipeline_file": seen.pipeline_file,
        "rule": seen.rule,
        "problem": seen.problem,
    } | ({"includes": [asdict(file) for file in seen.includes]} if seen.includes else {})


def choose(address: Address, refs: RefList, ref: str | None, sha: str | None) -> Chosen:
    """The commit that is meant, and the ref that it counts for: the one named, else HEAD's branch, else one that
    points to it.
    """
    if sha is not None and not SHA.fullmatch(sha):
        matching = sorted(
            {known for known in (*refs.refs.values(), refs.head_sha or "") if sha and known.startswith(sha)}
        )
        if len(matching) != 1:
            if {sha, f"refs/heads/{sha}", f"refs/tags/{sha}"} & refs.refs.keys():
                raise UsageError(f"{quoted(sha)} is a ref and no commit: type `surveil submit --ref {sha}`.")
            raise UsageError(
                f"{quoted(sha)} is not a commit's full name, nor the beginning of just one that a ref points to; "
                f"`git rev-parse {sha}` says the full name."
            )
        sha = matching[0]
    if ref is not None:
        name = _named(address, refs, ref)
        return Chosen(address=address, ref=name, sha=sha or refs.refs[name])
    if sha is None:
        if refs.head_sha is None:
            raise NotFoundError(
                f"{address.key} has no commit yet (HEAD points to nothing); commit something, or name a --ref."
            )
        return Chosen(address=address, ref=refs.head or DETACHED, sha=refs.head_sha)
    pointing = [name for name, target in refs.refs.items() if target == sha]
    if refs.head in pointing:
        return Chosen(address=address, ref=refs.head or DETACHED, sha=sha)
    return Chosen(address=address, ref=pointing[0] if pointing else DETACHED, sha=sha)


def _named(address: Address, refs: RefList, ref: str) -> str:
    """The full name of the ref that was typed."""
    if ref == DETACHED and refs.head in refs.refs:
        return refs.head or DETACHED
    for name in (ref, f"refs/heads/{ref}", f"refs/tags/{ref}", f"refs/{ref}"):
        if name in refs.refs:
            return name
    short = {name.removeprefix("refs/heads/").removeprefix("refs/tags/") for name in refs.refs}
    raise NotFoundError(f"{address.key} has no ref {quoted(ref)}; {did_you_mean(ref, short) or 'it has none at all.'}")


def checked_inputs(commit: Mapping[str, Any], typed: dict[str, str]) -> dict[str, str]:
    """The inputs that were typed, if the pipeline of a commit that is to be submitted takes them.

    Raises:
        UsageError: it has no such input, or a value is none that it may have.
    """
    from surveil.pipeline import Invalid, load  # noqa: PLC0415  # Most commits are sent without inputs.

    if commit["pipeline"] is None:
        return typed
    includes = [IncludedFile(**each) for each in commit.get("includes", ())]
    loaded = load(commit["pipeline"], commit["pipeline_file"], includes)
    if isinstance(loaded, Invalid):
        return typed  # What is wrong with the file itself becomes the build's complaint, as ever.
    _, wrong = fill_inputs(loaded.triggers.inputs, typed)
    if wrong:
        raise UsageError(f"{wrong[0][:1].upper()}{wrong[0][1:]}.")
    return typed
