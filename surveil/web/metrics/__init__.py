"""`/metrics`: how the installation does, in the numbers that Prometheus collects.

What belongs here: the contract of the package. What does not: numbers for people, which stand on pages:

* `counting` keeps what grows: what the journal says, line by line, and what this process was asked.
* `gathering` asks the store, the dispatcher, the outbox and the disk how things stand.
* `exposing` makes the text of both; `route` gives it out, and so does an address of its own.

Whatever a label may say comes from a closed set or from a file of the operator's: no repository, branch or runner is
named, so that the number of series does not grow with what is built.
"""
