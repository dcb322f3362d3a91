"""Files of a work tree and archives of them: found, packed, and taken apart, without trust in who made them.

What belongs here: all that touches names which strangers chose. What does not: why they are packed (`collect`), and
where archives go (`transfer`).
"""
