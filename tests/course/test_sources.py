"""The source notebooks: what nbgrader needs, what students get, and that both are one text."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbgrader.preprocessors import ClearSolutions
from project_rules import notebook_faults
from sources import ASSIGNMENTS, SOURCES, cells_of

from course import sets
from course.notebooks import WRITTEN, grade_id, key_of, source
from course.settings import settings

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
NBGRADER = {"grade", "solution", "locked", "task", "grade_id", "schema_version", "cell_type"}


def about(cell: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = cell["metadata"].get("nbgrader", {})
    return found


def written_points(name: str) -> dict[str, int]:
    return {
        grade_id(cell): about(cell)["points"]
        for cell in cells_of(name)
        if grade_id(cell).startswith("written-")
    }


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_source_is_stored_as_it_must_be(name: str):
    for path in (SOURCES / name).glob("*.ipynb"):
        assert notebook_faults(path) == [], path.name


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_every_cell_that_nbgrader_knows_has_an_id_of_its_own(name: str):
    ids = [grade_id(cell) for cell in cells_of(name) if about(cell)]
    assert all(ids)
    assert len(set(ids)) == len(ids)
    for cell in cells_of(name):
        if about(cell):
            assert set(about(cell)) >= NBGRADER - {"cell_type"}, grade_id(cell)
            assert about(cell)["schema_version"] == 3


@pytest.mark.parametrize("name", sets.NAMES)
def test_notebook_and_set_ask_the_same(name: str):
    problem_set = sets.load(name)
    ids = {grade_id(cell): cell for cell in cells_of(name)}
    for task in problem_set.tasks:
        number = task.key.replace(".", "-")
        answer, test = ids[f"answer-{number}"], ids[f"task-{number}"]
        assert about(answer)["solution"]
        assert not about(answer)["grade"]
        assert not about(answer)["locked"]
        defined = [n.name for n in ast.parse(source(answer)).body if isinstance(n, ast.FunctionDef)]
        assert task.function in defined
        assert about(test)["grade"]
        assert about(test)["locked"]
        assert about(test)["points"] == task.points
        if task.visible:
            assert source(test).strip() == f'check("{task.key}", {task.function})'
    assert {i for i in ids if i.startswith("task-")} == {
        f"task-{task.key.replace('.', '-')}" for task in problem_set.tasks
    }
    written = {key_of(one): points for one, points in written_points(name).items()}
    assert written == dict(problem_set.written)


@pytest.mark.parametrize("name", sets.NAMES)
def test_students_are_told_each_tasks_points(name: str):
    """The table at the top has a row for each task and written question, with its points."""
    opening = source(cells_of(name)[0])
    problem_set = sets.load(name)
    points = {task.key: task.points for task in problem_set.tasks} | dict(problem_set.written)
    for key, number in points.items():
        (row,) = re.findall(rf"^\|\s*{re.escape(key)}\s*\|.*$", opening, re.MULTILINE)
        numbers = re.findall(r"(?<![\w.])\d+(?![\w.])", row)
        assert str(number) in numbers, row


def test_the_project_has_100_points():
    assert sum(written_points("project").values()) == 100


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_a_written_answer_starts_with_the_line_by_which_it_is_found(name: str):
    for cell in cells_of(name):
        if (one := grade_id(cell)).startswith("written-"):
            assert cell["cell_type"] == "markdown"
            assert about(cell)["grade"]
            assert about(cell)["solution"]
            assert not about(cell)["locked"]
            match = WRITTEN.match(source(cell))
            assert match, one
            assert match[1].replace(".", "-") == one.removeprefix("written-")


def cleared(name: str) -> list[nbformat.NotebookNode]:
    notebook = nbformat.read(SOURCES / name / f"{name}.ipynb", as_version=4)
    clear = ClearSolutions(config=settings(Path()))
    found, _ = clear.preprocess(notebook, {})
    return list(found.cells)


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_the_students_stub_is_the_solution_but_for_the_gap(name: str):
    for before, after in zip(cells_of(name), cleared(name), strict=True):
        text = source(before)
        if not about(before).get("solution"):
            assert after.source == text
            continue
        assert text.count(BEGIN) == text.count(END) == 1, grade_id(before)
        head, rest = re.split(rf"^[ \t]*{BEGIN}[^\n]*\n", text, flags=re.MULTILINE)
        _, tail = re.split(rf"^[ \t]*{END}[^\n]*(?:\n|\Z)", rest, flags=re.MULTILINE)
        assert after.source.startswith(head)
        assert after.source.endswith(tail)
        gap = after.source[len(head) : len(after.source) - len(tail)]
        assert gap.strip() in ("raise NotImplementedError", "*Write here.*")
        if before["cell_type"] == "code":
            compile(after.source, "stub", "exec")


@pytest.mark.parametrize("name", sets.NAMES)
def test_answers_stand_on_their_own(name: str):
    """No answer uses another's function, so that a wrong one costs its own task alone."""
    functions = {task.function for task in sets.load(name).tasks}
    for cell in cells_of(name):
        if grade_id(cell).startswith("answer-"):
            tree = ast.parse(source(cell))
            own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            assert not used & (functions - own), grade_id(cell)


@pytest.mark.parametrize("name", sets.NAMES)
def test_what_runs_in_grading_needs_no_camlib(name: str):
    for cell in cells_of(name):
        graded = "given" in cell["metadata"].get("tags", ()) or grade_id(cell).startswith("answer-")
        if cell["cell_type"] == "code" and graded:
            assert "camlib" not in source(cell), grade_id(cell)
    handout = SOURCES / name / "handout.py"
    assert not handout.exists() or "camlib" not in handout.read_text(encoding="utf-8")


def test_nothing_that_is_made_is_kept():
    kept = {".ipynb", ".py", ".md"}
    listed = subprocess.run(
        ["git", "ls-files", str(SOURCES)], cwd=SOURCES, capture_output=True, text=True, check=True
    ).stdout.split()
    assert {Path(one).suffix for one in listed} <= kept
    assert not {Path(one).name for one in listed} & {"checks.py", "compare.py", "plain.py"}
