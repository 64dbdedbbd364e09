"""From release to marks: the whole way of a small class, through nbgrader."""

from __future__ import annotations

import copy
import csv
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from classroom import handed_in, stripped, students, write_class
from nbgrader.api import Gradebook
from sources import ASSIGNMENTS

from course import flow, sets
from course.flow import Course, Refused
from course.notebooks import grade_id

SET = "set1_where"
SMALL = 3


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """A course with everything released."""
    found = Course(tmp_path_factory.mktemp("course"))
    found.release(list(ASSIGNMENTS), quick=True)
    return found


def released(course: Course, name: str) -> Path:
    return course.root / "release" / name / f"{name}.ipynb"


@pytest.fixture(scope="module")
def graded(course: Course, tmp_path_factory: pytest.TempPathFactory) -> Course:
    """The first set handed in by a small class, with three submissions in trouble; graded."""
    place = tmp_path_factory.mktemp("handed in")
    people = students(SET, SMALL)
    people[1].written = "Because <script>alert(1)</script> $a < b$."
    write_class(place, released(course, SET), SET, people)
    best = handed_in(released(course, SET), people[0])
    trouble = {
        "bare": json.dumps(stripped(best)),
        "damaged": json.dumps(best)[:-40],
        "hangs": json.dumps(hanging(best)),
    }
    for name, text in trouble.items():
        (place / name).mkdir()
        (place / name / f"{SET}.ipynb").write_text(text, encoding="utf-8")
    course.collect(SET, place)
    course.grade([SET])
    return course


def hanging(notebook: dict[str, Any]) -> dict[str, Any]:
    """The same with a first answer that never ends."""
    changed = copy.deepcopy(notebook)
    task = sets.load(SET).tasks[0]
    for cell in changed["cells"]:
        if grade_id(cell) == f"answer-{task.key.replace('.', '-')}":
            cell["source"] = f"def {task.function}(*given):\n    while True:\n        pass\n"
    return changed


def test_a_release_has_no_solution_and_all_that_is_needed(course: Course):
    for name in ASSIGNMENTS:
        folder = course.root / "release" / name
        assert flow.solutions_in(folder) == []
        with zipfile.ZipFile(folder.with_suffix(".zip")) as archive:
            names = set(archive.namelist())
        assert f"{name}/{name}.ipynb" in names
        if name in sets.NAMES:
            assert {f"{name}/{one}" for one in ("checks.py", "checks.json", "compare.py")} <= names
    text = released(course, SET).read_text(encoding="utf-8")
    for left in ("BEGIN SOLUTION", "Rubric", "rubric:"):
        assert left not in text


def test_a_solution_left_in_is_noticed(tmp_path: Path):
    cell = {"cell_type": "code", "metadata": {}, "source": "### BEGIN SOLUTION\nreturn 1\n"}
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": [cell]}))
    assert flow.solutions_in(tmp_path) == ["a.ipynb, a cell"]


def test_marks_are_the_expected_ones(graded: Course):
    for student in students(SET, SMALL):
        marks = graded.mark_of(SET, student.name)
        assert marks is not None
        assert marks.points == student.points, marks.tasks


def test_trouble_is_graded_where_it_can_be_and_told_where_not(graded: Course):
    best = students(SET, SMALL)[0]
    bare, damaged, hangs = (graded.mark_of(SET, name) for name in ("bare", "damaged", "hangs"))
    assert bare is not None
    assert bare.points == best.points
    assert damaged is not None
    assert "damaged" in damaged.unreadable
    assert hangs is not None
    first = sets.load(SET).tasks[0].points
    assert hangs.points == best.points - first
    assert "it ran for more than" in next(iter(hangs.tasks.values()))["said"]


def test_nbgrader_has_the_marks_and_waits_for_a_person(graded: Course):
    with Gradebook(f"sqlite:///{graded.root / 'gradebook.db'}", "cam") as gradebook:
        for student in students(SET, SMALL):
            submission = gradebook.find_submission(SET, student.name)
            assert submission.score == student.points
            assert submission.max_score == 100
            assert submission.needs_manual_grade


