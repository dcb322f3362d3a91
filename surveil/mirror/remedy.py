"""What it means that a remote could not be read, and what to type next: one sentence for each way in which it happens.

What belongs here: git's, ssh's and curl's words about the network, and commands for people. What does not: troubles of
this machine's own repositories (`trouble`), and how git proves who we are (`access`).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Final, TypeAlias

from surveil.frozen import dataclass, replace
from surveil.mirror.access import Access
from surveil.mirror.address import Address, Kind, show
from surveil.mirror.trouble import MirrorError, Output, Trouble, failure, trouble_of

_CUT = re.compile(r"unexpected disconnect|early EOF|remote end hung up|still expected|transfer closed", re.IGNORECASE)
_Row: TypeAlias = tuple[Trouble, str, str]
_PLACE = re.compile(r"(?:[a-z]+://)?(?:(?P<user>[^@/]+)@)?(?P<host>\[[^\]]*\]|[^:/]+)(?::(?P<port>\d+)(?=/))?.*")


@dataclass(frozen=True, slots=True)
class _Remedy:
    """What a complaint means. `words` follow the repository's name; in them stand the facts that `_facts` knows. The
    pattern is compiled when a call fails: most processes see none that does.
    """

    kinds: frozenset[Kind]
    pattern: str
    trouble: Trouble
    words: str


def remote_failure(output: Output, address: Address, access: Access) -> MirrorError:
    """The error that a failed call to a remote means: what was wrong, and the next command to type."""
    for remedy in _REMEDIES:
        match = re.search(remedy.pattern, output.stderr, re.IGNORECASE) if address.kind in remedy.kinds else None
        if match is not None:
            words = remedy.words.format(**_facts(address, access), **match.groupdict())
            return MirrorError(f"{address.key} {words}.", remedy.trouble)
    if trouble_of(output) is Trouble.NO_SPACE and not _remote_says(output, Trouble.NO_SPACE):
        return failure(output, address.key)
    kind = _kind(output)
    if kind is Trouble.UNREACHABLE and _CUT.search(output.stderr):
        sentence = f"{address.key} was cut off in the middle of its answer; {_try_by_hand(address, access)}."
        return MirrorError(sentence, kind)
    # The complaint of a server is its own words; what to do about it is to ask it by hand.
    complaint = output.complaint.rstrip(".")
    return MirrorError(f"{address.key}: {complaint}; {_try_by_hand(address, access)}.", kind)


def _kind(output: Output) -> Trouble:
    """The kind of a failed call. What was cut short or mangled on its way, or is a page for people, looks damaged, and
    is not: only the remote itself knows, or a check of objects that arrived whole.
    """
    found = trouble_of(output)
    if found is not Trouble.CORRUPT or _remote_says(output, found) or "fsck error" in output.stderr:
        return found
    return Trouble.UNREACHABLE if _CUT.search(output.stderr) else Trouble.GARBLED


def _remote_says(output: Output, trouble: Trouble) -> bool:
    """Whether it is the remote itself that complains of this."""
    told = "".join(line + "\n" for line in output.stderr.splitlines() if line.startswith("remote:"))
    return trouble_of(replace(output, stderr=told)) is trouble


def silence(address: Address, access: Access, timeout_s: float, command: str) -> MirrorError:
    """The error that a remote means by not answering."""
    sentence = f"{address.key} gave no answer within {timeout_s:g} s (git {command}); {_try_by_hand(address, access)}."
    return MirrorError(sentence, Trouble.TIMEOUT)


def _try_by_hand(address: Address, access: Access) -> str:
    """How a person sees what the remote says, with the same files."""
    before, options = "", ""
    if address.kind is Kind.SSH and access.ssh_config is not None:
        before = f"GIT_SSH_COMMAND={shlex.quote(shlex.join(['ssh', '-F', str(access.ssh_config)]))} "
    elif access.credentials is not None and address.kind in {Kind.HTTPS, Kind.HTTP}:
        options = f"-c {shlex.quote(f'credential.helper=store --file={access.credentials}')} "
    return f"type `{before}git {options}ls-remote -- {shlex.quote(address.key)}` to ask it by hand"


def _facts(address: Address, access: Access) -> dict[str, str]:
    place = _PLACE.fullmatch(address.key)
    assert place is not None, f"{address.key} was checked, and names no host"
    host = place["host"].strip("[]")
    facts = {"by_hand": _try_by_hand(address, access), "host": host}
    if address.kind is not Kind.SSH:
        return facts | _used(address, access) | {"server": shlex.quote(address.server)}
    user, port = place["user"], ["-p", place["port"]] if place["port"] else []
    config = [] if access.ssh_config is None else ["-F", str(access.ssh_config)]
    return facts | {
        "scan": shlex.join(["ssh-keyscan", *port, host]) + f" >> {access.known_hosts()}",
        "forget": shlex.join(["ssh-keygen", "-R", f"[{host}]:{place['port']}" if port else host])
        + ("" if access.ssh_config is None else f" -f {access.known_hosts()}"),
        "log_in": shlex.join(["ssh", *config, "-T", *port, f"{user}@{host}" if user else host]),
    }


def _used(address: Address, access: Access) -> dict[str, str]:
    login = access.login(address)
    name = "us" if login is None else f"the credentials of {show(login.user)} in {access.credentials}"
    lacking = "none are set" if access.credentials is None else f"no line of {access.credentials} is for it"
    return {"login": name, "lacking": lacking}


def _remedies(kinds: Sequence[Kind], *rows: _Row) -> tuple[_Remedy, ...]:
    return tuple(_Remedy(frozenset(kinds), pattern, trouble, words) for trouble, pattern, words in rows)


_HOW_TO: Final = "docs/how-to/private-repositories.md"
_REMEDIES: Final = (
    *_remedies(
        (Kind.SSH,),
        (
            Trouble.REFUSED,
            r"host identification has changed|host key for .* has changed",
            (
                "is at a host that shows another key than before, so somebody may stand in between; "
                "if the owner of {host} says that it changed, type `{forget}` and `{scan}`"
            ),
        ),
        (
            Trouble.REFUSED,
            r"host key is known|host key verification failed",
            (
                "is at a host whose key this user does not know; type `{scan}`, "
                "and compare what that adds with what the owner of {host} says"
            ),
        ),
        (
            Trouble.REFUSED,
            r"permission denied \(|too many authentication failures|no supported authentication",
            (
                "takes none of this user's ssh keys; type `{log_in}` to see why "
                f"(a key with a passphrase needs an agent, see {_HOW_TO})"
            ),
        ),
        (
            Trouble.REFUSED,
            r"bad owner or permissions|bad configuration option|terminating, \d+ bad configuration",
            "cannot be asked, because ssh objects to its own configuration; type `{log_in}` to see where",
        ),
    ),
    *_remedies(
        (Kind.HTTPS, Kind.HTTP),
        (
            Trouble.REFUSED,
            r"could not read (username|password)|terminal prompts disabled",
            (
                "asks for credentials, and {lacking}; write `https://USER:TOKEN@HOST` to a file, "
                f"type `chmod 600 FILE`, and name it with --credentials FILE (see {_HOW_TO})"
            ),
        ),
        (
            Trouble.REFUSED,
            r"authentication failed|(?:returned error:|HTTP) 401",
            "does not take {login}; put a valid token there, and {by_hand}",
        ),
        (Trouble.REFUSED, r"(?:returned error:|HTTP) 403", "may not be read by {login} (HTTP 403); {by_hand}"),
        (
            Trouble.NOT_A_REPOSITORY,
            r"(?:returned error:|HTTP) 404|repository .* not found",
            "is not there, or not to be seen by {login} (HTTP 404); {by_hand}",
        ),
        (
            Trouble.UNREACHABLE,
            r"(?:returned error:|HTTP) 429",
            "wants to be asked less often (HTTP 429); give a longer --interval, and {by_hand}",
        ),
        (
            Trouble.UNREACHABLE,
            r"(?:returned error:|HTTP) (?P<status>5\d\d)",
            "cannot be served at the moment (HTTP {status}); {by_hand}",
        ),
        (
            Trouble.UNREACHABLE,
            r"redirects followed",
            "leads from one address to the next without end; type `curl -sIL {server}` to see where to",
        ),
        (
            Trouble.REFUSED,
            r"certificate verif|certificate problem|self[- ]signed|no alternative certificate|not match target host",
            (
                "shows a certificate that this machine does not trust; type `curl -sSI {server}` to see why, "
                f"and name the file of its authority in GIT_SSL_CAINFO (see {_HOW_TO})"
            ),
        ),
        (
            Trouble.NOT_A_REPOSITORY,
            r"is this a git repository",
            "answers with something that is not a git repository; {by_hand}",
        ),
    ),
    *_remedies(
        tuple(Kind),
        (
            Trouble.UNREACHABLE,
            r"could not resolve host|unable to look up",
            "is at a host whose name leads nowhere; check the address, and type `getent hosts {host}`",
        ),
        (
            Trouble.UNREACHABLE,
            r"connection refused|couldn't connect to server|network is unreachable|no route to host",
            "cannot be reached, for nobody listens there; {by_hand}",
        ),
        (
            Trouble.UNREACHABLE,
            r"connection timed out|operation timed out|operation too slow|connection reset|closed by remote host",
            "is reached, but the connection does not hold; {by_hand}",
        ),
    ),
)
