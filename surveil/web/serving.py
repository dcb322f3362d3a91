"""Listens, serves, and stops in order.

What belongs here: the server and its signals. What does not: what is served (`app`).

A stream of events would keep a server from ending for as long as somebody follows: all are ended first.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from surveil.clock import Clock
from surveil.config import WebConfig
from surveil.errors import ExitCode, InfrastructureError
from surveil.lasting import settle
from surveil.say import Voice
from surveil.web.allowing import HowOften
from surveil.web.app import make_app
from surveil.web.connecting import Bounded, Complaints, leave_unread, make_room
from surveil.web.metrics.route import make_alone
from surveil.web.opening import Parts, opened
from surveil.web.whereabouts import serving_at

GRACE_S = 5
BACKLOG = 1024

voice = Voice("web")


async def serve(config: WebConfig) -> ExitCode:
    """Open the parts, serve until a signal comes, and close them.

    Raises:
        SurveilError: the address or the data folder cannot be used.
    """
    _hear_the_server()
    warning = make_room()
    if warning is not None:
        voice.warning(warning)
    asyncio.get_running_loop().set_exception_handler(Complaints().hear)
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(listening(each)) for each in (config.http, config.metrics) if each]
        async with opened(config) as parts:
            apps = apps_of(config, parts, *listeners)
            servers = [(_server_of(app), listener) for app, listener in zip(apps, listeners, strict=True)]

            def stop() -> None:
                apps[0].state.stopping.set()
                for server, _ in servers:
                    server.should_exit = True

            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, stop)
            address = _address_of(listeners[0])
            public = config.public_url
            stack.enter_context(
                serving_at(config.data, public or address, is_public=public is not None, now=Clock().now())
            )
            told = {"metrics": f"{_address_of(listeners[1])}/metrics"} if config.metrics else {}
            settle()
            voice.info("web serves", address=address, data=config.data, **told)
            if not _is_near(listeners[0]):
                voice.warning("web serves without encryption, and not to this machine alone", address=address)
            async with asyncio.TaskGroup() as serving:
                for server, listener in servers:
                    serving.create_task(server.serve(sockets=[listener]))
    voice.info("web stopped")
    return ExitCode.OK


def apps_of(
    config: WebConfig, parts: Parts, listener: socket.socket, metrics: socket.socket | None = None
) -> tuple[FastAPI, ...]:
    """What is served at the one address, and the numbers at the other if there is one."""
    app = make_app(
        parts.books, parts.door, parts.submitter, cluster=parts.cluster, receiver=parts.receiver,
        public_url=config.public_url, proxies=config.trusted_proxies, gatherer=parts.gatherer,
        public_badges=config.public_badges, providers=parts.providers, how_often=HowOften(rate=config.request_rate),
        near=_is_near(listener),
    )  # fmt: skip
    return (app,) if metrics is None else (app, make_alone(parts.gatherer, near=_is_near(metrics)))


def _server_of(app: FastAPI) -> uvicorn.Server:
    settings = uvicorn.Config(
        app, log_config=None, access_log=False, timeout_graceful_shutdown=GRACE_S, server_header=False,
        proxy_headers=False, lifespan="off", ws="none", http=Bounded,
    )  # fmt: skip
    return _Server(settings)


def _address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _is_near(listener: socket.socket) -> bool:
    """Whether only this machine reaches it."""
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


class _Server(uvicorn.Server):
    """Leaves signals to whoever started it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ours are there already, and end all servers."""
        yield


def _hear_the_server() -> None:
    """Let the server complain where we do: what went wrong in a request is our mistake, and stands there whole. What it
    merely warns of are mistakes of peers, who could fill a disk with them.
    """
    theirs = logging.getLogger("uvicorn")
    theirs.handlers = logging.getLogger("surveil").handlers
    theirs.setLevel(logging.ERROR)
    theirs.propagate = False


def _why(error: OSError) -> str:
    """The system's own words, without what Python puts behind them."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)


def listening(address: str) -> socket.socket:
    """A socket that listens at `HOST:PORT`. Raises InfrastructureError."""
    host, _, port = address.rpartition(":")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host.strip("[]"), int(port)), family=family, backlog=BACKLOG)
        leave_unread(listener)
    except OSError as error:
        raise InfrastructureError(
            f"No page can be served at {address}: {_why(error)}; choose another address with --http."
        ) from error
    # Connections inherit it. The loop would set it for sockets of its own making alone, and without it the second part
    # of an answer waits for the other side's word about the first: 40 ms, each time.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
