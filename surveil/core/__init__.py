"""The minds of the three roles: pure functions over their state.

What belongs here: decisions. What does not: clocks, chance, input or output, threads; whatever comes from the
world comes in as an event with the instant `now` (milliseconds), and whatever is to happen in the world goes
out as an effect.
"""
