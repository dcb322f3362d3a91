"""Runs git, and makes sure that nothing of it outlives the call.

What belongs here: the environment, the options that every call gets, limits on time and output, and the words
for failures. What does not: what is asked of git (`refs`, `mirror`, `checkout`).

GitPython's command wrapper starts the process. Reading, waiting and ending are done here, because the wrapper
bounds neither the output nor the life of git's own children: `git-remote-https` and `ssh` hold the pipes long
after git itself was killed.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, Any, Final

from surveil.errors import InfrastructureError
from surveil.mirror.address import Address, Kind, show

LOCAL_TIMEOUT_S: Final = 60.0
"""For calls that touch this machine's disk alone."""
REMOTE_TIMEOUT_S: Final = 60.0
"""For listing the refs of a remote."""
FETCH_TIMEOUT_S: Final = 15 * 60.0
"""For transfers: a first fetch of a large repository over a slow line."""
OUTPUT_BYTES_MAX: Final = 64 * 1024 * 1024
"""200 000 refs with names of 250 bytes; what is longer is refused, not cut."""
STDERR_BYTES_MAX: Final = 64 * 1024
_READ_BYTES: Final = 256 * 1024
_SETTLE_S: Final = 5.0
"""How long a killed process may take to vanish before we say that the machine is at fault."""

_OPTIONS: Final = (
    # A repository's own configuration must not start programs of its choice, nor may git ask a person
    # anything.
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.askPass=/bin/false"),
    *("-c", "protocol.allow=never"),
    *("-c", "protocol.ext.allow=never"),
    *("-c", "core.pager=cat"),
    *("-c", "gc.auto=0"),
    *("-c", "maintenance.auto=false"),
    *("-c", "fetch.recurseSubmodules=false"),
    *("-c", "submodule.recurse=false"),
    *("-c", "http.followRedirects=initial"),
    *("-c", "http.lowSpeedLimit=1"),
    *("-c", "http.lowSpeedTime=30"),
)

_KEPT_FROM_OUTSIDE: Final = ("PATH", "TMPDIR", "LD_LIBRARY_PATH")
_KEPT_FOR_NETWORK: Final = (
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
)
_HELPER: Final = '!f() { printf "username=%s\\npassword=%s\\n" "$SURVEIL_GIT_USER" "$SURVEIL_GIT_PASSWORD"; }; f'


class Trouble(StrEnum):
    """Why git could not do what was asked, as far as the reason changes what anybody does next."""

    UNREACHABLE = "unreachable"
    NOT_A_REPOSITORY = "not a repository"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    MISSING = "missing"
    CORRUPT = "corrupt"
    TOO_LARGE = "too large"
    NO_GIT = "no git"
    NO_SPACE = "no space"
    FAILED = "failed"


class MirrorError(InfrastructureError):
    """A repository could not be read. `trouble` is the kind of reason; the text is a sentence for people."""

    def __init__(self, sentence: str, trouble: Trouble = Trouble.FAILED) -> None:
        super().__init__(sentence)
        self.trouble = trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a call left: its exit status, its output, and the last lines of what it complained about."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def complaint(self) -> str:
        """The one line of stderr that says most."""
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        telling = [
            line for line in lines if re.match(r"(fatal|error|ssh|remote|ERROR)\b", line) and "early EOF" not in line
        ]
        return show((telling or lines or [f"git ended with status {self.status}"])[0])


def run(
    *argv: str,
    about: str,
    address: Address | None = None,
    git_dir: str | None = None,
    cwd: str = "/",
    options: Sequence[str] = (),
    stdin: IO[bytes] | None = None,
    timeout_s: float = LOCAL_TIMEOUT_S,
    output_bytes_max: int = OUTPUT_BYTES_MAX,
    cut: bool = False,
    may_fail: bool = False,
) -> Output:
    """Run `git argv...` and wait for it, at most `timeout_s` seconds. Blocks.

    `about` is what a person calls the repository, for sentences. `address` is given when git may talk to a
    remote: then that one transport is allowed, otherwise none. `options` stand before the command. With
    `cut`, output beyond the limit is left out instead of being an error. Raises MirrorError; with `may_fail`,
    a failing status comes back in the Output instead.
    """
    environment = _environment(address)
    where = () if git_dir is None else ("--git-dir=" + git_dir,)
    process = _start([*_OPTIONS, *options, *where, *argv], cwd=cwd, stdin=stdin, environment=environment)
    try:
        stdout, stderr, fate = _collect(process, time.monotonic() + timeout_s, output_bytes_max)
    finally:
        _end(process)
    if fate is Trouble.TIMEOUT:
        raise MirrorError(f"{show(about)} gave no answer within {timeout_s:g} s (git {argv[0]}).", Trouble.TIMEOUT)
    if fate is Trouble.TOO_LARGE and not cut:
        raise MirrorError(
            f"{show(about)} answered git {argv[0]} with more than {output_bytes_max} bytes.",
            Trouble.TOO_LARGE,
        )
    output = Output(status=process.returncode, stdout=stdout, stderr=stderr.decode("utf-8", "backslashreplace"))
    if output.status != 0 and not may_fail and fate is None:
        raise failure(output, about)
    return output