def test_nothing_of_a_students_runs_in_a_graders_browser():
    picture = {"image/png": 'aGk="><script>', "text/html": "<script>", "image/svg+xml": "<svg>"}
    cells: list[dict[str, Any]] = [
        {"cell_type": "markdown", "source": "a <b onclick='x'>", "attachments": {"p": picture}},
        {"cell_type": "raw", "source": "<script>x</script><!-- -->"},
        {"cell_type": "markdown", "source": "<b>as released</b>, 1 < 2"},
        {"cell_type": "code", "source": "a<b", "outputs": [{"data": dict(picture)}]},
    ]
    kept = {"cells": [{"cell_type": "markdown", "source": "<b>as released</b>, 1 < 2"}]}
    one, raw, same, code = flow.harmless({"cells": cells}, kept)["cells"]
    assert one["source"] == "a < b onclick='x'>"
    assert one["attachments"]["p"] == {"image/png": "aGk=script"}
    assert (raw["cell_type"], raw["source"]) == ("markdown", "< script>x< /script>< !-- -->")
    assert same["source"] == "<b>as released</b>, 1 < 2"
    assert code["source"] == "a<b"
    assert code["outputs"] == [{"data": {"image/png": "aGk=script"}}]


def test_feedback_says_what_was_wrong_and_no_answer(graded: Course):
    graded.feedback([SET])
    for student in students(SET, SMALL):
        page = graded.root / "feedback" / student.name / SET / f"{SET}.html"
        text = page.read_text(encoding="utf-8")
        marks = graded.mark_of(SET, student.name)
        assert marks is not None
        for task in marks.tasks.values():
            said = "Right." if task["points"] else task["said"].split("'")[0][:40]
            assert said.replace("<", "&lt;").replace(">", "&gt;") in text
        assert graded.seed() not in text
        assert str(graded.root) not in text
        assert "<script>alert" not in text
        assert "script&gt;alert" in text or student.name != "student001"
    told = graded.root / "feedback" / "damaged" / SET / "not_graded.txt"
    assert "could not be graded" in told.read_text(encoding="utf-8")
    with zipfile.ZipFile(graded.root / "feedback" / f"{SET}.zip") as archive:
        assert len(archive.namelist()) == SMALL + 3


def test_marks_are_tables_for_canvas_and_moodle(graded: Course):
    graded.marks([SET])
    canvas = {row["ID"]: row for row in rows(graded.root / f"{SET}-canvas.csv")}
    moodle = {row["Identifier"]: row for row in rows(graded.root / f"{SET}-moodle.csv")}
    for student in students(SET, SMALL):
        assert float(canvas[student.name][SET]) == student.points
        assert float(moodle[f"Participant {student.name}"]["Grade"]) == student.points
    # No mark is not a mark of zero.
    assert canvas["damaged"][SET] == ""
    assert "Not graded" in moodle["Participant damaged"]["Feedback comments"]


def test_written_answers_count_when_a_person_has_graded_them(graded: Course):
    student = students(SET, SMALL)[1]
    with Gradebook(f"sqlite:///{graded.root / 'gradebook.db'}", "cam") as gradebook:
        submission = gradebook.find_submission(SET, student.name)
        for notebook in submission.notebooks:
            for grade in notebook.grades:
                if grade.auto_score is None:
                    grade.manual_score, grade.needs_manual_grade = 3.0, False
        gradebook.db.commit()
    written = len(sets.load(SET).written)
    assert graded.result(SET, student.name) == (student.points + 3.0 * written, "")
    graded.grade([SET])  # a second time: nothing is judged again, no mark is lost
    assert graded.result(SET, student.name) == (student.points + 3.0 * written, "")


