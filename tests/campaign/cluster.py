"""The cluster: one dispatcher, observers and runners, each a real process of surveil on a host of its own.

What belongs here: starting and ending the roles, their pids, folders and ways to each other. What does not: what is
done with them (faults), and what they are given to do (workload).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from surveil.cli.blocking import Dispatcher
from surveil.client.access import find_access
from surveil.net.addresses import Address
from surveil.net.tokens import parse_token
from surveil.store.reading import SqlReader
from surveil.store.sqlite import open_reader
from tests.campaign.hosts import Ended, Host, descendants, is_stopped, is_zombie, open_networks, send
from tests.campaign.repositories import Repository
from tests.campaign.settings import Settings
from tests.campaign.truth import Truth
from tests.campaign.ways import Proxy, open_way

if TYPE_CHECKING:
    from tests.campaign.workload import Workload

Opened = TypeVar("Opened")
PORT: Final = 7300
PATIENCE_S: Final = 60.0
"""How long the frame waits for what should happen at once; generous, because processors may be shared."""


def patched(script: str) -> tuple[str, ...]:
    """The launcher that is a script beside this module. It is started in its host's own folder, from where no module of
    the tests is found, and so may need nothing but the product.
    """
    return (sys.executable, "-P", str(Path(__file__).with_name(script)))


@dataclass
class Role:
    """A process of surveil on a host. `words` is its command line after `surveil`."""

    name: str
    host: Host
    words: tuple[str, ...]
    env: dict[str, str]
    launcher: tuple[str, ...] = (sys.executable, "-m", "surveil")
    """What runs it; a fault may put a launcher here that patches the real process from outside."""
    more_env: dict[str, str] = field(default_factory=dict)
    folder: str = "data"
    """Its data folder's name on the host's disk."""
    pid: int = 0
    ended: Ended = field(default_factory=Ended)
    _said_before: int = 0

    @property
    def data(self) -> Path:
        """Its data folder."""
        return self.host.disk / self.folder

    @property
    def log(self) -> Path:
        """What it says, over all its starts."""
        return self.host.folder / f"{self.name}.txt"

    @property
    def alive(self) -> bool:
        """Whether its process is there."""
        return self.pid != 0 and self.host.is_up and not is_zombie(self.pid)

    def start(self) -> None:
        """Start it, on a host that is booted if it is down."""
        assert not self.alive, f"{self.name} runs"
        if not self.host.is_up:
            self.host.boot()
        self._said_before = len(self.said())
        argv = [*self.launcher, *self.words]
        self.pid, self.ended = self.host.run(argv, {**self.env, **self.more_env}, self.log)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal it; after SIGKILL, wait until it is gone."""
        assert self.alive, f"{self.name} does not run"
        send(self.pid, number)
        if number == signal.SIGKILL:
            assert until(lambda: not self.alive), f"{self.name} cannot be killed"

    def stop(self) -> None:
        """End it as the system would, and wait; whoever does not end in time is killed."""
        self.kill(signal.SIGTERM)
        if not until(lambda: not self.alive):
            self.kill()
            raise AssertionError(f"{self.name} did not end when it was asked to")

    def children(self) -> list[int]:
        """All that it started and that lives."""
        return below(self.pid) if self.alive else []

    def said_now(self) -> str:
        """What it has said since its last start."""
        return self.said()[self._said_before :]

    def said(self) -> str:
        """All that it has said."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class Cluster:
    """All hosts and roles, and the networks between them, between `with` and its end."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self.settings = settings
        self.dice = Random(f"cluster {settings.seed}")
        self.repositories = [Repository(folder / "repositories", name) for name in settings.repositories]
        self.proxies: dict[str, Proxy] = {}
        """The way of each runner and observer to the dispatcher, by name."""
        self._closing = ExitStack()
        self._crowds = 0
        self.taken: set[str] = set()
        """The victims of this round so far."""
        self._tokens: dict[str, str] = {}
        self._numbers = iter(range(1, 250))
        self.truth: Truth
        self.reader: SqlReader
        self.workload: Workload

    # ---- opening and closing ---------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        open_networks()
        (self.folder / "hosts").mkdir()
        self.truth = self._closing.enter_context(Truth("10.78.0.254"))
        try:
            self._open()
        except BaseException:  # whatever ends the opening, what is open already has to close
            self._closing.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def _open(self) -> None:
        settings = self.settings
        host = self._host("dispatcher")
        words = ("dispatcher", "--data", str(host.disk / "data"), "--listen", f"tcp://{host.address}:{PORT}")
        self.dispatcher = Role("dispatcher", host, words, self._environment(host, settings.policy_variables()))
        self.dispatcher.start()
        self.wait_ready()
        self.reader = open_reader(self.dispatcher.data)
        self._closing.callback(self.reader.close)
        self.observers = [self._observer(f"observer-{n}", repos) for n, repos in enumerate(self._shares(), start=1)]
        self.runners = [self._runner(number) for number in range(1, settings.runners + 1)]
        for role in (*self.observers, *self.runners):
            role.start()
        self.wait_online()
        for role in (*self.observers, *self.runners):
            _let_in(role)

    def _shares(self) -> list[list[Repository]]:
        """Which observer watches which repositories; the first one is watched by both."""
        count = self.settings.observers
        shares = [self.repositories[n::count] for n in range(count)]
        return [list(dict.fromkeys([self.repositories[0], *share])) for share in shares]

    def _host(self, name: str, *hidden: Path) -> Host:
        host = Host(name, next(self._numbers), self.folder / "hosts" / name, hidden)
        host.boot()
        self._closing.callback(host.close)
        return host

    def _environment(self, host: Host, more: Mapping[str, str] | None = None) -> dict[str, str]:
        home = host.disk / "home"
        home.mkdir()
        path = f"{Path(self.settings.step_python).parent}:{os.environ['PATH']}"
        own = {"HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home}
        # Control groups are the machine's, and a host without power leaves its own behind: greedy jobs alone have some.
        common = {"PATH": path, "LANG": "C.UTF-8", "SURVEIL_PROCESSES": "0"}
        return {**common, **{name: str(at) for name, at in own.items()}, **(more or {})}

    def _enrolled(self, role: str, host: Host, name: str = "", folder: str = "data") -> tuple[str, ...]:
        """The flags with which a part comes in for the first time, by its own way."""
        token = parse_token(self._token(role))
        own = replace(token, address=Address(self.way_to(host), PORT))
        return ("--join", str(own), "--data", str(host.disk / folder), "--name", name or host.name)

    def _token(self, role: str) -> str:
        """A token of a role, made once for all that start together."""
        if role not in self._tokens:
            self._tokens[role] = self.surveil("token", "create", "--role", role, "--uses", "1000").strip()
        return self._tokens[role]

    def way_to(self, host: Host) -> str:
        """The address at which a host finds the dispatcher; its proxy is opened at the first call."""
        if host.name not in self.proxies:
            seed = self.dice.getrandbits(32)
            proxy = open_way(host.number, self.dispatcher.host.address, (PORT, PORT + 1), seed)
            self.proxies[host.name] = self._closing.enter_context(proxy)
        return f"10.77.1.{host.number}"

    def _observer(self, name: str, repos: Sequence[Repository]) -> Role:
        return self._observer_of(name, [str(repo.path) for repo in repos])

    def _observer_of(self, name: str, addresses: Sequence[str]) -> Role:
        host = self._host(name)
        words = ("observer", *self._enrolled("observer", host), "--interval", "500ms", *addresses)
        return Role(name, host, words, self._environment(host))

    def further_observer(self, name: str, address: str) -> Role:
        """One more observer, of a repository at this address, for the rest of the campaign."""
        self._tokens.clear()  # By now they may have expired, in an hour or by a clock that was set ahead meanwhile.
        role = self._observer_of(name, [address])
        role.start()
        _let_in(role)
        self.observers.append(role)
        return role

    def opened(self, context: AbstractContextManager[Opened]) -> Opened:
        """Enter what has to be left when the cluster closes."""
        return self._closing.enter_context(context)

    def _runner(self, number: int) -> Role:
        # Every other runner has to ask for its commits, as a machine elsewhere would.
        host = self._host(f"runner-{number}", *([self.folder / "repositories"] if number % 2 == 0 else ()))
        labels = ("--label", "heavy") if number <= 2 else ()
        words = ("runner", *self._enrolled("runner", host), "--slots", str(self.settings.slots), *labels)
        # Half of them keep their steps in sandboxes, which is the same to everybody.
        sandbox = {"SURVEIL_SANDBOX": "auto" if number in {1, 4} else "off"}
        return Role(host.name, host, words, self._environment(host, sandbox))

    # ---- looking and waiting ---------------------------------------------------------------------------------------

    @property
    def roles(self) -> list[Role]:
        """Everything that is to run."""
        return [self.dispatcher, *self.observers, *self.runners]

    def runner(self, name: str) -> Role:
        """One runner."""
        return next(role for role in self.runners if role.name == name)

    def busy(self) -> list[Role]:
        """The runners on which something runs now, by the truth."""
        names = {work.runner for work in self.truth.alive()}
        return [role for role in self.runners if role.name in names]

    def victim(self, dice: Random) -> Role:
        """A runner to be struck: one with work if there is one, and another one than the round's other fault has."""
        free = [role for role in self.runners if role.name not in self.taken]
        role = dice.choice([role for role in self.busy() if role in free] or free)
        self.taken.add(role.name)
        return role

    def zygote(self, runner: Role) -> int | None:
        """The one child of a runner's agent, from which its keepers are forked."""
        return next((pid for pid in runner.children() if _parent(pid) == runner.pid), None)

    def answers(self) -> bool:
        """Whether the dispatcher's process runs and does not stand still."""
        return self.dispatcher.alive and not is_stopped(self.dispatcher.pid)

    def keepers(self, runner: Role) -> list[int]:
        """The processes that own a runner's attempts: forks of the zygote, which outlive it."""
        marked = [pid for pid in runner.host.processes() if b"surveil.execute.keeper.zygote" in _command(pid)]
        return [pid for pid in marked if pid != self.zygote(runner)]

    def wait_ready(self) -> None:
        """Wait until the dispatcher has said since its last start that it is ready."""
        role = self.dispatcher
        until(lambda: "dispatcher is ready" in role.said_now() or not role.alive)
        assert "dispatcher is ready" in role.said_now(), f"the dispatcher is not ready:\n{role.said()[-2000:]}"

    def online(self) -> list[str]:
        """The runners that the dispatcher calls online, by name."""
        return [each.name for each in self.reader.runners() if each.online]

    def wait_online(self) -> None:
        """Wait until every runner is known and online."""
        names = sorted(role.name for role in self.runners)
        assert until(lambda: sorted(self.online()) == names), f"of {names}, only {self.online()} are online"

    def left(self) -> dict[str, list[str]]:
        """What each runner still has of any attempt: folders, and processes other than its agent and zygote."""
        return {role.name: [*_folders(role), *self._strangers(role)] for role in self.runners}

    def _strangers(self, role: Role) -> list[str]:
        own = {role.pid, self.zygote(role)}
        found = [pid for pid in role.host.processes() if pid not in own]
        return [f"process {pid} {_command(pid)[:120].decode(errors='replace')}" for pid in found]

    # ---- a crowd ---------------------------------------------------------------------------------------------------

    def crowd(self, count: int, *flags: str) -> list[Role]:
        """More runners for a while, all on one further host and with these flags; returns when they are online."""
        self._crowds += 1
        self._tokens.clear()  # One that was made at the start is over after an hour, and no backup of before has it.
        host = self._host(f"crowd-{self._crowds}")
        environment, roles = self._environment(host), []
        for number in range(1, count + 1):
            name = f"{host.name}-{number}"
            words = ("runner", *self._enrolled("runner", host, name, name), "--slots", "1", *flags)
            roles.append(Role(name, host, words, environment, folder=name))
        for role in roles:
            role.start()
        names = {role.name for role in roles}
        assert until(lambda: names <= set(self.online())), f"of {count} more runners, {self.online()} are online"
        for role in roles:
            _let_in(role)
        return roles

    def disband(self, crowd: Sequence[Role]) -> None:
        """End such runners for good."""
        crowd[0].host.pull_plug(silent=False)
        shutil.rmtree(crowd[0].host.folder)
        # As `surveil runner revoke` asks it, which takes one name and half a second.
        with Dispatcher(find_access(self.dispatcher.data, None)) as dispatcher:
            for role in crowd:
                dispatcher.ask("runner", {"name": role.name, "order": "revoke", "reason": ""})

    # ---- people ----------------------------------------------------------------------------------------------------

    def surveil(self, *words: str, check: bool = True) -> str:
        """What a command prints that somebody types on the dispatcher's machine."""
        done = self.ask(*words)
        assert not check or done.returncode == 0, f"surveil {' '.join(words)}: {done.stderr}"
        return done.stdout

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command to its end, whatever its exit code."""
        return subprocess.run(
            [sys.executable, "-m", "surveil", *words, "--data", str(self.dispatcher.data)],
            env={**self.dispatcher.env, **NOBODYS_SETTINGS},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * PATIENCE_S,
        )


NOBODYS_SETTINGS: Final[Mapping[str, str]] = {"NO_COLOR": "1"}


def _let_in(role: Role) -> None:
    """Wait until a part is enrolled. From then on it starts with its folder and nothing else."""
    assert until(role.data.joinpath("dispatcher.json").exists), f"{role.name} was not let in:\n{role.said()[-2000:]}"
    role.words = (role.words[0], *role.words[3:])


def until(condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> bool:
    """Whether something becomes true that no event tells of."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.03)
    return bool(condition())


def _folders(role: Role) -> list[str]:
    """The attempts that a runner still has on its disk."""
    try:
        return sorted(f"attempt {path.name}" for path in (role.data / "attempts").iterdir() if path.is_dir())
    except FileNotFoundError:
        return []


def below(pid: int) -> list[int]:
    """All that a process started and that lives."""
    return [each for each in descendants(pid) if not is_zombie(each)]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        return b""
