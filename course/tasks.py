"""What a problem set asks, and how an answer is compared with the right one.

A task asks for one function. Its hidden instances are drawn from the teacher's secret seed, its
right answers come from `reference`, and each of `slips` is a wrong way that students take, under
the sentence that tells them so. An answer is right if it agrees with the reference on every
instance. The check in the student's notebook is the same comparison on instances of a public seed
(`course.visible`), so what it says is what grading would say.
"""

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from course.compare import complaint
from course.plain import as_torch, plain

Draw = Callable[[np.random.Generator], tuple[Any, ...]]


@dataclass(frozen=True, eq=False)  # a task is itself alone: a key of what is kept for it
class Task:
    """One function that a student writes.

    Args:
        key: its number in the set, such as "1.2".
        function: the name that the student's function must have.
        points: for an answer that is right on all instances; 0 else.
        draw: an instance, the arguments of the function: arrays, numbers, words, lists and
            dictionaries of these. The function gets arrays as torch tensors.
        reference: the right answer, called as the student's function is. Numbers, words, arrays or
            tensors, lists and dictionaries of these.
        slips: wrong ways, by the sentence that names the mistake: functions called as the
            reference is. A slip must differ from the reference on some instance.
        section: the chapter and section that teach it, as `file#heading`.
        adapter: the name of a function in the set's `handout.py`, called in the place of the
            student's with it as first argument, where arguments or result are no plain values:
            it builds a network from arrays, say.
        tolerance: largest difference allowed, as a share of the largest value expected (or of 1, if
            `absolute`). Whole numbers and words must be equal.
        instances: how many are drawn.
        seconds: for one call.
        visible: whether the student's notebook has a check of it.
    """

    key: str
    function: str
    points: int
    draw: Draw
    reference: Callable[..., Any]
    slips: Mapping[str, Callable[..., Any]]
    section: str
    adapter: str | None = None
    tolerance: float = 1e-4
    absolute: bool = False
    instances: int = 5
    seconds: float = 10.0
    visible: bool = True


@dataclass(frozen=True)
class ProblemSet:
    """Tasks that a program judges, and questions that a person does: 100 points in all.

    Args:
        name: that of its folder and notebook, such as "set1_where".
        title: as students read it.
        tasks: what is graded automatically.
        written: points of each written answer, by its number.
        hours: of work, from and to.
    """

    name: str
    title: str
    tasks: tuple[Task, ...]
    written: Mapping[str, int]
    hours: tuple[int, int] = (4, 6)

    def __post_init__(self) -> None:
        total = sum(task.points for task in self.tasks) + sum(self.written.values())
        if total != 100:
            raise ValueError(f"{self.name}: its tasks have {total} points, expected 100")


def source_of(seed: str, *words: object) -> np.random.Generator:
    """Random numbers that depend on the seed and the words alone, not on any order of grading."""
    digest = hashlib.sha256("/".join((seed, *map(str, words))).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def instances(task: Task, seed: str) -> list[tuple[Any, ...]]:
    """The arguments of each instance, arrays as NumPy arrays."""
    return [task.draw(source_of(seed, task.key, i)) for i in range(task.instances)]


def expected(task: Task, arguments: tuple[Any, ...]) -> Any:
    """The right answer, in plain values."""
    return plain(task.reference(*as_torch(arguments)))


def wrong_ways(task: Task, arguments: tuple[Any, ...]) -> dict[str, Any]:
    """What each slip answers, in plain values; a slip that cannot answer this one is left out."""
    found = {}
    for sentence, slip in task.slips.items():
        try:
            found[sentence] = plain(slip(*as_torch(arguments)))
        except (ValueError, RuntimeError, IndexError, ZeroDivisionError):
            continue
    return found


@functools.lru_cache(maxsize=256)
def prepared(task: Task, seed: str) -> list[tuple[tuple[Any, ...], Any, dict[str, Any]]]:
    """Arguments, right answer and known wrong ones of each instance of a task."""
    return [
        (arguments, expected(task, arguments), wrong_ways(task, arguments))
        for arguments in instances(task, seed)
    ]


def verdict(task: Task, call: Callable[[tuple[Any, ...]], Any], seed: str) -> tuple[bool, str]:
    """Whether an answer is right on all instances, and what there is to say about it if not.

    Args:
        task: what is asked.
        call: takes the arguments of an instance and gives the answer, in plain values.
        seed: from which the instances are drawn.
    """
    for arguments, right, slips in prepared(task, seed):
        found = complaint(call(arguments), right, slips, task.tolerance, task.absolute)
        if found:
            return False, found
    return True, "right"
