"""Questions that act: checked here, and turned into wishes that the dispatcher's hands fulfil.

What belongs here: what a wish must look like, and what it becomes. What does not: performing it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from surveil.answer import (
    BackupWish,
    JobsWish,
    LookWish,
    Reply,
    RetryWish,
    RevokePeerWish,
    RevokeTokenWish,
    RunnerWish,
    SubmitWish,
    TokenWish,
)
from surveil.answer.arguments import Arguments, not_found
from surveil.answer.views import time_text
from surveil.core.declared import LABEL
from surveil.core.events import (
    ApprovalWanted,
    BuildWanted,
    CancelWanted,
    Carried,
    RunnerOrder,
    RunnerWanted,
    UnholdWanted,
)
from surveil.core.model import VERDICTS, Job, Runner, Status
from surveil.core.peers import LOCAL_CLIENT, Peer, Role
from surveil.core.spelling import did_you_mean, quoted
from surveil.errors import NotAllowedError, NotFoundError, UsageError
from surveil.protocol import CommitSeen
from surveil.store import BuildDetail, Token

EXPIRES_MS_MAX: Final = 7 * 86_400_000
"""A token that lies about for longer than a week is a key under the mat."""
EXPIRES_MS_DEFAULT: Final = 3_600_000
USES_MAX: Final = 1000

_SHA: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SOUND: Final = frozenset({Status.PASSED, Status.SKIPPED})
_MID: Final = re.compile(r"manual:[0-9A-Za-z-]{8,64}")


def person(client: str, said: str = "") -> str:
    """Who asked, in a sentence: whoever the client says that it asks for, and the client itself. The dispatcher's own
    has no name that would say more.
    """
    who = "".join(character if character.isprintable() else "?" for character in said) or "a person"
    return who if client in {"", LOCAL_CLIENT} else f"{who} ({client})"


def submit(about: Arguments, who: str) -> SubmitWish:
    """A commit to be tested now; its pipeline's text comes with it, as it does from an observer."""
    commit = CommitSeen(
        mid=_mid(about),
        repo=about.text("repo"),
        ref=about.text("ref"),
        sha=_matching(about, "sha", _SHA, "a commit's full name of 40 or 64 hexadecimal digits"),
        event="manual",
        message=about.text("message", ""),
        author=about.text("author", ""),
        pipeline=about.script("pipeline"),
        pipeline_file=about.text("pipeline_file", ""),
        rule=about.text("rule", ""),
        problem=about.text("problem", ""),
        includes=about.files("includes"),
        # Whoever submits can say that strangers may have written it, and never that they have not.
        trusted=not about.flag("untrusted"),
        base=about.text("base", ""),
        inputs=about.texts("inputs") if about.has("inputs") else None,
    )
    about.finish()
    if commit.pipeline is None and not commit.problem:
        raise UsageError("A submitted commit needs its `pipeline`, or the `problem` that kept it from having one.")
    return SubmitWish(commit=commit, by=f"submitted by {who}")


def retry(about: Arguments, detail: BuildDetail, who: str) -> RetryWish:
    """The same commit once more. Jobs that passed are carried over where only the failed ones, or some by name, are
    to run again.
    """
    failed = about.flag("failed")
    names = about.names("jobs")
    mid = _mid(about)
    about.number("build")
    about.finish()
    _check_names(detail, names)
    build = detail.build
    if build.state not in VERDICTS and not (failed or names):
        raise NotAllowedError(f"Build {build.id} is still {build.state}; `surveil cancel {build.id}` ends it first.")
    if build.state == Status.SKIPPED:
        raise NotAllowedError(
            f"Build {build.id} was skipped, because {build.reason}; `surveil submit --ref REF {build.sha}` builds its "
            "commit."
        )
    again = _again(detail.jobs, failed=failed, names=names)
    # What is merely skipped follows from what failed, or its condition was false and would be again.
    if failed and detail.jobs and not any(job.state in VERDICTS - _SOUND for job in detail.jobs):
        raise NotAllowedError(f"Nothing of build {build.id} failed; `surveil retry {build.id}` builds all of it again.")
    carried = {
        job.spec.name: Carried(
            reason=f"carried over from build {build.id}, where it {job.state.value}",
            outputs=job.outputs,
            attempt=job.decided_by,
            passed=job.state == Status.PASSED,
        )
        for job in detail.jobs
        if job.spec.name not in again
    }
    return RetryWish(
        event=BuildWanted(
            mid=mid,
            repo=build.repo,
            ref=build.ref,
            sha=build.sha,
            event=build.event,
            base=build.base,
            trusted=build.trusted,
            paths=build.paths,
            inputs=build.inputs,
            approved=build.approved,
            message=build.message,
            author=build.author,
            pipeline_file=build.pipeline_file,
            rule=build.rule,
            jobs=tuple(job.spec for job in detail.jobs),
            complaints=build.complaints,
            retry_of=build.id,
            carried=carried,
            by=f"asked for by {who}",
        )
    )


