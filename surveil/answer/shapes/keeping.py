"""The documents of the installation, of its machines, and of what is kept for people and machines.

What belongs here: their keys. What does not: builds (`building`), and making these (`surveil.answer`, `surveil.web`).
"""

from __future__ import annotations

from typing import Final

from surveil.answer.auditing import What
from surveil.answer.shapes.kinds import Shape, by_name, flag, many, maybe, one_of, record, text, time, whole
from surveil.core.peers import Role
from surveil.core.scopes import Source
from surveil.store.acts import ITSELF
from surveil.store.people import SCOPES

_PATTERN: Final = "the pattern for %s, `null` for all"

TARGET: Final = Shape(
    "Target",
    {
        "name": text("what it is called in `notify.toml`"),
        "delivered": whole("how many things it was told"),
        "delivered_at": maybe(time("when the last of these was")),
        "waiting": whole("how many wait for it"),
        "waiting_since": maybe(time("when the oldest of these happened")),
        "behind": whole("how many lines of the journal nobody has read for it yet"),
        "given_up": whole("how many it was never told: it refused them, or they grew too old"),
        "again_at": maybe(time("when it is tried again, if it could not be told anything the last time")),
        "problem": maybe(text("why it could not")),
    },
)
SCHEDULE: Final = Shape(
    "Schedule",
    {
        "repo": text("the repository"),
        "cron": text("when, as its pipeline says"),
        "timezone": text("by which clock"),
        "next_at": maybe(time("when next; `null` where its time never comes")),
    },
)
RUNNER: Final = Shape(
    "Runner",
    {
        "id": text("its key"),
        "name": text("its name"),
        "state": one_of(
            ("online", "suspect", "offline", "draining", "cordoned"),
            "one of `online` `suspect` `offline` `draining` `cordoned`",
        ),
        "reason": maybe(text("why it is cordoned, a sentence")),
        "host": maybe(text("its machine's name")),
        "labels": many(text("a label"), "what jobs can ask for"),
        "slots": whole("how many attempts it runs at once"),
        "busy": whole("how many of these are taken"),
        "incarnation": whole("how many times it was started"),
        "last_seen_at": maybe(time("when it was heard last")),
        "load": maybe(whole("its machine's load in percent of its processors; `null` while it is not heard")),
        "disk_free_mib": maybe(
            whole("free disk for work trees in MiB; `null` while it is not heard, and before its first heartbeat")
        ),
        "version": maybe(text("its version of surveil")),
    },
)
STATUS: Final = Shape(
    "Installation status",
    {
        "dispatcher": record(
            "`id` of the installation, `epoch` (its starts so far), `version`, `uptime_ms`, `at` (its clock)",
            id=text("of the installation"),
            epoch=whole("its starts so far"),
            version=text("of surveil"),
            uptime_ms=whole("since its start", least=None),
            at=time("its clock"),
        ),
        "queue": record(
            "how many jobs are `queued`, `running`, `blocked` and `held`",
            queued=whole("how many"),
            running=whole("how many"),
            blocked=whole("how many"),
            held=whole("how many"),
        ),
        "waiting": many(
            record(reason=text("a sentence"), jobs=whole("how many"), oldest=text("a job")),
            "why queued jobs wait, the reason of the most jobs first: `reason`, `jobs` (how many), `oldest` (a job)",
        ),
        "approvals": many(
            record(
                build=whole("its number", least=1),
                repo=text("its repository"),
                ref=text("its ref"),
                sha=text("its commit"),
                author=text("whose that is"),
                created_at=time("when it was made"),
            ),
            "the oldest builds that await approval, at most 20: `build`, `repo`, `ref`, `sha`, `author`, `created_at`",
        ),
        "schedules": many(SCHEDULE, "what is built by the clock: `repo`, `cron`, `timezone`, `next_at`"),
        "runners": record(
            "how many are `online` and `offline`; `slots` of those online, and how many of these are `busy`",
            online=whole("how many"),
            offline=whole("how many"),
            slots=whole("of those online"),
            busy=whole("of these"),
        ),
        "ports": many(
            record(trouble=text("what"), count=whole("how often"), last_from=maybe(text("an address"))),
            "what came to the dispatcher's ports since its start and should not have: `trouble`, `count`, and "
            "`last_from`, an address or `null`",
        ),
        "offenders": many(
            record(
                peer=maybe(text("a name")), role=text("what it is"), did=by_name(whole("how often"), "how often what")
            ),
            "the peers that did most of what they should not since the dispatcher's start: `peer`, a name or `null` "
            "for strangers, `role`, and `did`, how often what",
        ),
        "put_aside": many(
            text("a name"),
            "files of the dispatcher's data folder that were damaged and put aside under these names until somebody "
            "moves them elsewhere",
        ),
        "watching": many(
            record(repo=text("its address"), problem=maybe(text("a sentence")), observer=text("whose")),
            "for each repository `repo`, its `observer`, and the `problem` of the last look at it",
        ),
        "outbox": maybe(
            many(
                TARGET,
                "who is told of builds, each as in `notify list`; `null` where that cannot be seen: `status` looks "
                "into the dispatcher's folder on its machine, and over HTTP the server does",
            )
        ),
    },
)
TOKEN: Final = Shape(
    "Token",
    {
        "id": text("what `token revoke` takes"),
        "role": one_of(Role, "`runner`, `observer` or `client`"),
        "labels": many(text("a label"), "labels that who joins may carry"),
        "uses_left": whole("how many more may join with it"),
        "usable": flag("whether it would let anybody in now"),
        "created_at": time("when it was made"),
        "expires_at": time("when it ends"),
        "revoked_at": maybe(time("when it was revoked")),
    },
)
PEER: Final = Shape(
    "Peer",
    {
        "key": text("its public key"),
        "role": one_of(Role, "`runner`, `observer` or `client`"),
        "name": text("what people call it; one live peer of a role has it"),
        "labels": many(text("a label"), "labels that its token granted; none means that it may carry any"),
        "created_at": time("when it joined"),
        "revoked_at": maybe(time("when it was taken out; null while it is let in")),
    },
)
SECRET: Final = Shape(
    "Secret",
    {
        "name": text("what pipelines call it"),
        "repo": maybe(text(_PATTERN % "repositories")),
        "ref": maybe(text(_PATTERN % "refs")),
        "job": maybe(text(_PATTERN % "jobs")),
        "source": one_of(Source, "`here`, or `vault` where only the place in a Vault is kept here"),
        "key": text("the id of the key that it is encrypted with"),
        "created_at": time("when it was set for the first time"),
        "changed_at": time("when it was set last"),
    },
)
ACT: Final = Shape(
    "Act",
    {
        "position": whole("its number; they have no gaps"),
        "at": time("when it was to be done"),
        "person": maybe(
            text("who did it, as the client says that asked for them; `null` where it says nothing")
        ),
        "client": maybe(
            text("whose key asked the dispatcher: `local` is its own machine's; `null` for what it was not asked for")
        ),
        "way": one_of(
            ("page", "api", "command", ITSELF),
            "`page`, `api` or `command`; `surveil` where the book says what became of it",
        ),
        "what": one_of(What, "the kind of act, in a word"),
        "subject": text("what it was done to"),
        "detail": text("more about it: a reason, for how long, or why it was not done"),
    },
)  # fmt: skip
PERSON: Final = Shape(
    "Person",
    {
        "name": text("what they are called; `anybody` stands for whoever comes with nothing"),
        "provider": maybe(text("where they sign in; `null` for who comes with links")),
        "issuer": maybe(text("the address of that provider; `null` until they came from there")),
        "subject": maybe(
            text("what tells them from everybody else there, whatever they are called; `null` until they came")
        ),
        "roles": many(
            record(
                repo=text("a pattern of repositories"),
                role=one_of(SCOPES, "what they may do"),
                source=maybe(text("the provider that gave it")),
            ),
            "what they may do: `role` is `read`, `run` or `admin`, `repo` a pattern of repositories, and `source` the "
            "provider that gave it, `null` where an administrator did",
        ),
        "created_at": time("when they became known"),
        "seen_at": maybe(time("when they signed in last; `null` if they never did")),
    },
)
PASS: Final = Shape(
    "Pass",
    {
        "id": text("what ends it"),
        "kind": one_of(("session", "token"), "`session` of a browser, or `token` of a program"),
        "person": text("whose it is"),
        "user": maybe(text("whose roles say what it allows; `null` where its `scope` alone does")),
        "scope": one_of(SCOPES, "the most that it allows"),
        "created_at": time("when it was made"),
        "seen_at": maybe(time("when somebody came with it last")),
        "expires_at": time("when it ends"),
    },
)
HOOK: Final = Shape(
    "Webhook",
    {
        "repo": text("the repository, as its secret was set"),
        "created_at": time("when its first secret was set"),
        "changed_at": time("when the present one was"),
        "previous_until": maybe(time("until when the one before is good as well; `null` where it is not")),
        "heard_at": maybe(time("when a webhook came last that its secret proved; `null` if none did")),
        "may": one_of(("look", "retry"), "what its webhooks may ask for: `look`, or `retry` as well"),
    },
)
