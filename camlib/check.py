"""Self-checks of the exercises: each says in words what is wrong with an answer.

A check returns a `Verdict`, which a notebook shows as its message. An answer that is still `...`
is not wrong, only missing.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, repr=False)
class Verdict:
    """Whether an answer is right, and what there is to say about it."""

    ok: bool
    message: str

    def __repr__(self) -> str:
        return ("Right: " if self.ok else "Not yet: ") + self.message


def _right(message: str) -> Verdict:
    return Verdict(True, message)


def _not_yet(message: str) -> Verdict:
    return Verdict(False, message)


def _missing(answer: Any) -> Verdict | None:
    """The verdict on an answer that has not been given: call it first in every check."""
    return _not_yet("the answer is still `...`: put yours in its place.") if answer is ... else None
