"""Who is let in: the rows of keys and tokens.

What belongs here: the rules of who comes in beside whom. What does not: secrets and their digests (net), what a role
may do (net).

Two strangers may come at one moment, and are let in one after the other: the store has one writer, whose epoch fences
all others, and each call is a transaction of its own. Rows are written whole, because each has one checksum.
"""

from __future__ import annotations

import shlex
from dataclasses import replace

from sqlalchemy import Connection, select

from surveil.core.peers import Peer, Role
from surveil.errors import NotAllowedError
from surveil.store import Token, codec
from surveil.store.statements import Statements
from surveil.store.tables import peers, tokens


def settle_peer(connection: Connection, statements: Statements, peer: Peer) -> Peer:
    """Let a key in, or return what is stored of it; see `surveil.store.Store.add_peer`."""
    known = _peer(connection, peer.key)
    if known is not None:
        _check_known(known, peer.role)
        return known
    taken = select(peers.c.key).where(
        peers.c.role == peer.role, peers.c.name == peer.name, peers.c.revoked_at.is_(None)
    )
    if connection.execute(taken).first() is not None:
        raise NotAllowedError(
            f"another {peer.role} is enrolled as `{peer.name}`: choose another name with --name, or take that one out "
            f"first: 'surveil peer revoke {shlex.quote(peer.name)} --role {peer.role}' on the dispatcher's machine"
        )
    statements.new_peer.run(connection.connection, [codec.peer_row(peer)])
    return peer


def redeem(connection: Connection, statements: Statements, digest: bytes, *, key: str, name: str, now: int) -> Peer:
    """Spend one use of a token for a key; see `surveil.store.Store.redeem`."""
    token = _token(connection, digest)
    if token is None:
        raise NotAllowedError(
            "this dispatcher does not know the token: make a new one there with `surveil token create`"
        )
    known = _peer(connection, key)
    if known is not None:
        _check_known(known, token.role)
        return known
    if not token.usable(now):
        raise NotAllowedError(
            f"the token {token.id} {_why_not(token, now)}: make a new one with `surveil token create`"
        )
    spent = replace(token, uses_left=token.uses_left - 1)
    statements.put_token.run(connection.connection, [codec.token_row(spent)])
    peer = Peer(key=key, role=token.role, name=name, labels=token.labels, created_at=now)
    return settle_peer(connection, statements, peer)


def revoke_peer(connection: Connection, statements: Statements, key: str, now: int) -> bool:
    """Let a key in no more."""
    peer = _peer(connection, key)
    if peer is None or peer.revoked_at is not None:
        return False
    statements.put_peer.run(connection.connection, [codec.peer_row(replace(peer, revoked_at=now))])
    return True


def revoke_token(connection: Connection, statements: Statements, token: str, now: int) -> bool:
    """Make a token worthless."""
    row = connection.execute(select(tokens).where(tokens.c.id == token)).first()
    if row is None or row.revoked_at is not None:
        return False
    revoked = replace(codec.token_of(row), revoked_at=now)
    statements.put_token.run(connection.connection, [codec.token_row(revoked)])
    return True


def _peer(connection: Connection, key: str) -> Peer | None:
    row = connection.execute(select(peers).where(peers.c.key == key)).first()
    return None if row is None else codec.peer_of(row)


def _token(connection: Connection, digest: bytes) -> Token | None:
    row = connection.execute(select(tokens).where(tokens.c.digest == digest)).first()
    return None if row is None else codec.token_of(row)


def _check_known(known: Peer, role: Role) -> None:
    if known.revoked_at is not None:
        raise NotAllowedError(
            f"the key of `{known.name}` was revoked: enrol with a fresh data folder, which makes a new key"
        )
    if known.role != role:
        raise NotAllowedError(
            f"this key is enrolled as the {known.role} `{known.name}` and cannot be a {role} as well: "
            "use another data folder with --data"
        )


def _why_not(token: Token, now: int) -> str:
    if token.revoked_at is not None:
        return "was revoked"
    return "was used up" if token.expires_at > now else "has expired"
