"""Texts and bytes that have broken other programs, through every field that exists.

What is data comes back byte for byte; what is shown does nothing to a terminal; what is refused gets one sentence.
"""
