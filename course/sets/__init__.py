"""The problem sets, by name."""

import importlib
import pkgutil

from course.tasks import ProblemSet


def load(name: str) -> ProblemSet:
    """A problem set.

    Raises:
        ValueError: if there is none of that name.
    """
    if name not in NAMES:
        raise ValueError(f"there is no problem set {name!r}; there are {', '.join(NAMES)}")
    found: ProblemSet = importlib.import_module(f"course.sets.{name}").SET
    return found


NAMES = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))
