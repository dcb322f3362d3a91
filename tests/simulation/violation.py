"""A rule that was broken, by its name."""

from __future__ import annotations


class ViolationError(AssertionError):
    """An invariant does not hold. `rule` is its name in docs/simulation.md."""

    def __init__(self, rule: str, sentence: str) -> None:
        super().__init__(f"{rule}: {sentence}")
        self.rule = rule
        self.sentence = sentence


def require(holds: bool, rule: str, sentence: str) -> None:
    """Complain unless something holds.

    Raises:
        ViolationError: it does not.
    """
    if not holds:
        raise ViolationError(rule, sentence)
