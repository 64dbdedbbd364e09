"""A class of simulated students: what each hands in, and what it is worth."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from test_answers import corpus, solution

from course import sets
from course.notebooks import grade_id


@dataclass
class Student:
    """What one of them hands in for a set, and the points expected for it.

    Args:
        name: that of the folder.
        answers: the text of each answer, by the task's key.
        points: expected from the judge.
        written: the text of each written answer.
    """

    name: str
    answers: dict[str, str]
    points: int
    written: str = "An answer."


def students(set_name: str, count: int, seed: int = 0) -> list[Student]:
    """Students who get each task right, in one of the corpus's ways, or wrong in one of them."""
    rng = random.Random(seed)
    problem_set, found = sets.load(set_name), []
    texts = corpus(set_name)
    for i in range(count):
        answers, points = {}, 0
        for task in problem_set.tasks:
            if i == 0 or rng.random() < 0.7:
                ways = [solution(set_name, task.key), *texts.RIGHT[task.key]]
                answers[task.key] = rng.choice(ways)
                points += task.points
            else:
                answers[task.key] = rng.choice([text for text, _ in texts.WRONG[task.key]])
        found.append(Student(f"student{i:03d}", answers, points))
    return found


def handed_in(released: Path, student: Student) -> dict[str, Any]:
    """The released notebook with the student's answers."""
    notebook: dict[str, Any] = json.loads(released.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        identity = grade_id(cell)
        if identity.startswith("answer-"):
            cell["source"] = student.answers[".".join(identity.split("-")[1:])]
        elif identity.startswith("written-"):
            cell["source"] += f"\n\n{student.written}"
    return notebook


def write_class(folder: Path, released: Path, set_name: str, people: list[Student]) -> None:
    """A folder as a platform hands it out: one folder for each student."""
    for student in people:
        place = folder / student.name
        place.mkdir(parents=True)
        text = json.dumps(handed_in(released, student))
        (place / f"{set_name}.ipynb").write_text(text, encoding="utf-8")


def stripped(notebook: dict[str, Any]) -> dict[str, Any]:
    """The same without any metadata, as some programs save it."""
    bare = copy.deepcopy(notebook)
    bare["metadata"] = {}
    for cell in bare["cells"]:
        cell["metadata"] = {}
        cell.pop("id", None)
    bare["nbformat_minor"] = 4
    return bare
