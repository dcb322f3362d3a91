"""Runs git, and makes sure that nothing of it outlives the call.

What belongs here: the environment, the options that every call gets, limits on time and output. What does not: the
words for failures (`trouble`), and what is asked of git (`refs`, `mirror`, `checkout`).

GitPython's command wrapper starts the process. Reading, waiting and ending are done here, because the wrapper
bounds neither the output nor the life of git's own children: `git-remote-https` and `ssh` hold the pipes long
after git itself was killed.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any, Final

from surveil.mirror.access import NO_ACCESS, Access
from surveil.mirror.address import Address, Kind, show
from surveil.mirror.pulse import Pulse
from surveil.mirror.remedy import remote_failure, silence
from surveil.mirror.trouble import MirrorError, Output, Trouble, failure

LOCAL_TIMEOUT_S: Final = 60.0
"""For calls that touch this machine's disk alone."""
REMOTE_TIMEOUT_S: Final = 60.0
"""For listing the refs of a remote."""
FETCH_TIMEOUT_S: Final = 15 * 60.0
"""For transfers: a first fetch of a large repository over a slow line."""
STALL_S: Final = 120.0
"""So long a transfer may show no sign of life; servers that are asked for their progress give one each second."""
OUTPUT_BYTES_MAX: Final = 64 * 1024 * 1024
"""200 000 refs with names of 250 bytes; what is longer is refused, not cut."""
STDERR_BYTES_MAX: Final = 64 * 1024
_READ_BYTES: Final = 256 * 1024
_SINK_BYTES: Final = 1024 * 1024
"""So much is held in memory of an output that goes to a file."""
_LOOK_S: Final = 1.0
"""How often a git that says nothing is looked at."""
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


class Halt:
    """A bell that ends every call of git that was given it, those under way and those to come.

    Threads cannot be interrupted; without it a process that is told to end would wait for its slowest remote.
    """

    def __init__(self) -> None:
        # The reading end of a pipe becomes readable for everybody, and for good, when the writing end is closed.
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC)
        self._rung = False

    @property
    def rung(self) -> bool:
        """Whether it was rung."""
        return self._rung

    def fileno(self) -> int:
        """What becomes readable when it rings."""
        return self._reader

    def ring(self) -> None:
        """End the calls. May be called from any thread, and twice."""
        if not self._rung:
            self._rung = True
            os.close(self._writer)

    def close(self) -> None:
        """Free its descriptors, when no call listens any more."""
        self.ring()
        os.close(self._reader)


def run(
    *argv: str,
    about: str,
    address: Address | None = None,
    access: Access = NO_ACCESS,
    git_dir: str | None = None,
    cwd: str = "/",
    options: Sequence[str] = (),
    stdin: IO[bytes] | None = None,
    sink: IO[bytes] | None = None,
    timeout_s: float = LOCAL_TIMEOUT_S,
    output_bytes_max: int = OUTPUT_BYTES_MAX,
    cut: bool = False,
    may_fail: bool = False,
    halt: Halt | None = None,
) -> Output:
    """Run `git argv...` and wait for it, at most `timeout_s` seconds. Blocks.

    `about` is what a person calls the repository, for sentences. `address` is given when git may talk to a
    remote: then that one transport is allowed, otherwise none, and `access` says how git proves who we are.
    `options` stand before the command. Output goes to `sink`, if there is one, piece by piece. With `cut`, output
    beyond the limit is left out instead of being an error. Raises MirrorError; with `may_fail`, a failing status
    comes back in the Output instead; and OSError if the sink takes no more.
    """
    if halt is not None and halt.rung:
        raise MirrorError(f"git {argv[0]} of {show(about)} was not started, because surveil stops.", Trouble.HALTED)
    environment = _environment(address, access)
    remote = None if address is None or address.is_local else address
    where = () if git_dir is None else ("--git-dir=" + git_dir,)
    process = _start([*_OPTIONS, *options, *where, *argv], cwd=cwd, stdin=stdin, environment=environment)
    # Over http libcurl itself gives up on a line that is too slow.
    stalls = remote is not None and remote.kind in {Kind.GIT, Kind.SSH} and timeout_s > STALL_S
    patience = _Patience(process.pid, timeout_s, STALL_S if stalls else None)
    try:
        stdout, stderr, fate = _collect(process, patience, output_bytes_max, halt, sink)
    finally:
        _end(process)
    if fate is Trouble.HALTED:
        raise MirrorError(f"git {argv[0]} of {show(about)} was ended, because surveil stops.", Trouble.HALTED)
    if fate is Trouble.TIMEOUT and remote is not None:
        raise silence(remote, access, patience.borne_s, argv[0])
    if fate is Trouble.TIMEOUT:
        raise MirrorError(f"{show(about)} gave no answer within {timeout_s:g} s (git {argv[0]}).", Trouble.TIMEOUT)
    if fate is Trouble.TOO_LARGE and not cut:
        raise MirrorError(
            f"{show(about)} answered git {argv[0]} with more than {output_bytes_max} bytes.",
            Trouble.TOO_LARGE,
        )
    output = Output(status=process.returncode, stdout=stdout, stderr=stderr.decode("utf-8", "backslashreplace"))
    if output.status != 0 and not may_fail and fate is None:
        raise failure(output, about) if remote is None else remote_failure(output, remote, access)
    return output


