"""What the hands of the three roles work with; the roles themselves are `surveil.observer`, `surveil.dispatcher`
and `surveil.runner`.

What belongs here: for each role, the opening and closing of its parts (`observing`, `dispatching`,
`running`), and the parts that only it has. What does not: decisions (core), and parts that more than one role
or a command has.

* Of the dispatcher: `gate` (who may come in), `submitting` (commits on their way into the mind), `splitting` and
  `durations` (how many shards their suites have), `scheduling` (what is built by the clock), `relay` (commits on their
  way to runners and clients), `fulfil` (what people wish for), `noting` (who wished for it),
  `refusing` (while the disk is full).
* Of the dispatcher, past the mind: `intake` (output to the log store) and `closing` (logs that are whole), `desk` (what
  else runners want answered), `cases` (test results), `sharding` (shared lists), `depot` and `lending` (files to its
  disk and from there), `moving` (from its disk to a bucket), `sweeping` (what was kept for long enough), `claims` (what
  runners claim of attempts that were never theirs).
* Of the dispatcher's secrets: `safe` and `safe_keys` (where they are kept), `vault` (where else they may be),
  `entrusting` (which job gets which) and `envelope` (their way to a runner).
* Of the observer: `threads` (where git blocks), `reporting` (each commit read once, and said until it is heard),
  `remembering` (what was acknowledged, on its way to the disk) and `records` (its files), `supplying` (commits for
  runners that cannot get them).
* Of the runner: `ordering` (first the tombstone, then the deed).
"""
