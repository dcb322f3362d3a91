"""The file that says who is told what: TOML, a table for each forge, each channel and each collector of traces.

What belongs here: reading and checking it, each complaint with its place. What does not: the tables of channels
(`channel_rules`), how tables and single values are read (`surveil.config`), and what rules come to
(`serving`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from surveil.config import values
from surveil.config.tables import Read, fields_of, file_beside, tables_of, toml_of, unknown
from surveil.core.spelling import printable, quoted
from surveil.errors import InvalidError
from surveil.forge.app import App
from surveil.forge.speaking import KINDS, Forge
from surveil.frozen import dataclass
from surveil.notify import traces
from surveil.notify.channel_rules import CHANNELS, EXCHANGE, ChannelRule, ExchangeRule, channels_of, exchanges_of
from surveil.notify.checks import CheckRule
from surveil.notify.statuses import Rule

_URLS: Final = {"github": "https://github.com", "gitlab": "https://gitlab.com", "forgejo": "https://codeberg.org"}
"""Where those are that most people mean."""
_APP: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
_CONTEXT: Final = re.compile(r"[A-Za-z0-9._ /-]{1,60}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgeRule:
    """A forge that is told of its commits; with `private` it may be in a network of one's own."""

    told: Rule | CheckRule
    private: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """All that the file says."""

    forges: tuple[ForgeRule, ...]
    channels: tuple[ChannelRule, ...] = ()
    exchanges: tuple[ExchangeRule, ...] = ()
    traces: tuple[traces.Rule, ...] = ()


def load_rules(path: Path) -> Rules:
    """Read the file.

    Raises:
        InvalidError: it is not there, or says what cannot be; a line for each complaint.
    """
    found = toml_of(path, "write there who is to be told what, or name another file with --rules")
    complaints: list[str] = []
    forges = _forges(tables_of(found, "forge", complaints), path.parent, complaints)
    channels = channels_of(found, path.parent, complaints)
    collectors = traces.traces_of(found, path.parent, complaints)
    exchanges = exchanges_of(found, path.parent, complaints)
    known = ["forge", *CHANNELS, EXCHANGE, traces.TABLE]
    complaints += [unknown(name, known) for name in found if name not in known]
    names = [
        *(rule.told.name for rule in forges),
        *(rule.name for rule in channels),
        *(rule.name for rule in exchanges),
        *(rule.name for rule in collectors),
    ]
    complaints += [
        f"{quoted(name)} is there twice: give each a `name` of its own" for name in set(names) if names.count(name) > 1
    ]
    if complaints:
        raise InvalidError("\n".join(f"{path}: {printable(complaint)}" for complaint in complaints))
    if not names:
        raise InvalidError(
            f"{path} says nothing: add a table like [[forge]] with `kind`, and a `token_file`, or like [[mail]] with "
            "`server`, `from` and `to`"
        )
    return Rules(forges=tuple(forges), channels=tuple(channels), exchanges=tuple(exchanges), traces=tuple(collectors))


def _forges(tables: Sequence[Mapping[str, object]], here: Path, complaints: list[str]) -> list[ForgeRule]:
    known: Mapping[str, Read] = {
        "kind": values.one_of(*KINDS), "name": values.name, "url": values.forge_url,
        "token_file": file_beside(here), "app": _app, "key_file": file_beside(here),
        "context": _context, "jobs": values.one_of("all", "wrong", "none"), "private": values.flag,
        "projects": _projects,
    }  # fmt: skip
    found: list[ForgeRule] = []
    for number, table in enumerate(tables, start=1):
        where = f"forge {number}"
        read = fields_of(table, known, where, complaints)
        kind = read.get("kind", "")
        url = read.get("url", _URLS.get(kind))
        proofs = ("app", "key_file") if "app" in table or "key_file" in table else ("token_file",)
        there = set(table) | ({"url"} if url else set())
        complaints += [f"{where}: `{name}` is missing" for name in ("kind", "url", *proofs) if name not in there]
        if "app" in proofs and ("token_file" in table or kind not in {"", "github"}):
            complaints.append(f"{where}: an `app` is of GitHub, and has a `key_file` instead of a `token_file`")
        if not kind or not url or not set(proofs) <= set(read):
            continue
        fields = {name: read[name] for name in ("context", "jobs", "projects") if name in read}
        name = read.get("name", kind)
        told: Rule | CheckRule
        if "app" in proofs:
            told = CheckRule(name=name, app=App(url=url, id=read["app"], key=read["key_file"]), **fields)
        else:
            told = Rule(name=name, forge=Forge(url=url, words=KINDS[kind](), token=read["token_file"]), **fields)
        found.append(ForgeRule(told=told, private=read.get("private", False)))
    return found


def _app(value: object) -> str:
    found = str(value) if isinstance(value, int) and not isinstance(value, bool) else values.text(value)
    if _APP.fullmatch(found) is None:
        raise ValueError(f"{quoted(found)} is no id of an app: it stands on the app's page, as a number or `Iv...`")
    return found


def _context(value: object) -> str:
    found = values.text(value)
    if _CONTEXT.fullmatch(found) is None:
        raise ValueError(f"{quoted(found)} is no name of a status: use letters, digits and `._ /-`, at most 60")
    return found


def _projects(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise ValueError('expected a table from repositories to projects, like {"/srv/a.git" = "owner/a"}')
    return tuple((values.text(repo), values.text(project).strip("/")) for repo, project in value.items())