def failure(output: Output, about: str) -> MirrorError:
    """The error that a failed call means: its kind from what git wrote, its sentence from the line that says
    most.
    """
    trouble = next((kind for pattern, kind in _SIGNS if pattern.search(output.stderr)), Trouble.FAILED)
    advice = _ADVICE.get(trouble, "")
    return MirrorError(f"{show(about)}: {output.complaint.rstrip('.')}.{advice and ' ' + advice}", trouble)


_SIGNS: Final = tuple(
    (re.compile("|".join(patterns), re.IGNORECASE), kind)
    for kind, patterns in {
        Trouble.NO_SPACE: ("no space left on device", "disk quota exceeded"),
        Trouble.CORRUPT: (
            "is empty$",
            "is corrupt",
            "corrupt (loose|patch|pack)",
            "inflate: ",
            "unable to unpack",
            "bad (tree|object|pack)",
            "packfile .* (cannot|does not)",
            "missing (blob|tree|commit)",
            "unable to read (tree|sha1|[0-9a-f]{40})",
            "failed to unpack tree object",
            "did not send all necessary objects",
            "fsck error",
            "garbage at end",
            "hash mismatch",
            "unable to parse (object|commit)",
            "could not parse object",
        ),
        Trouble.MISSING: (
            "not our ref",
            "unadvertised object",
            "couldn't find remote ref",
            "no such remote ref",
            "bad revision",
            "not a valid object name",
            "not a valid commit",
            "unknown revision",
        ),
        Trouble.REFUSED: (
            "authentication failed",
            "permission denied",
            "access denied",
            "could not read (username|password)",
            "terminal prompts disabled",
            "host key verification failed",
            "HTTP 40[13]",
            "returned error: 40[13]",
            "access or permission",
        ),
        Trouble.NOT_A_REPOSITORY: (
            "not a git repository",
            "does not appear to be a git repo",
            "repository .*not found",
            "not exported",
            "returned error: 404",
        ),
        Trouble.UNREACHABLE: (
            "could not resolve",
            "connection (refused|reset|timed out|closed)",
            "timed out",
            "unable to connect",
            "failed to connect",
            "no route",
            "unable to access",
            "unexpected disconnect",
            "the remote end hung up",
            "early EOF",
            r"returned error: (429|5\d\d)",
        ),
    }.items()
)

_ADVICE: Final = {
    Trouble.REFUSED: "Check the address, and that this user may read it (ssh key, known host).",
    Trouble.NOT_A_REPOSITORY: "Check the path or address with `git ls-remote`.",
}


def _environment(address: Address | None) -> dict[str, str]:
    """All that git may know of the world: no configuration but the repository's, nobody to ask, one
    transport.
    """
    kept = {name: os.environ[name] for name in _KEPT_FROM_OUTSIDE if name in os.environ}
    environment = kept | {
        "LC_ALL": "C",
        "LANGUAGE": "C",
        # Nobody can plant a configuration there. ssh finds its keys and known hosts by the user's entry in
        # passwd, not by HOME.
        "HOME": "/nonexistent",
        "XDG_CONFIG_HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
        "SSH_ASKPASS": "/bin/false",
        "GIT_ALLOW_PROTOCOL": address.kind.value if address else "",
        "GIT_PROTOCOL_FROM_USER": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_ADVICE": "0",
    }
    if address is not None and not address.is_local:
        environment |= {name: os.environ[name] for name in _KEPT_FOR_NETWORK if name in os.environ}
    if address is not None and address.kind is Kind.SSH:
        if "SSH_AUTH_SOCK" in os.environ:
            environment["SSH_AUTH_SOCK"] = os.environ["SSH_AUTH_SOCK"]
        environment["GIT_SSH_COMMAND"] = (
            "ssh -oBatchMode=yes -oConnectTimeout=10 -oServerAliveInterval=10 -oPermitLocalCommand=no"
        )
        environment["GIT_SSH_VARIANT"] = "ssh"
    if address is not None and address.user:
        # In the environment, which only this user and root may read; arguments are for everybody's `ps`.
        environment |= {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"credential.{'/'.join(address.url.split('/', 3)[:3])}.helper",
            "GIT_CONFIG_VALUE_0": _HELPER,
            "SURVEIL_GIT_USER": address.user,
            "SURVEIL_GIT_PASSWORD": address.password,
        }
    return environment