def cancel(about: Arguments, detail: BuildDetail, who: str) -> JobsWish | Reply:
    """An end to jobs of a build. One that has its verdict stays as it is: asking twice is no mistake."""
    names, reason = _some_jobs(about, detail, f"cancelled by {who}")
    if detail.build.state in VERDICTS:
        return Reply(body={"build": detail.build.id, "state": detail.build.state.value})
    return JobsWish(event=CancelWanted(build=detail.build.id, names=names, reason=reason))


def unhold(about: Arguments, detail: BuildDetail, who: str) -> JobsWish:
    """Another try for jobs that wait for a person's word."""
    names, reason = _some_jobs(about, detail, f"let go by {who}")
    if detail.build.awaits_approval and detail.build.state not in VERDICTS:
        raise NotAllowedError(
            f"Build {detail.build.id} is of {detail.build.ref}, where strangers may write: read what it would run, and "
            f"type `surveil approve {detail.build.id}`."
        )
    held = [job.spec.name for job in detail.jobs if job.state == Status.HELD]
    if not held or not set(names) <= set(held):
        waiting = f"only {', '.join(map(quoted, held))} of it" if held else "nothing of it"
        number = detail.build.id
        raise NotAllowedError(f"In build {number} {waiting} is held; `surveil show {number}` says how its jobs stand.")
    return JobsWish(event=UnholdWanted(build=detail.build.id, names=names, reason=reason))


def approve(about: Arguments, detail: BuildDetail, who: str) -> JobsWish | Reply:
    """Leave to run for a build of a ref where strangers may write. One that has it already keeps it."""
    about.number("build")
    about.finish()
    build = detail.build
    if build.trusted:
        raise NotAllowedError(f"Build {build.id} is of {build.ref}, which is trusted: nobody has to approve it.")
    if build.state in VERDICTS:
        raise NotAllowedError(f"Build {build.id} is over already: {build.state.value}, {build.reason or 'as it is'}.")
    if build.approved:
        return Reply(body={"build": build.id, "state": build.state.value})
    return JobsWish(event=ApprovalWanted(build=build.id, by=f"approved by {who}"))


def order_runner(about: Arguments, runners: Sequence[Runner], who: str) -> RunnerWish:
    """An order for a runner, found by its name or key."""
    name = about.text("name")
    order = about.choice("order", RunnerOrder)
    reason = about.text("reason", "", most=500) or f"by {who}"
    about.finish()
    found = [runner for runner in runners if name in {runner.name, runner.id}]
    if not found:
        hint = did_you_mean(name, {runner.name for runner in runners}) or "no runner has ever said hello."
        raise not_found("runner", name, hint)
    # A name may have had several keys in its time; the one that was seen last is meant.
    newest = max(found, key=lambda runner: (runner.online, runner.seen_at))
    return RunnerWish(event=RunnerWanted(runner=newest.id, order=order, reason=reason))


def create_token(about: Arguments) -> TokenWish:
    """A join token, within limits."""
    role = about.choice("role", Role)
    labels = about.names("labels")
    expires_ms = about.number("expires_ms", EXPIRES_MS_DEFAULT, least=1000, most=EXPIRES_MS_MAX)
    uses = about.number("uses", 1, least=1, most=USES_MAX)
    about.finish()
    for label in labels:
        if not LABEL.fullmatch(label):
            raise UsageError(f"{quoted(label)} is not a label: labels are letters, digits and `_.:/=+-`, at most 64.")
    return TokenWish(role=role.value, labels=labels, expires_ms=expires_ms, uses=uses)


def revoke_token(about: Arguments, tokens: Sequence[Token]) -> RevokeTokenWish:
    """An end to a token, found by its id or the unmistakable beginning of one."""
    wanted = about.text("id", most=100)
    about.finish()
    found = [token.id for token in tokens if wanted and token.id.startswith(wanted)]
    if len(found) > 1 and wanted in found:
        found = [wanted]
    if len(found) != 1:
        more = (
            "several tokens' ids begin so; type more of it."
            if found
            else "`surveil token list` lists those that there are."
        )
        raise not_found("token", wanted, more)
    return RevokeTokenWish(token=found[0])


