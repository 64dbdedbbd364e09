"""What the tests of all self-checks share: answers that no check may accept or stop at."""

import torch

from camlib import check

GARBAGE = (None, "map", 3, [1, 2], {}, object(), float("nan"), torch.zeros(0), torch.tensor(True))


def rejected(verdict, *words):
    """Holds that a verdict is "not yet", and says these words."""
    assert isinstance(verdict, check.Verdict)
    assert not verdict.ok, verdict
    assert all(word in verdict.message for word in words), verdict.message
    assert repr(verdict).startswith("Not yet: ")


def raising(*_):
    raise RuntimeError("shape mismatch")