def _environment(address: Address | None, access: Access) -> dict[str, str]:
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
        "GIT_ALLOW_PROTOCOL": _transports(address),
        "GIT_PROTOCOL_FROM_USER": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_ADVICE": "0",
    }
    if address is not None and not address.is_local:
        environment |= {name: os.environ[name] for name in _KEPT_FOR_NETWORK if name in os.environ}
        environment |= access.environment(address)
    return environment


def _transports(address: Address | None) -> str:
    if address is None:
        return ""
    # Servers send people on from http to https, and nobody is worse off for it.
    return "http:https" if address.kind is Kind.HTTP else address.kind.value


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


class _Patience:
    """How long a call is waited for: `timeout_s` in all, and `stall_s` of them without any sign of life."""

    def __init__(self, pid: int, timeout_s: float, stall_s: float | None) -> None:
        self._began_at = self._alive_at = time.monotonic()
        self._timeout_s = timeout_s
        self._stall_s = stall_s
        self._pulse = None if stall_s is None else Pulse(pid)

    @property
    def borne_s(self) -> float:
        """The limit that was, or would be, reached first."""
        silent_s = time.monotonic() - self._alive_at
        return self._timeout_s if self._stall_s is None or silent_s < self._stall_s else self._stall_s

    def next_look_s(self) -> float:
        """How long to wait for a word before `ended` is asked."""
        left_s = max(0.0, self._began_at + self._timeout_s - time.monotonic())
        return left_s if self._pulse is None else min(left_s, _LOOK_S)

    def heard(self) -> None:
        """It said something."""
        self._alive_at = time.monotonic()

    def ended(self) -> bool:
        """Whether there is no patience left; to be asked when nothing was said."""
        now = time.monotonic()
        if self._pulse is not None and self._pulse.beats():
            self._alive_at = now
        silent = self._stall_s is not None and now - self._alive_at >= self._stall_s
        return silent or now - self._began_at >= self._timeout_s


def _collect(
    process: subprocess.Popen[bytes],
    patience: _Patience,
    output_bytes_max: int,
    halt: Halt | None,
    sink: IO[bytes] | None,
) -> tuple[bytes, bytes, Trouble | None]:
    """Read both pipes until git is gone, the time is up, or there is too much to read."""
    assert process.stdout is not None
    assert process.stderr is not None
    held_bytes_max = output_bytes_max if sink is None else min(output_bytes_max, _SINK_BYTES)
    passed_on = 0
    pipes = ((process.stdout, bytearray(), held_bytes_max), (process.stderr, bytearray(), STDERR_BYTES_MAX))
    (_, stdout, _), (_, stderr, _) = pipes
    pidfd = os.pidfd_open(process.pid)
    fate: Trouble | None = None
    try:
        with selectors.DefaultSelector() as selector:
            for pipe, _, _ in pipes:
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ)
            selector.register(pidfd, selectors.EVENT_READ)
            if halt is not None:
                selector.register(halt, selectors.EVENT_READ)
            gone = False
            while not gone and fate is None:
                ready = [key.fileobj for key, _ in selector.select(patience.next_look_s())]
                if not ready:
                    fate = Trouble.TIMEOUT if patience.ended() else None
                    continue
                patience.heard()
                gone = pidfd in ready
                # Once git is gone its last words are in the pipes already; its children's are none of ours.
                for pipe, text, limit in pipes:
                    if pipe in selector.get_map() and not _drain(pipe, text, limit):
                        selector.unregister(pipe)
                del stderr[: max(0, len(stderr) - STDERR_BYTES_MAX)]
                fate = _fate(ready, halt, too_large=passed_on + len(stdout) > output_bytes_max)
                if sink is not None:
                    passed_on += sink.write(stdout)
                    stdout.clear()
    finally:
        os.close(pidfd)
    return bytes(stdout), bytes(stderr), fate


def _fate(ready: Sequence[object], halt: Halt | None, *, too_large: bool) -> Trouble | None:
    """Why to stop listening to git, if there is a reason."""
    if halt is not None and halt in ready:
        return Trouble.HALTED
    return Trouble.TOO_LARGE if too_large else None


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
