"""The screen: everything that people see passes here, whichever command prints it.

What belongs here: how things look. What does not: what is said, which the commands know, and a process's own log
(`say`).

* `words` names and measures things as people do: `project main 1a2b3c4 Fix it`, `3 min 5 s`.
* `colours` gives each state its colour, where colours are welcome.
* `terminal` makes a job's output safe to look at.
* `table` fits tables into the width that there is.
* `steps` cuts a log where the output of each step begins, `tally` counts the tests that a log speaks of.
* `printing` prints for commands, `live` for `up`, where many write at once and nobody may wait.

Data goes to stdout, everything else to stderr. A stranger's text is made inert before it gets to either as part of a
sentence.
"""
