"""Whole clusters of the real minds in an invented world: clock, network, disks and processes are models, the
decisions are not.
"""
