"""How attempts are run on this machine: workspaces, steps, their output, and the processes that watch over them.

What belongs here: everything between an order and its result that touches disks and processes. What does not: what
a runner decides (`core.run`) and what it says to whom (`surveil.runner`).

* `contract` is the promise that every way of running attempts keeps; `process` keeps it with processes of this
  machine, and `attempts` knows their folders.
* `keeper` is the small process that owns the steps of one attempt and survives the agent. `nursery` asks for one,
  `files` holds what keeper and agent tell each other through the attempt's folder, `lookout` notices what keepers do,
  and `processes` ends what a dead one left behind.
* `isolation` and `containers` are what stands between steps and the machine.
* `logs` hold what steps print until the dispatcher has it.
* `collect` is what a job fetches and leaves behind: `archives` packs it, `transfer` carries it.
* `workspace` and `environment` are what a step sees, and `upkeep` is what a runner does in its own time.
* `identity` is what the runner knows of itself from one start to the next, `unreadable` what another version left.
* `local` runs one job here and now, without any dispatcher. `scene` is what it leaves, `shell` lets a person look
  around there, and `serving` starts its services again for that.
* `victims` are what a drill ends.

This file imports nothing, because a keeper must start fast and stay small.
"""
