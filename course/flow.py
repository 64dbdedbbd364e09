"""A course from release to marks, on top of nbgrader.

Everything of a course lies in one folder: source (as released, with solutions), release, received
(what was handed in, as it came), marks (the judge's), submitted, autograded and feedback (as
nbgrader has them), gradebook.db, seed.txt and private (what only the judge may know).
"""

import csv
import importlib
import json
import os
import queue
import re
import secrets
import shutil
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import torch
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.apps import NbGraderAPI
from nbgrader.coursedir import CourseDirectory

from course import judge, notebooks, sandbox, sets, settings, visible
from course.collecting import collect
from course.judge import Marks
from course.notebooks import Cell
from course.tasks import prepared

SOURCES = Path(__file__).resolve().parents[1] / "notebooks" / "coursework" / "source"
PROJECT = "project"
ASSIGNMENTS = (*sets.NAMES, PROJECT)
SHORTEST_SEED = 16
KINDS = ("grade", "solution", "locked", "task")  # of cells that nbgrader keeps in its database
PICTURES = (".png", ".jpg", ".jpeg")
LEFT = re.compile(r"### (BEGIN|END) (SOLUTION|HIDDEN TESTS)")


class Refused(RuntimeError):  # noqa: N818  (the name says what it is)
    """A command that cannot be carried out: why, and what to do."""


