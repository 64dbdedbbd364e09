"""Marks for one submission: cells run in the sandbox, answers compared out here.

A mark depends on the submission, the secret seed and the course alone: not on order, on other
submissions, or on how often grading was stopped and taken up again.
"""

import functools
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course import notebooks
from course.compare import complaint
from course.notebooks import Cell, Submission, Unreadable
from course.sandbox import Ended, Limits, Sandbox
from course.tasks import ProblemSet, Task, prepared

HERE = Path(__file__).parent
EXTRA = 20 * 2**20  # bytes of files beside the notebook that go into the sandbox
KINDS = (".py", ".npz", ".npy", ".json", ".csv", ".txt", ".safetensors", ".png", ".jpg")


@dataclass
class Marks:
    """What a submission is worth, and why.

    Args:
        tasks: for each task's key its points and a sentence for the student.
        notes: what was odd about the submission.
        unreadable: why it could not be graded, or nothing.
    """

    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unreadable: str = ""

    @property
    def points(self) -> int:
        return sum(task["points"] for task in self.tasks.values())


@functools.lru_cache(maxsize=16)
def released(path: Path) -> dict[str, Any]:
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def fingerprint(folder: Path, release: Path, seed: str) -> str:
    """What a mark depends on: the submission, the release, the seed, the code that judges."""
    digest = hashlib.sha256(seed.encode())
    for root, pattern in ((folder, "*"), (release, "*.ipynb"), (HERE, "*.py")):
        for path in sorted(root.rglob(pattern)):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"\0{path.relative_to(root)}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def mark(
    folder: Path,
    release: Path,
    problem_set: ProblemSet,
    seed: str,
    limits: Limits | None = None,
    slot: int = 0,
) -> Marks:
    """Marks for what a student handed in.

    Args:
        folder: the student's, for this set.
        release: the folder of the set as released.
        problem_set: the set.
        seed: the teacher's secret one.
        limits: what the submission may take.
        slot: a number that no other grading has at the same time.
    """
    limits = limits or Limits()
    notebook = released(release / f"{problem_set.name}.ipynb")
    try:
        path = notebooks.find(folder, problem_set.name)
        submission = notebooks.read(path, notebook["cells"], problem_set)
    except (Unreadable, OSError) as error:
        return Marks(unreadable=str(error))
    marks = Marks(notes=list(submission.notes))
    with _handed(folder, release, problem_set.name) as files:
        worker = _Worker(files, _given(notebook["cells"]), submission, limits, slot)
        try:
            for task in problem_set.tasks:
                right, sentence = worker.judge(task, seed)
                points = task.points if right else 0
                marks.tasks[task.key] = {"points": points, "of": task.points, "said": sentence}
        finally:
            worker.close()
    marks.notes += worker.notes
    return marks


def _given(cells: list[Cell]) -> list[tuple[str, str]]:
    return [
        (f"the given cell {notebooks.grade_id(cell)}", notebooks.source(cell))
        for cell in cells
        if "given" in cell.get("metadata", {}).get("tags", ())
    ]


@contextmanager
def _handed(folder: Path, release: Path, name: str) -> Iterator[Path]:
    """A copy of the files a submission may read: its own small ones, then those released."""
    with tempfile.TemporaryDirectory(prefix="course-") as made:
        files, room = Path(made), EXTRA
        files.chmod(0o755)
        for path in sorted(folder.iterdir()):
            if not path.is_symlink() and path.is_file() and path.suffix in KINDS:
                room -= path.stat().st_size
                if room > 0:
                    shutil.copyfile(path, files / path.name)
        for path in sorted(release.iterdir()):
            if path.is_file() and path.suffix in KINDS:
                shutil.copyfile(path, files / path.name)
        for path in files.iterdir():
            path.chmod(0o644)
        yield files


