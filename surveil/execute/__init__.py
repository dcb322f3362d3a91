"""How attempts are run on this machine: workspaces, steps, their output, and the processes that watch over them.

What belongs here: everything between an order and its result that touches disks and processes. What does not: what
a runner decides (`core.run`) and what it says to whom (`surveil.runner`).

* `contract` is the promise that every way of running attempts keeps; `process` keeps it with processes of this
  machine, and `attempts` knows their folders.
* `keeper` is the small process that owns the steps of one attempt and survives the agent; `zygote` forks it, and
  `nursery` asks for that. `offspring` starts and ends the steps' processes, `steplog` takes their output, `endings` has
  words for how it ends. `files` holds what keeper and agent tell each other through the attempt's folder, `bell` and
  `lookout` are the two ends of a call that there is news. `processes` ends what a dead keeper left behind.
* `site` is where a keeper's steps run: below it, or in a container, to whose first process `contained` speaks through
  named pipes. `engine` has the Docker SDK's calls, `containers` says what an attempt's container is, and `housing`
  which attempt has one.
* `output` and `spool` hold the log until the dispatcher has it, `sending` sends it.
* `workspace` and `environment` are what a step sees; `supply` brings a commit that this machine cannot fetch, and
  `upkeep` is what a runner does in its own time.
* `identity` is what the runner knows of itself from one start to the next.
* `local` runs one job here and now, without any dispatcher.

This file imports nothing, because a keeper must start fast and stay small.
"""