def _start(
    argv: Sequence[str], *, cwd: str, stdin: IO[bytes] | None, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    if shutil.which("git") is None:
        raise MirrorError("There is no git on this machine's PATH; install it (`apt install git`).", Trouble.NO_GIT)
    # Imported late: it costs 90 ms and runs `git version`, which `--help` must not wait for.
    from git.cmd import Git  # noqa: PLC0415
    from git.exc import GitCommandNotFound  # noqa: PLC0415

    # The wrapper gives git our whole environment and can only add to it: `env -u` takes away what is not on our list
    # (a GIT_DIR, when we run inside a hook). It replaces itself by git, so the process stays one.
    unset = [part for name in sorted(os.environ.keys() - environment.keys()) for part in ("-u", name)]
    try:
        running: Any = Git(cwd).execute(
            ["env", *unset, "git", *argv],
            istream=stdin,  # type: ignore[arg-type]  # its annotation knows int and BinaryIO only
            as_process=True,
            env=environment,
            shell=False,
            start_new_session=True,
        )
    except (OSError, GitCommandNotFound) as problem:
        # No memory, no process to be had, no `env`: the wrapper passes some of these on as they are.
        raise MirrorError(f"git could not be started on this machine: {show(str(problem))}.") from problem
    process: subprocess.Popen[bytes] = running.proc
    # From here on the process is ours alone: the wrapper's finalizer would only send it TERM and wait without
    # a limit.
    running.proc = None
    return process


def _collect(
    process: subprocess.Popen[bytes], deadline: float, output_bytes_max: int
) -> tuple[bytes, bytes, Trouble | None]:
    """Read both pipes until git is gone, the time is up, or there is too much to read."""
    assert process.stdout is not None
    assert process.stderr is not None
    stdout, stderr = bytearray(), bytearray()
    pidfd = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as selector:
            for pipe in (process.stdout, process.stderr):
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ)
            selector.register(pidfd, selectors.EVENT_READ)
            gone = False
            while not gone:
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    return bytes(stdout), bytes(stderr), Trouble.TIMEOUT
                gone = any(key.fileobj == pidfd for key, _ in ready)
                # Once git is gone its last words are in the pipes already; its children's are none of ours.
                for pipe, text, limit in (
                    (process.stdout, stdout, output_bytes_max),
                    (process.stderr, stderr, STDERR_BYTES_MAX),
                ):
                    if pipe in selector.get_map() and not _drain(pipe, text, limit):
                        selector.unregister(pipe)
                if len(stdout) > output_bytes_max:
                    return bytes(stdout), bytes(stderr), Trouble.TOO_LARGE
                if len(stderr) > STDERR_BYTES_MAX:
                    del stderr[: -STDERR_BYTES_MAX // 2]
    finally:
        os.close(pidfd)
    return bytes(stdout), bytes(stderr), None


def _drain(pipe: IO[bytes], text: bytearray, limit: int) -> bool:
    """Read what is there, up to a little more than `limit` in all; False at the pipe's end."""
    while len(text) <= limit:
        try:
            piece = os.read(pipe.fileno(), _READ_BYTES)
        except BlockingIOError:
            return True
        if not piece:
            return False
        text += piece
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing: kill what is left of git's session, then reap git and close its pipes.

    Killed before it is reaped, because until then its process group's number cannot belong to anybody else.
    """
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    except PermissionError:
        # Some systems say so of a group in which only the dead are left.
        pass
    try:
        process.wait(_SETTLE_S)
    except subprocess.TimeoutExpired as problem:
        raise MirrorError(
            f"git (process {process.pid}) does not end although it was killed: its disk may hang.",
            Trouble.TIMEOUT,
        ) from problem
    finally:
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