def test_grading_goes_on_where_it_stopped(
    graded: Course, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    one = students(SET, SMALL)[2].name
    before = graded.mark_of(SET, one)
    (graded.root / "marks" / SET / f"{one}.json").unlink()
    graded.grade([SET])
    assert f"{SMALL + 2} were judged before" in capsys.readouterr().out
    assert graded.mark_of(SET, one) == before


def test_a_failing_judge_costs_one_submission_and_no_mark(
    graded: Course, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    one = students(SET, SMALL)[0].name
    path = graded.root / "marks" / SET / f"{one}.json"
    kept = path.read_text()
    path.unlink()

    def broken(*args: object, **more: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(flow.judge, "mark", broken)
    with pytest.raises(Refused, match="1 submissions could not be judged"):
        graded.grade([SET])
    said = capsys.readouterr().out
    assert f"NOT GRADED: {one}: the judge failed" in said
    assert not path.exists()
    path.write_text(kept)


@pytest.mark.parametrize("name", [name for name in sets.NAMES if name != SET])
def test_every_other_set_goes_the_whole_way(name: str, course: Course, tmp_path: Path):
    people = students(name, 2, seed=1)
    write_class(tmp_path / "in", released(course, name), name, people)
    course.collect(name, tmp_path / "in")
    course.grade([name])
    for student in people:
        marks = course.mark_of(name, student.name)
        assert marks is not None
        assert marks.points == student.points, marks
        points, comment = course.result(name, student.name)
        assert points == student.points
        assert "Written answers" in comment


def test_the_project_is_graded_by_hand(course: Course, tmp_path: Path):
    place = tmp_path / "in" / "team1"
    place.mkdir(parents=True)
    shutil.copyfile(released(course, "project"), place / "project.ipynb")
    other = tmp_path / "in" / "team2"
    other.mkdir()
    notebook = json.loads(released(course, "project").read_text(encoding="utf-8"))
    picture = {"output_type": "display_data", "data": {"image/png": "aGk="}, "metadata": {}}
    shown = {"cell_type": "code", "source": "draw()", "outputs": [picture], "metadata": {}}
    notebook["cells"].append(shown)
    (other / "project.ipynb").write_text(json.dumps(notebook))
    course.collect("project", tmp_path / "in")
    course.grade(["project"])
    assert course.result("project", "team1")[0] == 0  # handed in as released: no response
    graded = (course.root / "autograded" / "team2" / "project" / "project.ipynb").read_text()
    assert "aGk=" in graded  # a figure, for the person who grades


def test_what_cannot_be_done_is_said(tmp_path: Path):
    course = Course(tmp_path)
    with pytest.raises(Refused, match="first course-release"):
        course.collect(SET, tmp_path)
    with pytest.raises(Refused, match="no secret seed"):
        course.seed()
    for due in (
        "1. March",
        "2027-03-01 23:59 +0100",
        "2099-13-01 23:59:00 UTC",
        "2020-01-01 10:00 UTC",
    ):
        with pytest.raises(Refused, match="DUE is"):
            course.release([SET], due)
    (tmp_path / "seed.txt").write_text("short")
    with pytest.raises(Refused, match="has 5 letters, expected 16"):
        course.seed()


def judged(course: Course, tmp_path: Path, cells: list[str]) -> flow.Marks:
    """Marks for the first set with these cells in the place of the first answer's."""
    notebook = handed_in(released(course, SET), students(SET, 1)[0])
    task = sets.load(SET).tasks[0]
    kept = []
    for cell in notebook["cells"]:
        if grade_id(cell) == f"answer-{task.key.replace('.', '-')}":
            own = {**cell, "metadata": {}}
            kept += [{**(cell if "def " in text else own), "source": text} for text in cells]
        else:
            kept.append(cell)
    (tmp_path / f"{SET}.ipynb").write_text(json.dumps({**notebook, "cells": kept}))
    release = course.root / "release" / SET
    return flow.judge.mark(tmp_path, release, sets.load(SET), "a seed that is long enough")


def test_cells_out_of_order_and_twice_count_as_in_a_notebook_that_was_run(
    course: Course, tmp_path: Path
):
    right = "def global_average(features):\n    return features.mean(dim=(2, 3))\n"
    wrong = right.replace("mean", "sum")
    late = "needed_below\n" + right, "needed_below = 1\n"
    for cells, points in (
        ([wrong, right], 4),  # the last one counts
        ([right, wrong], 0),
        ([late[0], late[1]], 4),  # needs what stands below it
        (["needed_below\n" + wrong, right, late[1]], 4),  # and does not undo what follows it
    ):
        marks = judged(course, tmp_path, cells)
        assert marks.tasks["1.1"]["points"] == points, cells
