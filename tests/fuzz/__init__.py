"""Fuzzers: strangers' bytes for every reader of the product, steered by what they make it do.

A target is a module with two functions: `check(data)`, which raises nothing but what the product documents and asserts
what must hold whatever the bytes are, and `seeds()`, which makes the bytes to begin with. Neither knows the engine
(`engine`), so that a found input is replayed everywhere, also where the engine cannot be installed.
"""