class _Worker:
    """A sandbox that is started again, without the cell or task that ended it."""

    def __init__(
        self,
        files: Path,
        given: list[tuple[str, str]],
        submission: Submission,
        limits: Limits,
        slot: int,
    ):
        self.files, self.given, self.limits, self.slot = files, given, limits, slot
        self.cells = list(submission.code)
        self.notes: list[str] = []
        self._until = time.monotonic() + limits.total
        self._sandbox: Sandbox | None = None

    def judge(self, task: Task, seed: str) -> tuple[bool, str]:
        """Whether the student's function is right, and what there is to say."""
        used = self._sandbox is not None
        try:
            return self._judge(task, seed)
        except Ended as error:
            self.close()
            if not used:
                return False, f"it could not be graded to its end: {error}"
        # Another task's call may have left something behind: once more, in a sandbox of its own.
        try:
            return self._judge(task, seed)
        except Ended as error:
            self.close()
            return False, f"it could not be graded to its end: {error}"

    def _judge(self, task: Task, seed: str) -> tuple[bool, str]:
        for arguments, right, slips in prepared(task, seed):
            request = {
                "function": task.function,
                "adapter": task.adapter,
                "arguments": list(arguments),
            }
            reply = self._ready().ask(request, self._left(task.seconds))
            if "answer" not in reply:
                return False, _told(reply.get("error"), task)
            found = complaint(reply["answer"], right, slips, task.tolerance, task.absolute)
            if found:
                return False, found[:1000]
        return True, "right"

    def _left(self, seconds: float) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise Ended(f"the submission took more than {self.limits.total:.0f} seconds in all")
        return min(seconds, left)

    def _ready(self) -> Sandbox:
        """A sandbox in which all cells have been run that can be."""
        while self._sandbox is None:
            self._left(0)
            sandbox = Sandbox(self.files, self.limits, self.slot)
            errors: dict[int, str] = {}
            try:
                for now in self.given:
                    sandbox.ask({"cell": now[0], "source": now[1]}, self._left(self.limits.cell))
                for again in (False, True):  # a cell may need what stands below it
                    for i, now in enumerate(self.cells):
                        # One that a later cell has taken the place of is not run over it.
                        later = (j for j in range(i + 1, len(self.cells)) if j not in errors)
                        if again and (
                            i not in errors or any(self.cells[j][0] == now[0] for j in later)
                        ):
                            continue
                        request = {"cell": now[0], "source": now[1]}
                        reply = sandbox.ask(request, self._left(self.limits.cell))
                        errors.pop(i, None)
                        if "error" in reply:
                            errors[i] = str(reply["error"])[:1000]
            except Ended as error:
                sandbox.close()
                self._left(0)
                if now not in self.cells:  # a given one: nothing can be graded without it
                    raise
                self.notes.append(f"{now[0].capitalize()} was left out: {error}.")
                self.cells.remove(now)
                continue
            except BaseException:
                sandbox.close()
                raise
            for i, error_text in errors.items():
                note = f"{self.cells[i][0].capitalize()} stops with {error_text}."
                if error_text != "NotImplementedError" and note not in self.notes:
                    self.notes.append(note)
            self._sandbox = sandbox
        return self._sandbox

    def close(self) -> None:
        if self._sandbox is not None:
            self._sandbox.close()
        self._sandbox = None


def _told(error: Any, task: Task) -> str:
    """What a student is told of an error in a call of the function."""
    text = str(error)[:1000]
    if text.startswith("NameError: there is no function"):
        return f"there is no function `{task.function}`: was it renamed, or does its cell stop?"
    if text == "NotImplementedError":
        return f"`{task.function}` is not written yet"
    return f"it stops with {text}"


def save(marks: Marks, path: Path, made_of: str) -> None:
    """Keeps marks, with what they depend on, as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"made of": made_of, "unreadable": marks.unreadable, "tasks": marks.tasks}
    new = path.with_suffix(f".{os.getpid()}.new")
    new.write_text(json.dumps({**content, "notes": marks.notes}, indent=1), encoding="utf-8")
    os.replace(new, path)


def kept(path: Path, made_of: str | None = None) -> Marks | None:
    """Marks kept before, unless they depend on something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if made_of is not None and content["made of"] != made_of:
        return None
    return Marks(content["tasks"], content["notes"], content["unreadable"])
