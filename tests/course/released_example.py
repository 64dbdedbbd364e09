"""A released notebook of two tasks and two questions, its set, and what a good student hands in."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import nbformat

from course.notebooks import Cell, Submission, grade_id, merged, read, source
from course.tasks import ProblemSet, Task

NAME = "set8_example"


def _task(key: str, function: str, reference: Callable[..., Any]) -> Task:
    return Task(key, function, 30, lambda rng: ([1.0, 2.0, 6.0],), reference, {}, section="")


SET = ProblemSet(
    name=NAME,
    title="Example",
    tasks=(
        _task("8.1", "total", lambda values: sum(values)),
        _task("8.2", "mean", lambda values: sum(values) / len(values)),
    ),
    written={"8.3": 30, "8.4": 10},
)
VALUES, EXPECTED = [1.0, 2.0, 6.0], {"8.1": 9.0, "8.2": 3.0}

TOTAL = "def total(values):\n    return sum(values)"
MEAN = "def mean(values):\n    return sum(values) / len(values)"
WHY, WHERE = "Because a sum grows with the number of values.", "In chapter 2."
STUB = 'def {}(values):\n    """The {} of a list."""\n    raise NotImplementedError'


def _cell(kind: str, text: str, identity: str = "", **about: Any) -> Cell:
    known = {"grade": False, "solution": False, "locked": True, "task": False}
    metadata: dict[str, Any] = {}
    if identity:
        known |= {"schema_version": 3, "grade_id": identity, "cell_type": kind, **about}
        metadata = {"nbgrader": known}
    cell = {"cell_type": kind, "metadata": metadata, "source": text}
    return cell | ({"outputs": [], "execution_count": None} if kind == "code" else {})


def released() -> dict[str, Any]:
    """The notebook as students get it."""
    answer = {"solution": True, "locked": False}
    written = {"grade": True, "solution": True, "locked": False, "points": 10}
    cells = [
        _cell("markdown", "# Sums and means", "intro"),
        _cell("code", "import math\n\nSIZE = 7", "given"),
        _cell("code", "numbers = [1, 2, 3]\nnumbers", "numbers-shown"),
        _cell("markdown", "### 8.1 The sum\n\nWrite `total`.", "ask-8-1"),
        _cell("code", STUB.format("total", "sum"), "answer-8-1", **answer),
        _cell("code", 'check("8.1", total)', "task-8-1", grade=True, points=30),
        _cell("markdown", "### 8.2 The mean\n\nWrite `mean`.", "ask-8-2"),
        _cell("code", STUB.format("mean", "mean"), "answer-8-2", **answer),
        _cell("code", 'check("8.2", mean)', "task-8-2", grade=True, points=30),
        _cell("markdown", "### 8.3 Why\n\nWhy do both differ?", "ask-8-3"),
        _cell("markdown", "**Your answer to 8.3**\n\n*Write here.*", "written-8-3", **written),
        _cell("markdown", "### 8.4 Where\n\nWhere was that said?", "ask-8-4"),
        _cell("markdown", "**Your answer to 8.4**\n\n*Write here.*", "written-8-4", **written),
        _cell("markdown", "## Before you hand in", "end"),
        _cell("markdown", "*Help I used:*"),
    ]
    cells[1]["metadata"]["tags"] = ["given"]
    for i, cell in enumerate(cells):
        cell["id"] = f"c{i}"
    language = {"name": "python", "version": "3.11"}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "language_info": language}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def handed_in() -> dict[str, Any]:
    """The notebook of a good student, as Jupyter saves it."""
    notebook = released()
    at(notebook, "answer-8-1")["source"] = TOTAL
    at(notebook, "answer-8-2")["source"] = MEAN
    at(notebook, "written-8-3")["source"] = f"**Your answer to 8.3**\n\n{WHY}"
    at(notebook, "written-8-4")["source"] = f"**Your answer to 8.4**\n\n{WHERE}"
    for cell in notebook["cells"]:
        cell["source"] = cell["source"].splitlines(keepends=True)
    return notebook


def at(notebook: dict[str, Any], identity: str) -> Cell:
    """The cell of an id."""
    (found,) = (cell for cell in notebook["cells"] if grade_id(cell) == identity)
    return found  # type: ignore[no-any-return]


def place(notebook: dict[str, Any], identity: str) -> int:
    return next(i for i, cell in enumerate(notebook["cells"]) if grade_id(cell) == identity)


def own(text: str, kind: str = "code", **more: Any) -> Cell:
    """A cell of a student's own."""
    return _cell(kind, text) | {"id": "own"} | more


def strip(notebook: dict[str, Any]) -> None:
    """All metadata is gone, ids too."""
    notebook["metadata"], notebook["nbformat_minor"] = {}, 4
    for cell in notebook["cells"]:
        cell["metadata"] = {}
        cell.pop("id", None)


def submitted(folder: Path, notebook: Any, name: str = NAME) -> Submission:
    """What is read of a notebook; of everything that can be read, a valid notebook is made."""
    path = folder / f"{name}.ipynb"
    if not isinstance(notebook, bytes):
        notebook = json.dumps(notebook).encode()
    path.write_bytes(notebook)
    found = read(path, released()["cells"], SET)
    expect_valid(merged(released(), found))
    return found


def expect_valid(notebook: dict[str, Any]) -> None:
    """A notebook of format 4.5 in which all that was released is once, and locked as it was."""
    text = json.dumps(notebook, allow_nan=False, ensure_ascii=False).encode("utf-8")
    nbformat.validate(nbformat.from_dict(json.loads(text)))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [grade_id(cell) for cell in notebook["cells"] if grade_id(cell)]
    assert ids == [grade_id(cell) for cell in released()["cells"] if grade_id(cell)]
    for cell in released()["cells"]:
        if not grade_id(cell):
            continue
        kept = copy.deepcopy(at(notebook, grade_id(cell)))
        assert kept["metadata"] == cell["metadata"]
        assert kept["cell_type"] == cell["cell_type"]
        if cell["metadata"]["nbgrader"]["locked"]:
            assert source(kept) == source(cell)


def shown(found: Submission, identity: str) -> str:
    """What a grader sees in the cell of an id."""
    return source(at(merged(released(), found), identity))


def right(found: Submission) -> set[str]:
    """The tasks that are right when the cells are run as in grading: failed ones once again."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(source(at(released(), "given")), names)
    cells = [text for _, text in found.code]
    for _ in range(2):
        failed = []
        for text in cells:
            try:
                with redirect_stdout(io.StringIO()):
                    exec(text, names)
            except Exception:
                failed.append(text)
        cells = failed
    good = set()
    for task in SET.tasks:
        with suppress(Exception):
            if names[task.function](VALUES) == EXPECTED[task.key]:
                good.add(task.key)
    return good