class Course:
    """A course in a folder, made when it is first released."""

    def __init__(self, root: Path):
        self.root = root.resolve()
        # nbgrader calls a program that lies beside this Python.
        beside = str(Path(sys.executable).parent)
        if beside not in os.environ.get("PATH", "").split(os.pathsep):
            os.environ["PATH"] = os.pathsep.join((beside, os.environ.get("PATH", os.defpath)))

    # ---- release ----

    def release(self, names: list[str], due: str | None = None, quick: bool = False) -> None:
        """Writes what students get of each set, as a folder and as a zip file."""
        date = _in_utc(due) if due else None
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        settings.write(self.root)
        seed = self.seed(make=True)
        (self.root / "seed.txt").chmod(0o600)
        os.environ["COURSE_PRIVATE"] = str(self.root / "private")
        for name in names:
            source = self.root / "source" / name
            self._stage(name, source, seed, quick)
            told = self._nbgrader().generate_assignment(name, force=True, create=True)
            _expect(told, f"{name} could not be released")
            released = self.root / "release" / name
            # What nbgrader is told to ignore when it grades, and notebooks to read.
            extras = [p for p in source.iterdir() if p.suffix not in (".ipynb", ".new")]
            extras += [p for p in (SOURCES / name).glob("*.ipynb") if p.stem != name]
            for path in filter(Path.is_file, extras):
                shutil.copyfile(path, released / path.name)
            if leaks := solutions_in(released):
                raise Refused(f"{name} would be released with its solution: {', '.join(leaks)}")
            if date:
                with self._gradebook() as gradebook:
                    gradebook.update_or_create_assignment(name, duedate=date)
                print(f"{name}: due {date}")
            print(f"{name}: release/{name}.zip ({_zip(released) // 1024} kB)")

    def _stage(self, name: str, source: Path, seed: str, quick: bool) -> None:
        """The source notebook with what a release brings along, points as the set has them."""
        source.mkdir(parents=True, exist_ok=True)
        for path in (SOURCES / name).iterdir():
            if path.suffix in (".py", ".md") or path.name == f"{name}.ipynb":
                shutil.copyfile(path, source / path.name)
        if name == PROJECT:
            return
        problem_set = sets.load(name)
        points = {f"task-{t.key.replace('.', '-')}": t.points for t in problem_set.tasks}
        points |= {f"written-{k.replace('.', '-')}": v for k, v in problem_set.written.items()}
        path = source / f"{name}.ipynb"
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            if (identity := notebooks.grade_id(cell)) in points:
                cell["metadata"]["nbgrader"]["points"] = points[identity]
            elif not any(cell["metadata"].get("nbgrader", {}).get(kind) for kind in KINDS):
                cell["metadata"].pop("nbgrader", None)  # the student's own: nbgrader keeps none
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False), encoding="utf-8")
        visible.write(problem_set, source)
        hand_out(name, source, self.root / "private", seed, quick)

    # ---- collect ----

    def collect(self, name: str, given: Path) -> None:
        """Sorts what a platform handed out into one folder for each student."""
        self._expect_released(name)
        names = self.names()
        count = 0
        try:
            for student, called, files in collect(given, self.root / "received", name):
                names.setdefault(student, called)
                count += 1
                print(f"{student}: {files} file{'s' * (files != 1)}")
        finally:
            self._write_names(names)
        if not count:
            raise Refused(f"there is no file in {given}")
        print(f"{name}: {count} submissions in received")

    def names(self) -> dict[str, str]:
        """Names of students by their id."""
        try:
            with open(self.root / "students.csv", newline="", encoding="utf-8") as file:
                return {row["id"]: row["name"] for row in csv.DictReader(file)}
        except OSError:
            return {}

    def _write_names(self, names: dict[str, str]) -> None:
        rows = [{"id": student, "name": called} for student, called in sorted(names.items())]
        _write_csv(self.root / "students.csv", ["id", "name"], rows)

    # ---- grade ----

    def grade(self, names: list[str], jobs: int | None = None) -> None:
        """Judges what is new, several submissions at once, then hands the marks to nbgrader."""
        print(f"student code runs in: {sandbox.how()}")
        seed = self.seed()
        os.environ["COURSE_PRIVATE"] = str(self.root / "private")
        torch.set_num_threads(1)
        given = [name for name in names if self.received(name)]
        if not given:
            raise Refused(f"nothing was collected of {', '.join(names)}: first course-collect")
        failed = 0
        for name in given:
            self._expect_released(name)
            start = time.monotonic()
            students = self.received(name)
            marks = self._judged(name, students, seed, jobs) if name != PROJECT else {}
            for student in students:
                if name == PROJECT or student in marks:
                    self._to_nbgrader(name, student, marks.get(student))
            bad = [
                s for s in students if name != PROJECT and (s not in marks or marks[s].unreadable)
            ]
            print(f"{name}: {len(students)} submissions, {time.monotonic() - start:.0f} s")
            failed += sum(student not in marks for student in bad)
            for student in bad:
                why = (
                    marks[student].unreadable if student in marks else "the judge failed, see above"
                )
                print(f"{name}: NOT GRADED: {student}: {why}")
        if failed:
            raise Refused(f"{failed} submissions could not be judged, see above; grade again")

    def received(self, name: str) -> list[str]:
        """Students who handed in the set."""
        return sorted(
            p.parent.name for p in (self.root / "received").glob(f"*/{name}") if p.is_dir()
        )

    def mark_of(self, name: str, student: str) -> Marks | None:
        return judge.kept(self.root / "marks" / name / f"{student}.json")

    def _judged(
        self, name: str, students: list[str], seed: str, jobs: int | None
    ) -> dict[str, Marks]:
        problem_set, release = sets.load(name), self.root / "release" / name
        found: dict[str, Marks] = {}
        waiting: list[tuple[str, str]] = []
        for student in students:
            folder = self.root / "received" / student / name
            try:
                made_of = judge.fingerprint(folder, release, seed)
            except OSError as error:
                print(f"{name}: {student}: the judge failed: {error}", flush=True)
                continue
            before = judge.kept(self.root / "marks" / name / f"{student}.json", made_of)
            if before is None:
                waiting.append((student, made_of))
            else:
                found[student] = before
        if found:
            print(f"{name}: {len(found)} were judged before")
        for task in problem_set.tasks if waiting else ():
            prepared(task, seed)  # once, before several threads ask for it
        count = max(1, jobs or os.cpu_count() or 1)
        slots: queue.Queue[int] = queue.Queue()
        for slot in range(count):
            slots.put(slot)

        def one(student: str, made_of: str) -> Marks | None:
            slot = slots.get()
            try:
                folder = self.root / "received" / student / name
                marks = judge.mark(folder, release, problem_set, seed, slot=slot)
                judge.save(marks, self.root / "marks" / name / f"{student}.json", made_of)
                shutil.rmtree(self.root / "autograded" / student / name, ignore_errors=True)
                return marks
            except Exception as error:  # ours, not the student's: the others go on
                print(f"{name}: {student}: the judge failed: {error!r}", flush=True)
                return None
            finally:
                slots.put(slot)

        with ThreadPoolExecutor(count) as pool:
            judged = pool.map(lambda pair: (pair[0], one(*pair)), waiting)
            for number, (student, marks) in enumerate(judged, 1):
                if marks is not None:
                    found[student] = marks
                    said = marks.unreadable or f"{marks.points} points"
                    print(f"{name}: {number}/{len(waiting)} {student}: {said}", flush=True)
        return found

    def _to_nbgrader(self, name: str, student: str, marks: Marks | None) -> None:
        """A clean notebook for nbgrader with the student's answers, and the marks in it."""
        folder = self.root / "received" / student / name
        submitted = self.root / "submitted" / student / name
        if (self.root / "autograded" / student / name / f"{name}.ipynb").exists():
            return
        shutil.rmtree(submitted, ignore_errors=True)
        if marks is not None and marks.unreadable:
            return
        notebook = judge.released(self.root / "release" / name / f"{name}.ipynb")
        try:
            path = notebooks.find(folder, name)
            if name == PROJECT:
                merged = _as_handed_in(notebook, notebooks.read_cells(path))
            else:
                handed_in = notebooks.read(path, notebook["cells"], sets.load(name))
                handed_in.notes = marks.notes if marks is not None else []
                merged = notebooks.merged(notebook, handed_in)
        except (notebooks.Unreadable, OSError) as error:
            print(f"{name}: NOT GRADED: {student}: {error}")
            return
        submitted.mkdir(parents=True)
        content = json.dumps(harmless(merged, notebook))
        (submitted / f"{name}.ipynb").write_text(content, encoding="utf-8")
        for path in folder.iterdir():
            shown = path.suffix.lower() in PICTURES or path.name == "timestamp.txt"
            if shown and path.is_file() and not path.is_symlink():
                shutil.copyfile(path, submitted / path.name)
        told = self._nbgrader().autograde(name, student, force=True, create=True)
        if not told["success"]:
            print(f"{name}: {student}: nbgrader could not take the marks: {_short(told)}")

    # ---- feedback ----

    def feedback(self, names: list[str]) -> None:
        """A page for each student and set, and a zip file of all of a set."""
        for name in names:
            for student in self.received(name):
                place = self.root / "feedback" / student / name
                marks = self.mark_of(name, student)
                if marks is not None and marks.unreadable:
                    place.mkdir(parents=True, exist_ok=True)
                    text = f"Your submission could not be graded: {marks.unreadable}.\n"
                    (place / "not_graded.txt").write_text(text, encoding="utf-8")
                    continue
                with suppress(OSError):
                    (place / "not_graded.txt").unlink()
                if not (self.root / "autograded" / student / name).is_dir():
                    print(f"{name}: {student}: no feedback, not graded yet: first course-grade")
                    continue
                told = self._nbgrader().generate_feedback(name, student, force=True)
                if not told["success"]:
                    print(f"{name}: {student}: no feedback: {_short(told)}")
            called = self.names()
            pages = sorted((self.root / "feedback").glob(f"*/{name}/*"))
            if pages:
                target = self.root / "feedback" / f"{name}.zip"
                with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
                    for page in pages:
                        # Moodle reads from the folder's name whose the page is.
                        student = page.parents[1].name
                        person = re.sub(r"[_/\\]+", " ", called.get(student, student))
                        archive.write(page, f"{person}_{student}_assignsubmission_file/{page.name}")
                print(f"{name}: {len(pages)} pages, feedback/{name}.zip")

    # ---- marks ----

    def marks(self, names: list[str]) -> None:
        """Tables of marks as Canvas and Moodle read them."""
        called = self.names()
        for name in names:
            students = self.received(name)
            if not students:
                print(f"{name}: nothing was collected")
                continue
            canvas, moodle, comments = [], [], []
            for student in students:
                points, comment = self.result(name, student)
                comments.append(comment)
                shown = "" if points is None else f"{points:g}"
                person = called.get(student, student)
                about = {"SIS User ID": "", "SIS Login ID": "", "Section": ""}
                canvas.append({"Student": person, "ID": student, **about, name: shown})
                moodle.append(
                    {
                        "Identifier": f"Participant {student}",
                        "Full name": person,
                        "Grade": shown,
                        "Maximum grade": "100",
                        "Last modified (grade)": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
                        "Feedback comments": comment,
                    }
                )
            for kind, rows in (("canvas", canvas), ("moodle", moodle)):
                _write_csv(self.root / f"{name}-{kind}.csv", list(rows[0]), rows)
            print(f"{name}: {len(students)} students, {name}-canvas.csv, {name}-moodle.csv")
            for said, count in sorted(Counter(c.split(":")[0] for c in comments if c).items()):
                print(f"{name}: {count} of them: {said}")

    def result(self, name: str, student: str) -> tuple[float | None, str]:
        """Points with late penalty, None if there are none yet, and a comment."""
        marks = self.mark_of(name, student)
        if marks is not None and marks.unreadable:
            return None, f"Not graded: {marks.unreadable}."
        try:
            with self._gradebook() as gradebook:
                submission = gradebook.find_submission(name, student)
                points = submission.score - sum(
                    notebook.late_submission_penalty or 0 for notebook in submission.notebooks
                )
                waiting = submission.needs_manual_grade
        except MissingEntry:
            return None, "Not graded yet."
        return float(points), "Written answers are not graded yet." if waiting else ""

    # ---- what they share ----

    def seed(self, make: bool = False) -> str:
        """The secret from which hidden instances are drawn.

        Raises:
            Refused: if there is none, or one that can be guessed.
        """
        path = self.root / "seed.txt"
        if make and not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(16) + "\n")
            print(
                f"A secret seed was drawn: {path}. Keep it; whoever knows it knows the instances."
            )
        try:
            seed = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise Refused(f"there is no secret seed, {path}: first course-release") from error
        if len(seed) < SHORTEST_SEED or seed == visible.PUBLIC:
            raise Refused(f"{path} has {len(seed)} letters, expected {SHORTEST_SEED} or more")
        return seed

    def _expect_released(self, name: str) -> None:
        if not (self.root / "release" / name).is_dir():
            raise Refused(f"{name} was not released into {self.root}: first course-release")

    def _nbgrader(self) -> NbGraderAPI:
        config = settings.read(self.root)
        return NbGraderAPI(CourseDirectory(config=config), config=config)

    def _gradebook(self) -> Gradebook:
        return Gradebook(settings.settings(self.root).CourseDirectory.db_url, "cam")


