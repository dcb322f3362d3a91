"""What one seed's world is like: its size, its people and its misfortunes, all drawn from the seed (swarm
testing).

What belongs here: numbers and how they are drawn. What does not: what is done with them. Drawing the rates
themselves, with many of them at nought, finds more than one fixed mixture: some bugs need a fault to be
frequent, others need its absence.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from random import Random

from surveil.core.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Every number of a world. Times in milliseconds; `_pm` are chances in a thousand, `_every_ms` mean
    distances, 0 for never.
    """

    seed: int
    faults_ms: int
    runners: int
    slots_max: int
    repos: int
    commits_every_ms: int
    jobs_max: int
    needs_pm: int
    labels_pm: int
    exclusive_pm: int
    fail_pm: int
    flaky_pm: int
    retry_max: int
    timeout_pm: int
    job_ms: int
    output_bytes: int
    stubborn_pm: int
    """How many processes do not end when they are asked to."""
    bad_pipeline_pm: int
    stranger_pm: int
    """How many commits that people submit are of refs where strangers write."""
    delay_ms: int
    loss_pm: int
    twice_pm: int
    ghost_pm: int
    """How many of the repeated messages come much later, as if from another life."""
    ordered: bool
    stale_pm: int
    """How many messages of a connection that is gone arrive all the same."""
    seen_close_pm: int
    """How often the other end notices that a connection closed."""
    cut_every_ms: int
    cut_ms: int
    one_way_pm: int
    clog_pm: int
    flap_pm: int
    reconnect_every_ms: int
    commit_ms: int
    slow_disk_pm: int
    kill_dispatcher_every_ms: int
    down_ms: int
    pause_dispatcher_every_ms: int
    takeover_pm: int
    kill_agent_every_ms: int
    kill_keeper_every_ms: int
    crash_host_every_ms: int
    host_disk_lost_pm: int
    pause_host_every_ms: int
    suspend_pm: int
    pause_ms: int
    die_pm: int
    """How many runners that crash never come back."""
    detach_every_ms: int
    clone_every_ms: int
    """How often somebody copies a runner's data folder to a machine that has none by then."""
    kill_observer_every_ms: int
    push_force_pm: int
    delete_ref_pm: int
    cancel_every_ms: int
    retry_build_every_ms: int
    eager_pm: int
    """How often somebody releases a held job the moment it is held."""
    drain_every_ms: int
    cordon_every_ms: int
    poison_pm: int
    """How many jobs kill the host that they run on."""
    broken_runner_pm: int
    """How many runners are black holes: every attempt errors at once."""
    clock_ppm: int
    lease_ms: int
    margin_ms: int
    collects_pm: int
    """How many jobs have something to keep of their work."""
    graphs_pm: int
    """How many jobs have a condition, a matrix and what else relates them to others."""
    groups_pm: int
    """How many jobs, where some are so related, are in a concurrency group."""
    secrets_pm: int
    """How many jobs ask for a secret."""
    nowhere_pm: int
    """How many jobs have an image that no registry has."""
    codec_pm: int
    """How many messages really become bytes and back; the rest stay as they are, for speed."""

    def policy(self) -> Policy:
        return replace(
            Policy(), lease_ms=self.lease_ms, margin_ms=self.margin_ms, probation_ms=20_000, cancel_grace_ms=3_000
        )

    def sentences(self) -> list[str]:
        """Every option as `name=value`, for the report of a violation."""
        return [f"{field.name}={getattr(self, field.name)}" for field in fields(self)]


def _sometimes(dice: Random, chance: float, low: int, high: int) -> int:
    """Draw from the range, or nought for most worlds: a fault that is absent lets the others be seen."""
    return dice.randint(low, high) if dice.random() < chance else 0