def revoke_peer(about: Arguments, peers: Sequence[Peer], who: str) -> RevokePeerWish:
    """An end to a peer, found by its name, and its role where several have that name, or by its key."""
    name, role = about.text("name"), about.text("role", "")
    reason = about.text("reason", "", most=500) or f"by {who}"
    about.finish()
    if role not in {"", *Role}:
        raise UsageError(f"{quoted(role)} is no role of a peer: they are {', '.join(Role)}.")
    live = [peer for peer in peers if not peer.revoked]
    found = [peer for peer in live if name in {peer.name, peer.key} and role in {"", peer.role}]
    if not found:
        if any(peer.revoked and name in {peer.name, peer.key} for peer in peers):
            raise NotAllowedError(f"The peer {quoted(name)} is revoked already; `surveil peers` lists who is let in.")
        raise not_found("peer", name, did_you_mean(name, {peer.name for peer in live}) or "nobody has joined yet.")
    if len(found) > 1:
        roles = " and ".join(f"{'an' if peer.role is Role.OBSERVER else 'a'} {peer.role}" for peer in found)
        raise UsageError(f"{quoted(name)} is the name of {roles}: say which one with --role.")
    if found[0].role is Role.CLIENT and found[0].name == LOCAL_CLIENT:
        raise NotAllowedError(
            "The dispatcher's own client cannot be revoked: its key lies beside the database, and whoever can read it "
            "there can change all of this anyway."
        )
    return RevokePeerWish(peer=found[0], reason=reason)


def look(about: Arguments) -> LookWish:
    """A look at a repository that somebody watches."""
    repo = about.text("repo")
    about.finish()
    if not repo or not repo.isprintable():
        raise UsageError("The argument `repo` must be a repository's address.")
    return LookWish(repo=repo)


def back_up(about: Arguments) -> BackupWish:
    """A copy of the database at an absolute path of the dispatcher's machine, where nothing is yet."""
    destination = about.text("destination")
    about.finish()
    if not Path(destination).is_absolute() or "\0" in destination:
        raise UsageError(f"{quoted(destination)} is no absolute path on the dispatcher's machine.")
    return BackupWish(destination=destination)


def token_view(token: Token, now: int) -> dict[str, Any]:
    """A join token without its secret, which nobody has any more."""
    return {
        "id": token.id,
        "role": token.role.value,
        "labels": list(token.labels),
        "uses_left": token.uses_left,
        "usable": token.usable(now),
        "created_at": time_text(token.created_at),
        "expires_at": time_text(token.expires_at),
        "revoked_at": time_text(token.revoked_at),
    }


def peer_view(peer: Peer) -> dict[str, Any]:
    """An enrolled key."""
    return {
        "key": peer.key,
        "role": peer.role.value,
        "name": peer.name,
        "labels": list(peer.labels),
        "created_at": time_text(peer.created_at),
        "revoked_at": time_text(peer.revoked_at),
    }


def _again(jobs: Sequence[Job], *, failed: bool, names: Sequence[str]) -> set[str]:
    """The names of the jobs that run again: those asked for and all that need them, directly or not."""
    if not failed and not names:
        return {job.spec.name for job in jobs}
    # What never passed has nothing to carry over, whether it was named or not.
    wanted = set(names) | {job.spec.name for job in jobs if job.state != Status.PASSED}
    for _ in jobs:
        needing = {job.spec.name for job in jobs if wanted.intersection(job.spec.needs)}
        if needing <= wanted:
            break
        wanted |= needing
    return wanted


def _some_jobs(about: Arguments, detail: BuildDetail, default: str) -> tuple[tuple[str, ...], str]:
    names = about.names("jobs")
    reason = about.text("reason", "", most=500) or default
    about.number("build")
    about.finish()
    _check_names(detail, names)
    return names, reason


def _check_names(detail: BuildDetail, names: Sequence[str]) -> None:
    known = {job.spec.name for job in detail.jobs}
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or "it has no jobs."
            raise NotFoundError(f"Build {detail.build.id} has no job {quoted(name)}; {hint}")


def _mid(about: Arguments) -> str:
    return _matching(about, "mid", _MID, "`manual:` and a UUID")


def _matching(about: Arguments, name: str, pattern: re.Pattern[str], what: str) -> str:
    value = about.text(name)
    if not pattern.fullmatch(value):
        raise UsageError(f"The argument `{name}` is {quoted(value)}, and must be {what}.")
    return value
