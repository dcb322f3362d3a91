"""A server of git:// in front of another one that passes on the answer as it likes: slowly, or not to its end."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def passing_on(port: int, piece: int, pause_s: float, silent_after: int | None = None) -> Iterator[int]:
    """Listen on the yielded port and pass on all that is said to and by the server on `port`: its answers in pieces of
    so many bytes with a pause after each, and after `silent_after` bytes nothing more, while the line stays open.
    """
    over = threading.Event()
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:

        def pass_on(client: socket.socket) -> None:
            with client, socket.create_connection(("127.0.0.1", port)) as behind:
                asking = threading.Thread(target=_ask, args=(client, behind))
                asking.start()
                with suppress(OSError):
                    answer(client, behind)
                    for line in (client, behind):
                        line.shutdown(socket.SHUT_RDWR)
                asking.join(10)

        def answer(client: socket.socket, behind: socket.socket) -> None:
            sent = 0
            while not over.is_set() and (part := behind.recv(piece)):
                if silent_after is not None and sent + len(part) > silent_after:
                    over.wait()
                    return
                client.sendall(part)
                sent += len(part)
                time.sleep(pause_s)

        def serve() -> None:
            while not over.is_set():
                with suppress(TimeoutError, OSError):
                    server.settimeout(0.1)
                    client, _ = server.accept()
                    one = threading.Thread(target=pass_on, args=(client,))
                    one.start()
                    threads.append(one)

        accepting = threading.Thread(target=serve)
        accepting.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            accepting.join(10)
            for thread in threads:
                thread.join(10)


def _ask(client: socket.socket, behind: socket.socket) -> None:
    with suppress(OSError):
        while question := client.recv(65536):
            behind.sendall(question)
        # Else a server that waits for more of it would never end.
        behind.shutdown(socket.SHUT_WR)
