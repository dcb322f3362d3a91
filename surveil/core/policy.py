"""The numbers that the minds live by, each with its unit in its name and its reason beside it.

What belongs here: what an installation may want to change. What does not: limits that nobody has to know, which stand
where they hold, and how these are set (config).
"""

from __future__ import annotations

from surveil.frozen import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything about timing and limits that an installation may want to change."""

    heartbeat_ms: int = 2_000
    lease_ms: int = 8_000
    """How long a runner may go on without word from us; it counts from when the runner spoke, on the runner's clock."""
    margin_ms: int = 1_000
    """How much longer than the runner we wait, for clocks that run at different rates: (lease + margin) / lease
    is the rate tolerated.
    """
    suspect_ms: int = 2_000
    """A connection that the system closed is strong evidence of death: so long may its runner take to come back
    on a new one.
    """
    returning_ms: int = 60_000
    """A runner that said it would be back (an upgrade) may take so long."""
    restart_grace_ms: int = 20_000
    """After our own restart nobody loses a lease for so long: the absence was ours."""
    answer_ms: int = 2_000
    """An `Assign` without an answer is said again after this."""
    cancel_grace_ms: int = 10_000
    """How long a cancelled job's processes may take to end by themselves."""
    cancel_repeat_ms: int = 2_000
    lost_max: int = 3
    """A job that lost so many runners is not tried again."""
    poison_ms: int = 60_000
    """A runner lost so soon after the start of a job is held against the job."""
    poison_runners: int = 2
    """So many different runners lost that soon make the job poison."""
    errored_max: int = 3
    """A job whose attempts errored so often, by the machines' doing, is errored itself."""
    log_wait_ms: int = 86_400_000
    """How long the rest of a log is waited for when its attempt is over and nothing more comes; then it is closed, and
    what is missing counts as lost. Should its runner come back even later, it is opened again.
    """
    retry_ms: int = 2_000
    """The first wait before a job is tried again after a machine's error; it grows fourfold each time."""
    black_hole_failures: int = 5
    """So many jobs in a row that error quickly, by the machine's doing, cordon a runner."""
    black_hole_ms: int = 10_000
    """An attempt that errors within this is a quick one."""
    probation_ms: int = 300_000
    """A runner that we cordoned ourselves gets one job to prove itself after this."""
    breaker_runners: int = 3
    breaker_percent: int = 55
    """If at least so many runners and such a share of all are missed at once, silent or with closed connections, we
    suspect ourselves first and wait one more lease. The share is Kubernetes' unhealthy-zone threshold (its node
    lifecycle controller).
    """
    hellos_per_second: int = 1_000
    """More runners than this that introduce themselves in one second are asked to come back in a while."""
    hellos_per_runner: int = 10
    """A runner that introduces itself more often than this in one second is asked to come back in a while, and keeps
    nobody else out. One whose link comes and goes all the time says `Hello` three times a second at most.
    """
