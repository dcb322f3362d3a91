"""What an attempt fetches before its first step and leaves behind after its last: artifacts, caches, results, shards.

What belongs here: one module for each, and collecting itself. What does not: how files travel (`transfer`), and how
they are packed (`archives`).
"""