def hand_out(name: str, release: Path, private: Path, seed: str, quick: bool) -> None:
    """Makes what is handed out with a set besides its notebook: trained networks, pictures."""
    try:
        module = importlib.import_module(f"course.handouts.{name}")
    except ModuleNotFoundError as error:
        if error.name not in (f"course.handouts.{name}", "course.handouts"):
            raise
        return
    private.mkdir(parents=True, exist_ok=True, mode=0o700)
    module.make(release, private, seed, quick)


def solutions_in(folder: Path) -> list[str]:
    """Released files that hold a part of a solution."""
    leaks = []
    for path in sorted(folder.rglob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if LEFT.search(notebooks.source(cell)) or cell.get("outputs"):
                leaks.append(f"{path.name}, {notebooks.grade_id(cell) or 'a cell'}")
    return leaks


def _in_utc(due: str) -> str:
    """A date as nbgrader takes it, in UTC. What could be read in two ways is refused."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d \d\d:\d\d)(:\d\d)? (\S+)", due.strip())
    try:
        if match is None:
            raise ValueError("the form is another")
        local = datetime.fromisoformat(match[1] + (match[2] or ":00"))
        date = local.replace(tzinfo=ZoneInfo(match[3])).astimezone(UTC)
    except (ValueError, ZoneInfoNotFoundError) as error:
        raise Refused(
            f"DUE is {due!r} ({error}), expected '2027-03-01 23:59:00 UTC', or a zone such as "
            "Europe/Berlin in the place of UTC"
        ) from error
    if date < datetime.now(UTC):
        raise Refused(f"DUE is {due!r}, which is past")
    return f"{date:%Y-%m-%d %H:%M:%S} UTC"


def _as_handed_in(released: Cell, cells: list[Cell]) -> Cell:
    """A project's notebook for nbgrader: the student's cells, pictures and printed text with them.

    Other outputs, such as HTML, are left out: a browser would run what is in them.
    """
    known = {
        notebooks.grade_id(cell): cell["metadata"]["nbgrader"]
        for cell in released["cells"]
        if notebooks.grade_id(cell)
    }
    kept: list[Cell] = []
    for i, cell in enumerate(cells):
        about = known.pop(notebooks.grade_id(cell), None)
        plain: Cell = {
            "id": f"cell-{i}",
            "cell_type": "code" if cell.get("cell_type") == "code" else "markdown",
            "metadata": {"nbgrader": about} if about else {},
            "source": notebooks.source(cell),
        }
        pasted = cell.get("attachments")
        if plain["cell_type"] == "markdown" and isinstance(pasted, dict):
            plain["attachments"] = {k: v for k, v in pasted.items() if isinstance(v, dict)}
        if plain["cell_type"] == "code":
            outputs = cell.get("outputs")
            shown = map(_shown, outputs if isinstance(outputs, list) else [])
            plain |= {"execution_count": None, "outputs": [one for one in shown if one]}
        kept.append(plain)
    return {**released, "cells": kept}


def _shown(output: Any) -> Cell | None:
    """An output as picture or text."""
    data = output.get("data") if isinstance(output, dict) else None
    if isinstance(data, dict):
        for kind in ("image/png", "image/jpeg", "text/plain"):
            if kind in data:
                shown = {kind: notebooks.source({"source": data[kind]})}
                return {"output_type": "display_data", "data": shown, "metadata": {}}
        return None
    text = notebooks.source({"source": output.get("text")}) if isinstance(output, dict) else ""
    return {"output_type": "stream", "name": "stdout", "text": text} if text else None


def harmless(notebook: Cell, released: Cell) -> Cell:
    """The notebook with nothing of a student's in it that a browser would run.

    Graders read it in the browser with which they can change marks. In the student's texts no
    HTML is left (a space follows each `<` that could begin a tag), and pictures are base64.
    """
    given = {notebooks.source(cell) for cell in released["cells"]}
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code" and notebooks.source(cell) not in given:
            cell["cell_type"] = "markdown"  # a raw cell would be handed on as it is
            text = re.sub(r"<(?=[A-Za-z/!?])", "< ", notebooks.source(cell))
            cell["source"] = re.sub(r"\](?=\((?!\s*(?:https?://|attachment:))|:)", "] ", text)
        pictures = [one["data"] for one in cell.get("outputs", ()) if "data" in one]
        for picture in (*pictures, *cell.get("attachments", {}).values()):
            for kind in [kind for kind in picture if kind != "text/plain"]:
                if kind in ("image/png", "image/jpeg", "image/gif"):
                    picture[kind] = re.sub(r"[^A-Za-z0-9+/=]", "", str(picture[kind]))
                else:
                    del picture[kind]
        if "attachments" in cell:
            cell["attachments"] = {name: one for name, one in cell["attachments"].items() if one}
        if cell["cell_type"] == "markdown":
            there = {quote(name) for name in cell.get("attachments", ())}
            cell["source"] = _without_missing_pictures(notebooks.source(cell), there)
    return notebook


def _without_missing_pictures(text: str, there: set[str]) -> str:
    """A text without references to pictures that are not there, which would end a page."""

    def renamed(found: re.Match[str]) -> str:
        known = quote(unquote(found[1])) in there
        return found[0] if known else f"missing-picture:{found[1]}"

    return re.sub(r"attachment:([^)\s]*)", renamed, text)


def _expect(told: dict[str, Any], what: str) -> None:
    if not told["success"]:
        raise Refused(f"{what}: {_short(told)}")


def _short(told: dict[str, Any]) -> str:
    """Why nbgrader could not do something: the errors that its log ends with."""
    text = f"{told.get('log', '')}\n{told.get('error', '')}"
    errors = re.findall(r"^\s*(?:\w+\.)*\w*(?:Error|Exception|Entry): .+$", text, re.MULTILINE)
    return " ".join(" ".join(errors or text.splitlines()[-5:]).split())[:700]


def _zip(folder: Path) -> int:
    target = folder.with_suffix(".zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _files(folder):
            archive.write(path, f"{folder.name}/{path.relative_to(folder)}")
    return target.stat().st_size


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _write_csv(path: Path, header: list[str], rows: list[dict[str, str]]) -> None:
    """Writes a table as a whole or not at all; a text is never taken for a formula."""
    new = path.with_suffix(".new")
    with open(new, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header)
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"'{v}" if v[:1] in "=+-@\t" and v else v for k, v in row.items()})
    os.replace(new, path)
