"""A set of three small tasks, its released notebook, and what is handed in for it.

Everything the tests of grading need, with no part of the real sets. Tasks 9.1 and 9.3 are called
as they are, 9.2 through an adapter of the set's handout.py. Copies of a task can be added, each
with a function of its own, so that many answers to it are judged in one submission.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from course import visible
from course.notebooks import grade_id
from course.tasks import ProblemSet, Task

NAME = "small"
SUMMED = "you add up the places; their mean was asked"

HANDOUT = '''"""What is handed out with the small set."""

import torch
from torch import nn


def with_network(own, weight, bias, image):
    """Calls a student's function with a network of one layer, made from arrays."""
    network = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        network.weight.copy_(weight)
        network.bias.copy_(bias)
        return own(network, image)
'''
GIVEN = "import numpy as np\nimport torch\n"
RIGHT = {
    "9.1": "def average(features):\n    return features.mean(dim=(1, 2))\n",
    "9.2": "def score(network, image):\n    return network(image)\n",
    "9.3": "def total(numbers):\n    return numbers.sum()\n",
}


def reference(features: Tensor) -> Tensor:
    """The solution of 9.1, for whoever finds this file."""
    return features.mean(dim=(1, 2))


def _draw_features(rng: np.random.Generator) -> tuple[Any, ...]:
    return (rng.uniform(1, 2, size=(int(rng.integers(3, 6)), 2, 7)).astype(np.float32),)


def _draw_layer(rng: np.random.Generator) -> tuple[Any, ...]:
    sizes = ((3, 5), (3,), (5,))
    return tuple(rng.normal(size=size).astype(np.float32) for size in sizes)


def _draw_numbers(rng: np.random.Generator) -> tuple[Any, ...]:
    return (rng.uniform(1, 2, size=6).astype(np.float32),)


TASKS = {
    "9.1": Task(
        key="9.1",
        function="average",
        points=20,
        draw=_draw_features,
        reference=reference,
        slips={SUMMED: lambda features: features.sum(dim=(1, 2))},
        section="",
        instances=3,
    ),
    "9.2": Task(
        key="9.2",
        function="score",
        points=20,
        draw=_draw_layer,
        reference=lambda weight, bias, image: weight @ image + bias,
        slips={},
        section="",
        adapter="with_network",
        instances=2,
    ),
    "9.3": Task(
        key="9.3",
        function="total",
        points=20,
        draw=_draw_numbers,
        reference=lambda numbers: numbers.sum(),
        slips={},
        section="",
        instances=2,
    ),
}


def problem_set(copied: Sequence[str] = (), seconds: float = 10.0) -> ProblemSet:
    """The set.

    Args:
        copied: keys of tasks, of each of which the set gets a copy worth one point. The copy's key
            and function have the place in this list at their end: "9.107" and average_07.
        seconds: for a call of a copy.
    """
    copies = tuple(
        replace(
            TASKS[key],
            key=f"{key}{i:02d}",
            function=f"{TASKS[key].function}_{i:02d}",
            points=1,
            seconds=seconds,
        )
        for i, key in enumerate(copied)
    )
    tasks = (*copies, *TASKS.values())
    return ProblemSet(NAME, "Small", tasks, {"9.4": 40 - len(copies)})


def code(text: str, identity: str = "", points: int | None = None, **about: Any) -> dict[str, Any]:
    """A code cell; with an id, as nbgrader knows it."""
    graded = {"grade": points is not None, "grade_id": identity, "points": points, **about}
    metadata = {"nbgrader": {"schema_version": 3, "cell_type": "code", **graded}}
    return {
        "cell_type": "code",
        "metadata": metadata if identity else {},
        "source": text,
        "outputs": [],
        "execution_count": None,
    }


def released(small: ProblemSet) -> dict[str, Any]:
    """The notebook as students get it."""
    given = code(GIVEN, "given", solution=False, locked=True)
    given["metadata"]["tags"] = ["given"]
    cells = [given]
    for task in small.tasks:
        number = task.key.replace(".", "-")
        stub = f"def {task.function}(*given):\n    raise NotImplementedError\n"
        check = f'check("{task.key}", {task.function})'
        cells.append(code(stub, f"answer-{number}", solution=True, locked=False))
        cells.append(code(check, f"task-{number}", task.points, solution=False, locked=True))
    written = code("Your answer to 9.4", "written-9-4", 10, solution=True, locked=False)
    del written["outputs"], written["execution_count"]
    cells.append(written | {"cell_type": "markdown"})
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def release(folder: Path, small: ProblemSet) -> Path:
    """Writes the set as released: notebook, handout.py, the visible checks."""
    folder.mkdir(parents=True)
    (folder / f"{NAME}.ipynb").write_text(json.dumps(released(small)), encoding="utf-8")
    (folder / "handout.py").write_text(HANDOUT, encoding="utf-8")
    visible.write(problem_set(), folder)
    return folder


def answered(small: ProblemSet, answers: dict[str, str], own: Sequence[str] = ()) -> dict[str, Any]:
    """The released notebook with answers, by the task's key, below cells of the student's own."""
    notebook = copy.deepcopy(released(small))
    for cell in notebook["cells"]:
        identity = grade_id(cell)
        if identity.startswith("answer-"):
            key = identity.removeprefix("answer-").replace("-", ".")
            cell["source"] = answers.get(key, cell["source"])
        elif identity.startswith("written-"):
            cell["source"] += "\n\nAn answer."
    notebook["cells"][1:1] = [code(text) for text in own]
    return notebook


def hand_in(folder: Path, notebook: dict[str, Any], files: dict[str, str] | None = None) -> Path:
    """Writes what a student hands in: the notebook, and files beside it."""
    folder.mkdir(parents=True)
    (folder / f"{NAME}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    for name, text in (files or {}).items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder
