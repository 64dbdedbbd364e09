"""Right answers get their points however they are written; wrong ones lose those of their task."""

from __future__ import annotations

import importlib
import json
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from sources import SOURCES, cells_of, handout_of

from course import sets
from course.compare import complaint
from course.notebooks import grade_id, source
from course.plain import as_torch, plain
from course.tasks import Task, prepared, verdict

SEED = "a seed of these tests"
TASKS = [(name, task) for name in sets.NAMES for task in sets.load(name).tasks]
IDS = [task.key for _, task in TASKS]


@pytest.fixture(autouse=True)
def private(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Handed-out files in the working directory, and the folder that only the judge knows."""
    monkeypatch.setenv("COURSE_PRIVATE", str(made / "private"))


def corpus(name: str) -> ModuleType:
    return importlib.import_module(f"answers_{name}")


@cache
def solution(name: str, key: str) -> str:
    """The answer cell of the source notebook."""
    wanted = f"answer-{key.replace('.', '-')}"
    (found,) = (source(cell) for cell in cells_of(name) if grade_id(cell) == wanted)
    return found


@cache
def given(name: str) -> str:
    """What stands above the answers, and runs in grading."""
    cells = (c for c in cells_of(name) if "given" in c["metadata"].get("tags", ()))
    return "\n".join(map(source, cells))


def judged(name: str, task: Task, text: str, seed: str = SEED) -> tuple[bool, str]:
    """What the judge says of an answer's text, without a sandbox."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(given(name), names)
    try:
        exec(text, names)
    except Exception as error:
        return False, f"its cell stops with {type(error).__name__}: {error}"
    if not callable(names.get(task.function)):
        return False, f"there is no function `{task.function}`"
    function = names[task.function]
    adapter = getattr(handout_of(name), task.adapter) if task.adapter else None

    def call(arguments: tuple[Any, ...]) -> Any:
        values = as_torch(arguments)
        return plain(adapter(function, *values) if adapter else function(*values))

    try:
        return verdict(task, call, seed)
    except Exception as error:
        return False, f"it stops with {type(error).__name__}: {error}"


@pytest.mark.parametrize(("name", "task"), TASKS, ids=IDS)
def test_the_solution_gets_full_marks(name: str, task: Task, inside: Any):
    with inside(name):
        assert judged(name, task, solution(name, task.key)) == (True, "right")


@pytest.mark.parametrize(("name", "task"), TASKS, ids=IDS)
def test_right_answers_written_otherwise_get_full_marks(name: str, task: Task, inside: Any):
    texts = corpus(name).RIGHT[task.key]
    assert len(set(texts)) >= 3
    with inside(name):
        for text in texts:
            for seed in (SEED, "another"):
                assert judged(name, task, text, seed) == (True, "right"), text


@pytest.mark.parametrize(("name", "task"), TASKS, ids=IDS)
def test_wrong_answers_are_told_what_is_wrong(name: str, task: Task, inside: Any):
    answers = corpus(name).WRONG[task.key]
    assert len({text for text, _ in answers}) >= 6
    with inside(name):
        for text, sentence in answers:
            for seed in (SEED, "another"):
                right, said = judged(name, task, text, seed)
                assert not right, text
                assert sentence in said, text


@pytest.mark.parametrize(("name", "task"), TASKS, ids=IDS)
def test_every_slip_is_told_from_the_right_answer(name: str, task: Task, inside: Any):
    with inside(name):
        for sentence in task.slips:
            assert any(
                complaint(slips[sentence], right, {}, task.tolerance, task.absolute)
                for _, right, slips in prepared(task, SEED)
                if sentence in slips
            ), sentence
            first = sentence.split()[0]
            assert not first.istitle(), "it follows a colon: no capital letter"
            assert not sentence.endswith("."), sentence


@pytest.mark.parametrize(("name", "task"), TASKS, ids=IDS)
def test_answers_of_another_instance_are_worth_nothing(name: str, task: Task, inside: Any):
    """Hard-coding what a visible check wants is no way: other seeds want something else."""
    if not task.visible:
        return
    with inside(name):
        kept = iter([right for _, right, _ in prepared(task, "visible")] * 2)
        assert not verdict(task, lambda arguments: next(kept), SEED)[0]


@pytest.mark.parametrize(("name", "task"), TASKS, ids=IDS)
def test_guesses_are_worth_nothing(name: str, task: Task, inside: Any):
    """Constants, one's own arguments, and zeros or ones of the right shape."""
    with inside(name):
        count = len(prepared(task, SEED)[0][0])
        guesses = [
            lambda *given, g=g: g for g in (0, 1, -1.0, True, False, "", "yes", None, [], {})
        ]
        guesses += [lambda *given, i=i: given[i] for i in range(count)]
        if task.adapter is None:
            guesses += [lambda *given, v=v: filled(task.reference(*given), v) for v in (0, 1)]
        adapter = getattr(handout_of(name), task.adapter) if task.adapter else None
        for guess in guesses:

            def call(arguments: tuple[Any, ...], guess: Any = guess) -> Any:
                values = as_torch(arguments)
                return plain(adapter(guess, *values) if adapter else guess(*values))

            try:
                assert not verdict(task, call, SEED)[0]
            except (AttributeError, TypeError, ValueError, RuntimeError, IndexError, KeyError):
                assert adapter  # what is no network, say, stops in the adapter


def filled(value: Any, number: int) -> Any:
    """The same shape with one number everywhere."""
    if isinstance(value, dict):
        return {key: filled(item, number) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [filled(item, number) for item in value]
    if isinstance(value, str) or value is None:
        return "nothing"
    return torch.full_like(value, number) if isinstance(value, torch.Tensor) else number


@pytest.mark.parametrize("name", sets.NAMES)
def test_a_wrong_answer_costs_its_own_task_alone(name: str, inside: Any):
    problem_set = sets.load(name)
    with inside(name):
        for task in problem_set.tasks:
            answers = {t.key: solution(name, t.key) for t in problem_set.tasks}
            answers[task.key] = corpus(name).WRONG[task.key][0][0]
            # All in one namespace, as in a notebook: a function may hide no other.
            text = "\n\n".join(answers.values())
            points = sum(t.points for t in problem_set.tasks if judged(name, t, text)[0])
            assert points == sum(t.points for t in problem_set.tasks) - task.points, task.key


@pytest.mark.parametrize(("name", "task"), TASKS, ids=IDS)
def test_what_a_task_teaches_has_a_place_in_the_book(name: str, task: Task):
    chapter, _, heading = task.section.partition("#")
    text = (SOURCES.parents[1] / f"{chapter}.ipynb").read_text(encoding="utf-8")
    notebook = json.loads(text)
    headings = {
        line.lstrip("# ").strip()
        for cell in notebook["cells"]
        if cell["cell_type"] == "markdown"
        for line in source(cell).splitlines()
        if re.match(r"#+ ", line)
    }
    assert heading in headings, sorted(headings)
