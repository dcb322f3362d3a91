"""The logs of attempts on their way from the steps to the dispatcher.

What belongs here: their shape, their file on this machine's disk, and the windows in which they are sent. What does
not: reading the output of steps (`keeper.intake`), and the logs that a dispatcher keeps (`surveil.store`).
"""
