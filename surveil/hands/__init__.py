"""What the hands of the three roles work with; the roles themselves are `surveil.observer`, `surveil.dispatcher`
and `surveil.runner`.

What belongs here: for each role, the opening and closing of its parts (`observing`, `dispatching`,
`running`), and the parts that only it has. What does not: decisions (core), and parts that more than one role
or a command has.

* Of the dispatcher: `gate` (who may come in), `submitting` (commits on their way into the mind), `intake` (output to
  the log store), `relay` (commits on their way to runners), `fulfil` (what people wish for), `refusing` (while the
  disk is full).
* Of the observer: `threads` (where git blocks), `reporting` (each commit read once, and said until it is heard),
  `remembering` (what was acknowledged, on its way to the disk) and `records` (its files), `supplying` (commits for
  runners that cannot get them).
* Of the runner: `ordering` (first the tombstone, then the deed).
"""
