"""The keeper of one attempt: a small process that runs its steps to their end, whatever becomes of the agent.

What belongs here: everything that such a process imports, and the zygote that forks it. What does not: the agent, which
orders it (`nursery`) and hears of it (`lookout`). As there is one keeper for each attempt, what is here imports little.
"""
