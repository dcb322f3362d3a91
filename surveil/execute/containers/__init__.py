"""The containers of attempts: the engine that runs them, and the way from a job's `image` to a container and its end.

What belongs here: the agent's side of it. What does not: what the steps in a container are told (`keeper.contained`).
"""
