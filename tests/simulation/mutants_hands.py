"""Bugs planted into the modelled hands: what the real hands must not get wrong either. A list and nothing else."""

from __future__ import annotations

from tests.simulation.mutation import Mutant

AGENT = "tests.simulation.agent"
DISPATCHER = "tests.simulation.dispatcher"
HOST = "tests.simulation.host"
STORAGE = "tests.simulation.storage"

HANDS: tuple[Mutant, ...] = (
    Mutant(
        name="effects before commit",
        sentence="runners are told of what is not on disk yet",
        place=f"{DISPATCHER}:Dispatcher._turn",
        old="changes = self.state.take_changes()",
        new="changes = self.state.take_changes()\n    self._perform(effects, [])\n    effects = []",
        seeds=(0,),
        rule="I1",
    ),
    Mutant(
        name="ack before commit",
        sentence="a fact is acknowledged when it is heard",
        place=f"{DISPATCHER}:Dispatcher._see",
        old="self._reporters.setdefault(said.mid, []).append(line)",
        new="self._say(line, Seen(mid=said.mid, build=self.state.next_build))",
        seeds=(0,),
        rule="I1",
    ),
    Mutant(
        name="log kept before commit",
        sentence="bytes of a log are called kept when they are heard",
        place=f"{DISPATCHER}:Dispatcher._kept",
        old='upto = len(self.store.logs.get(attempt, b""))',
        new="upto = self._log_ends.get(attempt, 0)",
        seeds=(0,),
        rule="I5",
    ),
    Mutant(
        name="log overlap not trimmed",
        sentence="bytes that came twice are kept twice",
        place=f"{DISPATCHER}:new_bytes",
        old="data[end - at :]",
        new="data",
        seeds=(64, 0),
        rule="I6",
    ),
    Mutant(
        name="log gap accepted",
        sentence="bytes are kept although some before them are missing",
        place=f"{DISPATCHER}:new_bytes",
        old='b"" if at > end else data[end - at :]',
        new="data[max(end - at, 0) :]",
        seeds=(215, 3),
        rule="I6",
    ),
    Mutant(
        name="no fence",
        sentence="the store takes what a deposed dispatcher writes",
        place=f"{STORAGE}:ModelStore.commit",
        old="if epoch != self.epoch:",
        new="if False:",
        seeds=(24,),
        rule="I10",
    ),
    Mutant(
        name="half a transaction",
        sentence="of a batch, the new records are written and the changed ones are not",
        place=f"{STORAGE}:ModelStore.commit",
        old="for record in changes.changed:",
        new="for record in changes.changed if not changes.new else ():",
        seeds=(1,),
        rule="I5",
    ),
    Mutant(
        name="unnoticed stall",
        sentence="a loop that comes back late does not say so",
        place=f"{DISPATCHER}:Dispatcher._look_at_the_clock",
        old="self._late_ms += gap_ms",
        new="pass",
        seeds=(70,),
        rule="L6",
    ),
    Mutant(
        name="no tick in a busy batch",
        sentence="the clock stands still while messages come",
        place=f"{DISPATCHER}:Dispatcher._turn",
        old="for event in (*events, Tick()):",
        new="for event in events:",
        seeds=(281, 0),
        rule="L1",
    ),
    Mutant(
        name="recovery not said",
        sentence="a starting dispatcher does not tell its mind that it was away",
        place=f"{DISPATCHER}:Dispatcher.__init__",
        old="[Recovered()] if self.epoch > 1 else []",
        new="[]",
        seeds=(14,),
        rule="crash",
    ),
    Mutant(
        name="incarnation not raised",
        sentence="a restarted runner passes for the one before it",
        place=f"{AGENT}:Agent.__init__",
        old="host.disk.incarnation += 1",
        new="host.disk.incarnation = 1",
        seeds=(275, 13),
        rule="L2",
    ),
    Mutant(
        name="no self-fence",
        sentence="a keeper lets an exclusive attempt run on when its lease is over",
        place=f"{HOST}:Keeper._lease_over",
        old="if self.alive and self.lease_until_at is not None and self.lease_until_at <= self.host.now():",
        new="if False:",
        seeds=(140,),
        rule="I7",
    ),
    Mutant(
        name="log sent once",
        sentence="what was sent of a log is not sent again on a new connection",
        place=f"{AGENT}:Agent._resend",
        old="sender.sent = sender.kept",
        new="pass",
        seeds=(143, 3),
        rule="L4",
    ),
)
