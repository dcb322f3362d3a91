"""A peer that speaks ZMTP and CurveZMQ by hand, over a plain socket, and so says what libzmq would never say for it.

What belongs here: the two protocols (ZeroMQ's RFCs 23 and 26), as far as a peer needs them. What does not: what it is
good for.

The arithmetic is that of the libsodium which comes with pyzmq, or of the system's.
"""

import ctypes
import ctypes.util
import os
import socket
import struct
from functools import cache
from pathlib import Path
from typing import Self

import zmq
from zmq.utils import z85

from surveil.net.keys import KeyPair, make_keys

MAC_BYTES = 16
MORE = 1
_LARGE, _COMMAND = 2, 4
_SHORT_MAX = 255


@cache
def _sodium() -> ctypes.CDLL:
    bundled = sorted((Path(zmq.__file__).parent.parent / "pyzmq.libs").glob("libsodium*"))
    found = str(bundled[0]) if bundled else ctypes.util.find_library("sodium")
    assert found, "there is no libsodium beside pyzmq and none in the system: apt install libsodium23"
    library = ctypes.CDLL(found)
    assert library.sodium_init() >= 0
    return library


def _box(text: bytes, nonce: bytes, public: bytes, secret: bytes) -> bytes:
    sealed = ctypes.create_string_buffer(len(text) + MAC_BYTES)
    assert _sodium().crypto_box_easy(sealed, text, ctypes.c_ulonglong(len(text)), nonce, public, secret) == 0
    return sealed.raw


def _unbox(sealed: bytes, nonce: bytes, public: bytes, secret: bytes) -> bytes:
    text = ctypes.create_string_buffer(len(sealed) - MAC_BYTES)
    found = _sodium().crypto_box_open_easy(text, sealed, ctypes.c_ulonglong(len(sealed)), nonce, public, secret)
    assert found == 0, "this box was sealed by somebody else, or was damaged"
    return text.raw


def framed(body: bytes, flags: int = 0) -> bytes:
    """One frame as it goes over the wire."""
    if len(body) > _SHORT_MAX:
        return struct.pack(">BQ", flags | _LARGE, len(body)) + body
    return struct.pack(">BB", flags, len(body)) + body


GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)


class HandmadePeer:
    """A connection to the server with `server_key`, not yet beyond TCP."""

    def __init__(self, address: tuple[str, int], server_key: str, keys: KeyPair, timeout_s: float = 20) -> None:
        self.socket = socket.create_connection(address, timeout_s)
        self._server = z85.decode(server_key)
        self._public, self._secret = z85.decode(keys.public), z85.decode(keys.secret)
        own = make_keys()
        self._own_public, self._own_secret = z85.decode(own.public), z85.decode(own.secret)
        self._shared = b""
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def shake_hands(self) -> Self:
        """Become a peer that was let in."""
        self.socket.sendall(GREETING)
        assert self._read(64)[12:17] == b"CURVE"
        self.socket.sendall(framed(self.hello(), _COMMAND))
        welcome = self._read_command(b"\x07WELCOME")
        plain = _unbox(welcome[16:], b"WELCOME-" + welcome[:16], self._server, self._own_secret)
        self.socket.sendall(framed(self._initiate(plain[:32], plain[32:]), _COMMAND))
        self._read_command(b"\x05READY")
        shared = ctypes.create_string_buffer(32)
        assert _sodium().crypto_box_beforenm(shared, plain[:32], self._own_secret) == 0
        self._shared = shared.raw
        return self

    def hello(self) -> bytes:
        """The first word of the handshake."""
        nonce = self._nonce()
        proof = _box(bytes(64), b"CurveZMQHELLO---" + nonce, self._server, self._own_secret)
        return b"\x05HELLO\x01\x00" + bytes(72) + self._own_public + nonce + proof

    def _initiate(self, theirs: bytes, cookie: bytes) -> bytes:
        vouch_nonce = os.urandom(16)
        vouch = _box(self._own_public + self._server, b"VOUCH---" + vouch_nonce, theirs, self._secret)
        metadata = b"\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
        nonce = self._nonce()
        text = self._public + vouch_nonce + vouch + metadata
        return b"\x08INITIATE" + cookie + nonce + _box(text, b"CurveZMQINITIATE" + nonce, theirs, self._own_secret)

    def message(self, part: bytes, *, more: bool = False) -> bytes:
        """One frame of a message, as it goes over the wire."""
        nonce = self._nonce()
        text = bytes([MORE if more else 0]) + part
        sealed = ctypes.create_string_buffer(len(text) + MAC_BYTES)
        size = ctypes.c_ulonglong(len(text))
        full_nonce = b"CurveZMQMESSAGEC" + nonce
        assert _sodium().crypto_box_easy_afternm(sealed, text, size, full_nonce, self._shared) == 0
        return framed(b"\x07MESSAGE" + nonce + sealed.raw)

    def say(self, parts: list[bytes], *, endless: bool = False) -> None:
        """One message; `endless` says that there is more to come, and there never is."""
        last = len(parts) - 1
        for at, part in enumerate(parts):
            self.socket.sendall(self.message(part, more=endless or at < last))

    def _nonce(self) -> bytes:
        self._count += 1
        return struct.pack(">Q", self._count)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise ConnectionResetError("the server has closed the connection")
            data += piece
        return data

    def _read_command(self, name: bytes) -> bytes:
        flags, size = self._read(2)
        assert flags == _COMMAND
        body = self._read(size)
        assert body.startswith(name), f"{name!r} was awaited, and {body[:16]!r} came"
        return body.removeprefix(name)
