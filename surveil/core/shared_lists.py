"""The lists that shards share, as they travel and are kept: sorted texts, as JSON, packed, and named by their digest.

What belongs here: packing, unpacking, and what is wrong with a list that somebody brought. What does not: who gets what
(`shards`).
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Final

from surveil.protocol import SHARD_LIST_BYTES_MAX

LIST_BYTES_MAX: Final = 16 * 1024 * 1024
ITEMS_MAX: Final = 100_000
ITEM_CHARACTERS_MAX: Final = 4_000
BETWEEN_BYTES_MAX: Final = 1024 * 1024
"""Of what stands between the texts of a list: commas and the like. What has more wants our memory: `[]` takes 36 times
its bytes of it.
"""
_TEXTS_MAX: Final = 4 * ITEMS_MAX
_TEXT: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)


def is_plain(content: bytes) -> bool:
    """Whether some JSON is little more than its texts, so that it may be read; asked of what strangers wrote."""
    few = content.count(b'"') - content.count(b'\\"') <= 2 * _TEXTS_MAX
    return few and len(_TEXT.sub(b"", content)) <= BETWEEN_BYTES_MAX


def pack(items: Sequence[str]) -> tuple[str, bytes]:
    """The digest of a list, and the list as it travels."""
    text = json.dumps(list(items), separators=(",", ":")).encode()
    return sha256(text).hexdigest(), zlib.compress(text, 6)


def unpack(data: bytes) -> list[str]:
    """The items of a list. Raises ValueError with a clause for people."""
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(data, LIST_BYTES_MAX)
        if inflater.unconsumed_tail or not inflater.eof:
            raise ValueError(f"it is larger than {LIST_BYTES_MAX // 1024**2} MiB, or not whole")
        if not is_plain(text):
            raise ValueError("it is no list of texts")
        items = json.loads(text)
    except (zlib.error, RecursionError) as error:
        raise ValueError(str(error)) from error
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError("it is no list of texts")
    return items


def wrong_with(items: Sequence[str]) -> str:
    """What is wrong with a list as it is to be shared, as a sentence; empty where nothing is."""
    if len(items) > ITEMS_MAX:
        return f"{len(items)} items are more than the {ITEMS_MAX} that shards can share"
    if max(map(len, items), default=0) > ITEM_CHARACTERS_MAX:
        return f"the name of an item is longer than {ITEM_CHARACTERS_MAX} characters"
    if any(one >= two for one, two in pairwise(items)):
        return "the list of what is to be shared is not sorted, or has an item twice"
    if len(pack(items)[1]) > SHARD_LIST_BYTES_MAX:
        return f"the list of what is to be shared is larger than {SHARD_LIST_BYTES_MAX // 1024} KiB once it is packed"
    return ""


def wrong_with_packed(digest: str, data: bytes) -> str:
    """The same of a list as somebody brought it."""
    try:
        items = unpack(data)
    except ValueError as error:
        return f"the list of what is to be shared cannot be read: {error}"
    if pack(items)[0] != digest:
        return "the list of what is to be shared is not what its digest says"
    return wrong_with(items)
