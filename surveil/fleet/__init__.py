"""The fleet: processes of surveil that surveil itself starts, watches, replaces and ends.

What belongs here: children of this process. What does not: what they do (the roles), and the steps of jobs, which have
keepers of their own (`execute`) and outlive everything here on purpose.

* `reconcile` decides: which children are wanted, which are there, what is to be done. Pure.
* `parent` makes a child end when the process that started it is gone, however it went.
* `child` is one started process: its lines, its end.
* `supervise` is the hands of `reconcile`.
* `spawner` keeps a number of runners on this machine.
"""
