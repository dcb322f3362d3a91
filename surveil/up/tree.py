"""The processes of `up`: one dispatcher, its runners, an observer, the web pages, and who tells others; started and
ended in order.

What belongs here: which parts there are, how each is started and what is said when one of them dies. What does not:
keeping them running (`fleet`), and what happens to builds (`story`).

The runners are children of this process and not of the dispatcher, so a dispatcher that dies takes nobody with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import logging.handlers
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from surveil.client.access import find_access
from surveil.client.asking import Client
from surveil.config import UpConfig
from surveil.config.roles import settings_of
from surveil.errors import ExitCode, InfrastructureError, SurveilError, error_of
from surveil.fleet.child import surveil_command
from surveil.fleet.confining import complaint_of, settings_of_runners
from surveil.fleet.enrolling import WORTH_ANOTHER_TRY, Enrolment
from surveil.fleet.spawner import Spawner
from surveil.fleet.supervise import Change, News, Part, Supervisor, how_it_ended
from surveil.net.addresses import Address, parse_address
from surveil.net.known import FILE_NAME, load_known
from surveil.places import RULES
from surveil.up.interrupts import Interrupts
from surveil.up.pages import address_for, settings_for_notify, settings_for_pages

DISPATCHER: Final = "dispatcher"
OBSERVER: Final = "observer"
WEB: Final = "web"
NOTIFY: Final = "notify"
READY_MS: Final = 60_000
"""How long a dispatcher may take to serve; a large database on a slow disk takes a while to open."""
OUTAGE_MS: Final = 24 * 3_600_000
"""A dispatcher that cannot be kept running for a day is not waited for any longer."""
ONCE_PATIENCE_MS: Final = 6_000
"""A runner that has to be waited for so long before its next try will not help a single build."""
LOOK_MS: Final = 20
HURRY_MS: Final = 4_000
"""A runner gives its jobs a second to end by themselves when it is told to stop at once."""
TOKEN_MS: Final = 600_000
LOG_NAME: Final = "up.log"
PARTS_FILE: Final = "parts.toml"
LOG_BYTES_MAX: Final = 4 * 1024 * 1024
LOGS_KEPT: Final = 2


Say = Callable[[str, str], None]
"""Takes a sentence for people, and the state whose colour it has; must not block."""


class Tree:
    """The processes of one `up` in the folder `data`. `say` is told what people should know."""

    def __init__(self, config: UpConfig, data: Path, listen: str, say: Say) -> None:
        self._config = config
        self._data = data
        self._say = say
        self._lines = _LineLog(data / LOG_NAME)
        self._settings = settings_for_children(config, data)
        self._main = Supervisor(on_line=self._note, on_news=self._tell)
        self._spawner: Spawner | None = None
        self._observing: Enrolment | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._failed: asyncio.Future[SurveilError] = asyncio.get_running_loop().create_future()
        self._ready = False
        self._client: Client | None = None
        self.address = parse_address(listen, listening=True)
        self.pages: str | None = None

    async def start(self) -> Client:
        """Start the dispatcher, wait until it serves, and start its runners; returns a connection to it.

        Raises:
            SurveilError: it does not come up, and the sentence is its own; or the steps have to run in a sandbox, and
                there can be none.
        """
        if self._config.runners and (complaint := await asyncio.to_thread(complaint_of, self._config, self._data)):
            self._say(complaint, "weak")
        self._main.want(self._dispatcher_part(self.address))
        self._keep(self._main.run(), "supervision")
        here = await self._until_ready()
        if self.address.port == 0:
            # Should it have to be started again, everybody looks for it where it was.
            self.address = self.address.with_port(here.port)
            self._main.want(self._dispatcher_part(self.address))
        # Whoever keeps the dispatcher running can wait for it longer than others.
        access = find_access(self._data, None)
        self._client = await Client(access, patience_ms=OUTAGE_MS, outage_ms=OUTAGE_MS).__aenter__()
        await self._client.ask("status", patience_ms=READY_MS)
        self._ready = True
        self._start_runners(here)
        return self._client

    def watch(self, repos: Sequence[str]) -> None:
        """Start the observer of these repositories."""
        folder = self._data / OBSERVER
        config = self._config
        interval = () if config.interval_ms is None else ("--interval", f"{config.interval_ms}ms")
        refs = [word for ref in config.refs for word in ("--ref", ref)]
        trusted = [word for ref in config.trusted_refs for word in ("--trusted-ref", ref)]
        flags = ("--data", str(folder), "--name", "up", *interval, *refs, *trusted, "--", *repos)
        where = str(self.address.from_here())
        self._observing = Enrolment(folder, where, lambda: self.make_token("observer"), self._settings)
        self._main.want(
            Part(
                name=OBSERVER,
                command=surveil_command(OBSERVER, *flags),
                prepare=self._observing.prepare,
                hopeless=WORTH_ANOTHER_TRY,
            )
        )

    def serve_pages(self) -> None:
        """Start the web pages, if anybody wants them; `pages` is their address then. Without them all else goes on."""
        self.pages = address_for(self._config)
        if self.pages is None:
            return

        async def prepare() -> Mapping[str, str]:
            return {**self._settings, **settings_for_pages(self._config)}

        flags = ("--data", str(self._data), "--http", self.pages, "--dispatcher", str(self.address.from_here()))
        self._main.want(Part(name=WEB, command=surveil_command(WEB, *flags), prepare=prepare))

    def tell_others(self) -> None:
        """Start telling others of builds, if there is a file that says whom. Without it all else goes on."""
        rules = self._config.rules or self._data / RULES
        if not rules.exists():
            return

        async def prepare() -> Mapping[str, str]:
            return {**self._settings, **settings_for_notify(self._config)}

        flags = ("--data", str(self._data), "--rules", str(rules))
        self._main.want(Part(name=NOTIFY, command=surveil_command(NOTIFY, *flags), prepare=prepare))

    async def make_token(self, role: str, expires_ms: int = TOKEN_MS) -> str:
        """A join token for one new peer. Raises SurveilError."""
        assert self._client is not None, "the dispatcher was waited for"
        answer = await self._client.ask(
            "token_create", {"role": role, "labels": [], "expires_ms": expires_ms, "uses": 1}
        )
        return str(answer.body["token"])

    async def until_failed(self) -> SurveilError:
        """Wait for the end of what cannot be kept running; returns why."""
        return await asyncio.shield(self._failed)

    async def stop(self) -> None:
        """End everything: the observer, the runners with their jobs, and last the dispatcher, which hears of it."""
        await self._main.stop_only(OBSERVER)
        await self._main.stop_only(WEB)
        await self._main.stop_only(NOTIFY)
        if self._spawner is not None:
            await self._spawner.stop(end_jobs=True)
        if self._client is not None:
            await self._client.__aexit__(None, None, None)
        await self._main.stop((DISPATCHER,))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._lines.close()

    def hurry(self) -> None:
        """End everything at once, but for a moment in which the runners end their jobs: nobody else would."""
        self._main.kill()
        if self._spawner is not None:
            asyncio.get_running_loop().call_later(HURRY_MS / 1000, self._spawner.kill)

    # ---- how --------------------------------------------------------------------------------------------------------

    def _dispatcher_part(self, listen: Address) -> Part:
        async def prepare() -> Mapping[str, str]:
            return {**self._settings, **settings_of_dispatcher(self._config)}

        trusted = [word for ref in self._config.trusted_refs for word in ("--trusted-ref", ref)]
        flags = ("--data", str(self._data), "--listen", str(listen), "--spawn", "0", *trusted)
        command = surveil_command(DISPATCHER, *flags)
        return Part(name=DISPATCHER, command=command, prepare=prepare)

    def _start_runners(self, here: Address) -> None:
        self._spawner = Spawner(
            self._config.runners,
            self._data,
            str(here),
            lambda: self.make_token("runner"),
            self._config.slots,
            labels=self._config.labels,
            settings=self._settings,
            on_line=self._note,
            on_news=self._tell,
        )
        self._keep(self._spawner.run(), "runners")

    def _keep(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Do this until the end; if it fails, everything does, loudly."""

        def look(task: asyncio.Task[None]) -> None:
            problem = None if task.cancelled() else task.exception()
            if problem is not None and not self._failed.done():
                self._failed.set_exception(problem)

        task = asyncio.create_task(work, name=name)
        task.add_done_callback(look)
        self._tasks.append(task)

    async def _until_ready(self) -> Address:
        """Wait for the file that the dispatcher writes when it serves; its process id tells it from an older one."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_MS / 1000):
                while not self._failed.done():
                    # Nothing tells of a new file in a folder that may not be there yet.
                    if (self._data / FILE_NAME).exists():
                        known = load_known(self._data)
                        if known.pid == self._main.pid_of(DISPATCHER):
                            return known.address.from_here()
                    await asyncio.sleep(LOOK_MS / 1000)
        if self._failed.done():
            raise self._failed.result()
        raise InfrastructureError(
            f"The dispatcher does not come up within {READY_MS // 1000} s; {self._data / LOG_NAME} says what it did."
        )

    def _is_hopeless(self, news: News) -> bool:
        """Whether a build that waits for this runner alone would wait for ever."""
        slow = news.change is Change.ENDED and (news.again_ms or 0) > ONCE_PATIENCE_MS
        return (news.change is Change.GIVEN_UP or slow) and not self._failed.done()

    def _note(self, part: str, line: str) -> None:
        self._lines.handle(logging.LogRecord(part, logging.INFO, "", 0, f"{part}: {line}", None, None))

    def _tell(self, news: News) -> None:
        if news.part == OBSERVER and self._observing is not None:
            self._observing.consider(news)
        self._note(news.part, written_of(news))
        # Before it ever served, its own sentence says more than another try; whoever was killed said none.
        refused = news.change is Change.ENDED and not self._ready and (news.exit_code is None or news.exit_code >= 0)
        dead = news.change is Change.GIVEN_UP or refused
        if news.part == DISPATCHER and dead and not self._failed.done():
            sentence = news.sentence or f"The dispatcher {how_it_ended(news.exit_code)}."
            self._failed.set_result(error_of(sentence, news.exit_code or int(ExitCode.INFRASTRUCTURE)))
            return
        if self._config.once and news.part not in {DISPATCHER, OBSERVER, WEB, NOTIFY} and self._is_hopeless(news):
            self._failed.set_result(InfrastructureError(f"The runner does not stay up: {sentence_about(news)}"))
            return
        if sentence := sentence_about(news):
            self._say(sentence, "faint" if news.change is Change.STARTED else "weak")


def sentence_about(news: News) -> str:
    """What people should know of a change; nothing where a part started for the first time or was stopped."""
    match news.change:
        case Change.ENDED:
            because = f" ({news.sentence})" if news.sentence and (news.exit_code or 0) > 0 else ""
            again_s = (news.again_ms or 0) / 1000
            how = how_it_ended(news.exit_code) if news.pid is not None else "could not be started"
            return f"{news.part} {how}{because}; it is started again in {again_s:g} s."
        case Change.GIVEN_UP:
            return f"{news.part} is given up: {news.sentence or how_it_ended(news.exit_code)}"
        case Change.STARTED if news.again:
            return f"{news.part} runs again (process {news.pid})."
        case _:
            return ""


def written_of(news: News) -> str:
    """What is written of a change beside what the parts say themselves."""
    process = "" if news.pid is None else f", process {news.pid}"
    code = "" if news.exit_code is None else f", exit code {news.exit_code}"
    return f"({news.change}{process}{code}) {news.sentence}".rstrip()


def settings_for_children(config: UpConfig, data: Path) -> dict[str, str]:
    """The settings that every part takes from its environment; everything else they are told by flags.

    The configuration file was read by this process already, for all of them; theirs is empty, so that a setting for a
    lone runner does not change the runners of `up`. Raises InfrastructureError when that file cannot be written.
    """
    empty = data / PARTS_FILE
    try:
        empty.write_text("# The parts of `surveil up` take no settings from a file; `up` itself does.\n")
    except OSError as error:
        raise InfrastructureError(f"{empty} cannot be written: {error.strerror}.") from error
    return {
        "SURVEIL_CONFIG": str(empty),
        "SURVEIL_LOG_FORMAT": config.log_format,
        "SURVEIL_LOG_LEVEL": config.log_level,
        **settings_of_runners(config),
    }


_HANDED_ON: Final = frozenset(
    {
        "blobs", "blobs_endpoint", "blobs_region", "blobs_credentials",
        "artifact_space", "cache_space", "vault", "vault_token", "vault_mount",
    }
)  # fmt: skip


def settings_of_dispatcher(config: UpConfig) -> dict[str, str]:
    """The dispatcher's own settings: its policy, its room for files, and its database, whose address may hold a
    password.
    """
    policy = {
        setting.variable: setting.shown_in(config)
        for key, setting in settings_of(UpConfig).items()
        if (key.startswith("policy.") or key in _HANDED_ON) and setting.shown_in(config)
    }
    database = {} if config.database is None else {"SURVEIL_DATABASE": config.database}
    return {**policy, **database}


@contextlib.asynccontextmanager
async def running(
    config: UpConfig, data: Path, listen: str, say: Say, interrupts: Interrupts
) -> AsyncIterator[tuple[Tree, Client]]:
    """A tree between its start and its end, whatever happens in between. Raises SurveilError; Interrupted while it
    starts.
    """
    tree = Tree(config, data, listen, say)
    try:
        yield tree, await interrupts.unless_first(tree.start())
    finally:
        stopping = asyncio.create_task(tree.stop())
        if not await interrupts.until_second(stopping):
            tree.hurry()
            await stopping


class _LineLog(logging.handlers.RotatingFileHandler):
    """Where the lines of the parts go: a file of bounded size, and those before it."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path, maxBytes=LOG_BYTES_MAX, backupCount=LOGS_KEPT, encoding="utf-8", errors="replace", delay=True
        )
        self.setFormatter(logging.Formatter("%(message)s"))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # Its name is logging's.
        """A full disk costs these lines and nothing else; the dispatcher complains of it itself."""