def _anything(seed: int, dice: Random) -> Options:
    calm = dice.random() < 0.05
    often = 0.0 if calm else 0.4
    lease = dice.choice((8_000, 8_000, 6_000, 10_000))
    runners, jobs_max, job_ms = (
        dice.choice((1, 2, 2, 3, 3, 4, 5, 8)),
        dice.randint(1, 5),
        dice.choice((500, 2_000, 5_000, 12_000)),
    )
    # About as much work as the machines can do, so that queues neither stay empty nor grow for ever.
    busy_ms = jobs_max * job_ms // runners
    clock_ppm = dice.choice((0, 5_000, 20_000))
    # Often no wider than the clocks need, so that nothing hides behind it: two clocks apart, and the time to kill.
    margin = dice.choice((lease // 8, 150 + lease * 2 * clock_ppm // 1_000_000))
    return Options(
        seed=seed,
        faults_ms=dice.randint(30_000, 90_000),
        runners=runners,
        slots_max=dice.choice((1, 2, 2, 4)),
        repos=dice.randint(1, 3),
        commits_every_ms=max(dice.choice((3_000, 6_000, 12_000)), busy_ms),
        jobs_max=jobs_max,
        needs_pm=dice.choice((0, 300, 700)),
        labels_pm=dice.choice((0, 0, 300)),
        exclusive_pm=dice.choice((0, 200, 500, 1000)),
        fail_pm=dice.choice((0, 100, 300)),
        flaky_pm=dice.choice((0, 100, 300)),
        retry_max=dice.randint(0, 2),
        timeout_pm=dice.choice((0, 0, 100)),
        job_ms=job_ms,
        output_bytes=dice.choice((0, 500, 5_000)),
        stubborn_pm=dice.choice((0, 200)),
        bad_pipeline_pm=dice.choice((0, 100)),
        delay_ms=dice.choice((0, 5, 50, 400, 1_200)),
        loss_pm=_sometimes(dice, often, 10, 300),
        twice_pm=_sometimes(dice, often, 10, 300),
        ghost_pm=dice.choice((0, 300)),
        ordered=calm or dice.random() < 0.5,
        stale_pm=_sometimes(dice, often, 100, 900),
        seen_close_pm=dice.choice((0, 500, 1000)),
        cut_every_ms=_sometimes(dice, often, 5_000, 40_000),
        cut_ms=dice.choice((1_000, 6_000, 12_000, 25_000)),
        one_way_pm=dice.choice((0, 300, 700)),
        clog_pm=dice.choice((0, 300, 700)),
        flap_pm=_sometimes(dice, 0.2, 100, 500),
        reconnect_every_ms=_sometimes(dice, often, 5_000, 30_000),
        commit_ms=dice.choice((0, 5, 30)),
        slow_disk_pm=_sometimes(dice, often / 2, 5, 30),
        kill_dispatcher_every_ms=_sometimes(dice, often, 6_000, 40_000),
        down_ms=dice.choice((200, 2_000, 12_000)),
        pause_dispatcher_every_ms=_sometimes(dice, often, 10_000, 40_000),
        takeover_pm=dice.choice((0, 500)),
        kill_agent_every_ms=_sometimes(dice, often, 4_000, 30_000),
        kill_keeper_every_ms=_sometimes(dice, often, 6_000, 40_000),
        crash_host_every_ms=_sometimes(dice, often, 6_000, 40_000),
        host_disk_lost_pm=dice.choice((0, 300)),
        pause_host_every_ms=_sometimes(dice, often, 8_000, 40_000),
        suspend_pm=dice.choice((0, 500)),
        pause_ms=dice.choice((1_500, 5_000, 15_000, 30_000)),
        die_pm=dice.choice((0, 0, 300)),
        detach_every_ms=_sometimes(dice, often, 8_000, 40_000),
        clone_every_ms=0,
        stranger_pm=0,
        kill_observer_every_ms=_sometimes(dice, often, 8_000, 40_000),
        push_force_pm=dice.choice((0, 200)),
        delete_ref_pm=dice.choice((0, 100)),
        cancel_every_ms=_sometimes(dice, often, 4_000, 20_000),
        retry_build_every_ms=_sometimes(dice, often, 8_000, 30_000),
        eager_pm=dice.choice((0, 500, 1000)),
        drain_every_ms=_sometimes(dice, often, 15_000, 60_000),
        cordon_every_ms=_sometimes(dice, often, 10_000, 40_000),
        poison_pm=_sometimes(dice, 0.1, 20, 100),
        broken_runner_pm=_sometimes(dice, 0.15, 100, 400),
        clock_ppm=clock_ppm,
        lease_ms=lease,
        margin_ms=margin,
        collects_pm=0,
        graphs_pm=0,
        groups_pm=0,
        secrets_pm=0,
        nowhere_pm=0,
        codec_pm=100,
    )


def draw(seed: int) -> Options:
    """Draw the world of this seed: most are anything, some look closely at one promise."""
    dice = Random(seed * 2 + 1)
    options = _with_copies(_anything(seed, dice), Random(seed * 2 + 3))
    options = _with_collecting(options, Random(seed * 2 + 7))
    options = _with_graphs(options, Random(seed * 2 + 15))
    options = replace(options, secrets_pm=_sometimes(Random(seed * 2 + 21), 1 / 6, 300, 1_000))
    options = replace(options, nowhere_pm=_sometimes(Random(seed * 2 + 1_911), 1 / 8, 100, 700))
    options = replace(options, stranger_pm=_sometimes(Random(seed * 2 + 11), 0.5, 500, 1_000))
    match dice.randrange(10):
        case 0:
            return _with_little_margin(options, clock_ppm=20_000, delay_ms=dice.choice((0, 5)))
        case 1:
            return _with_little_margin(options, clock_ppm=0, delay_ms=1_200)
        case 2:
            return _with_ghosts(options)
        case _:
            return options


def _with_copies(options: Options, dice: Random) -> Options:
    """One world in six has people who copy data folders; the dice are its own, so that the others stay as they were."""
    return replace(options, clone_every_ms=_sometimes(dice, 1 / 6, 5_000, 20_000))


def _with_collecting(options: Options, dice: Random) -> Options:
    """One world in seven has jobs whose work is collected; here, too, the dice are its own."""
    return replace(options, collects_pm=_sometimes(dice, 1 / 7, 300, 1_000))


def _with_graphs(options: Options, dice: Random) -> Options:
    """One world in four has jobs with conditions, matrices and groups; some look closely at one kind of these."""
    graphs_pm = _sometimes(dice, 1 / 4, 300, 700)
    if not graphs_pm:
        return options
    options = replace(options, graphs_pm=graphs_pm, groups_pm=dice.choice((0, 300, 800)))
    match dice.randrange(3):
        case 0:
            return _with_deep_graphs(options)
        case 1:
            return _with_contended_groups(options)
        case _:
            return options


def _with_deep_graphs(options: Options) -> Options:
    """Jobs of which most need others, and of which much fails and is tried again."""
    return replace(options, needs_pm=900, jobs_max=5, fail_pm=150, flaky_pm=400, retry_build_every_ms=5_000)


def _with_contended_groups(options: Options) -> Options:
    """Long work in few groups on several machines, on cut ways; much is cancelled, and dispatchers restart at once."""
    return replace(
        options,
        groups_pm=1_000,
        graphs_pm=100,
        runners=max(options.runners, 3),
        needs_pm=0,
        labels_pm=0,
        fail_pm=0,
        poison_pm=0,
        broken_runner_pm=0,
        job_ms=12_000,
        commits_every_ms=3_000,
        stubborn_pm=500,
        cancel_every_ms=4_000,
        kill_dispatcher_every_ms=6_000,
        down_ms=200,
        cut_every_ms=8_000,
        cut_ms=25_000,
        crash_host_every_ms=0,
        kill_keeper_every_ms=0,
    )


def _with_little_margin(options: Options, *, clock_ppm: int, delay_ms: int) -> Options:
    """Long exclusive work on cut ways, and no more margin than clocks and killing need: leases must be exact."""
    return replace(
        options,
        exclusive_pm=1_000,
        job_ms=12_000,
        commits_every_ms=6_000,
        fail_pm=0,
        needs_pm=0,
        labels_pm=0,
        poison_pm=0,
        cut_every_ms=6_000,
        cut_ms=12_000,
        clog_pm=300,
        kill_agent_every_ms=0,
        kill_keeper_every_ms=0,
        crash_host_every_ms=0,
        pause_host_every_ms=0,
        kill_dispatcher_every_ms=0,
        detach_every_ms=0,
        clock_ppm=clock_ppm,
        delay_ms=delay_ms,
        margin_ms=150 + options.lease_ms * 2 * clock_ppm // 1_000_000,
    )


def _with_ghosts(options: Options) -> Options:
    """Runners that restart while words of their earlier lives are still under way, in any order."""
    return replace(
        options,
        exclusive_pm=500,
        ordered=False,
        delay_ms=400,
        loss_pm=max(options.loss_pm, 100),
        twice_pm=400,
        ghost_pm=600,
        stale_pm=900,
        kill_agent_every_ms=5_000,
        reconnect_every_ms=6_000,
        die_pm=0,
        host_disk_lost_pm=0,
    )
