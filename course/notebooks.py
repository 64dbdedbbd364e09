"""What a student handed in, read from whatever is left of the notebook.

A cell that says what a released one says is that one. Of the others, an answer is known by the
function it defines, a written answer by its first line, both by nbgrader's id after that, and where
all of this is gone, by where it stands. Whatever else the student wrote is run too, in its place.

Nothing that stands in the file may stop the reading or take long: its texts are taken, no more.
"""

import copy
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from course.tasks import ProblemSet

Cell = dict[str, Any]
LARGEST = 20 * 2**20  # bytes
MOST_CELLS = 2000
LONGEST = 150_000  # letters of a cell that is run
SHOWN = 20_000  # letters of a cell that is shown: a page is made of it, slowly if it is odd
SHOWN_OWN = 10 * SHOWN  # letters of all of a student's own cells that are shown
WRITTEN = re.compile(
    r"^(?:[^\w\n]|_)*your answer to[ \t]+([A-Za-z0-9]+\.\d+)", re.IGNORECASE | re.MULTILINE
)
DEFINED = re.compile(r"^(?:(?:async[ \t]+)?def|class)[ \t]+(\w+)", re.MULTILINE)
# Magics that run the cell below them as it is; in grading magics do nothing.
HARMLESS = re.compile(r"\A(\s*)%%(time|capture|prun)\b")
FENCED = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Unreadable(ValueError):  # noqa: N818  (the name says what it is)
    """A file that is no notebook: why, in words for student and teacher."""


@dataclass
class Submission:
    """What was handed in for a set.

    Args:
        code: label and text of the student's code cells, in the order they are run: answers that
            are still as released, then the others as they stand.
        answers: for each task's key the texts of its answer cells.
        written: for each written answer's key its texts, if they say anything.
        others: the student's own cells, each with the position of the released cell before it.
        pictures: what was pasted into texts, by the name that the texts have for it.
        notes: what was odd, in words for the student.
    """

    code: list[tuple[str, str]] = field(default_factory=list)
    answers: dict[str, list[str]] = field(default_factory=dict)
    written: dict[str, list[str]] = field(default_factory=dict)
    others: list[tuple[int, Cell]] = field(default_factory=list)
    pictures: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def run(self, label: str, text: str) -> None:
        """Adds a cell that is run in grading."""
        if len(text) > LONGEST:
            self.notes.append(f"{label.capitalize()} was left out: it has {len(text)} letters.")
        else:
            self.code.append((label, HARMLESS.sub(r"\1# \2", text)))


# ---- the file ----


def source(cell: Cell) -> str:
    text = cell.get("source", cell.get("input", ""))  # "input": notebooks of 2014
    if isinstance(text, list):
        text = "".join(part for part in text if isinstance(part, str))
    # Half a character, which JSON can hold, cannot be written into any file.
    return text.encode(errors="replace").decode() if isinstance(text, str) else ""


def grade_id(cell: Cell) -> str:
    about: Any = cell.get("metadata")
    for name in ("nbgrader", "grade_id"):
        about = about.get(name) if isinstance(about, dict) else None
    return about if isinstance(about, str) else ""


def key_of(identity: str) -> str:
    """The task's number in an id such as "answer-1-2"."""
    return ".".join(identity.split("-")[1:])


def read_cells(path: Path) -> list[Cell]:
    """The cells of a notebook, of any version.

    Raises:
        Unreadable: if the file is no notebook.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise Unreadable(f"{path.name} has more than {LARGEST // 2**20} MiB: clear its outputs")
        data = path.read_bytes()
    except OSError as error:
        raise Unreadable(f"{path.name} cannot be read: {error.strerror}") from error
    text = data.decode(json.detect_encoding(data), errors="replace")
    try:
        content = json.loads(text, strict=False)
    except RecursionError as error:
        raise Unreadable(f"{path.name} is no notebook: it is nested too deeply") from error
    except ValueError as error:
        why = _damage(text, error)
        raise Unreadable(f"{path.name} is no notebook, or damaged: {why}") from error
    sheets = [content, *_list(content, "worksheets")]  # notebooks of 2014 have their cells in these
    if not any(isinstance(sheet, dict) and "cells" in sheet for sheet in sheets):
        raise Unreadable(f"{path.name} is no notebook: it has no list of cells")
    cells = [cell for sheet in sheets for cell in _list(sheet, "cells") if isinstance(cell, dict)]
    if len(cells) > MOST_CELLS:
        raise Unreadable(f"{path.name} has {len(cells)} cells, expected {MOST_CELLS} at most")
    return cells


def _list(content: Any, name: str) -> list[Any]:
    found = content.get(name) if isinstance(content, dict) else None
    return found if isinstance(found, list) else []


def _damage(text: str, error: ValueError) -> str:
    if not text.strip():
        return "it is empty"
    if text.lstrip().startswith("<"):
        return "it is a web page, such as one that asks to log in"
    if isinstance(error, json.JSONDecodeError):
        return f"at line {error.lineno}, {error.msg}"
    return "it holds a number of too many digits"


def find(folder: Path, name: str) -> Path:
    """The notebook of a set in a student's folder, also under another name.

    Raises:
        Unreadable: if there is none, or more than one and none has the right name.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    files = [path for path in files if ".ipynb_checkpoints" not in path.relative_to(folder).parts]
    # Some browsers add an ending.
    found = [path for path in files if ".ipynb" in path.name.lower()]
    for like in (
        [path for path in found if path == folder / f"{name}.ipynb"],
        [path for path in found if path.name == f"{name}.ipynb"],
        found,
        [path for path in found if name.lower() in path.name.lower()],
    ):
        if len(like) == 1:
            return like[0]
    listed = ", ".join(path.name for path in (found or files)[:10])
    raise Unreadable(
        f"expected one notebook, {name}.ipynb; found: "
        + (listed if found else f"none, but {listed}" if files else "none")
    )


# ---- which cell is which ----


@dataclass
class _Given:
    """One of the student's cells.

    Args:
        kind: code, markdown or raw.
        text: what it says.
        named: the id that it has.
        ids: of the released cells that it is, or was made from.
        at: the position of the first of these; None for a cell of the student's own.
        same: whether it says what it said when it was released.
        before: `at`, or else the position of the last released cell above it, or -1.
        after: that of the next one below it.
        used: whether a cell of the student's own was taken for an answer.
    """

    kind: str
    text: str
    named: str
    ids: list[str] = field(default_factory=list)
    at: int | None = None
    same: bool = False
    before: int = -1
    after: int = -1
    used: bool = False

    def stands_for(self, what: str) -> bool:
        return self.ids[:1] != [] and self.ids[0].startswith(f"{what}-")

    @property
    def keys(self) -> list[str]:
        return [key_of(one) for one in self.ids]


def read(path: Path, released: list[Cell], problem_set: ProblemSet) -> Submission:
    """A student's notebook against the released one.

    Raises:
        Unreadable: if the file is no notebook, or none of this set.
    """
    found = Submission()
    given = [_taken(cell, found.pictures) for cell in read_cells(path) if source(cell).strip()]
    _place(given, released, problem_set)
    if not any(one.stands_for(what) for one in given for what in ("answer", "task", "written")):
        raise Unreadable(f"{path.name} has no cell of {problem_set.name}: is it another notebook?")
    own: list[_Given] = []
    for one in given:
        if one.same:
            continue
        if one.stands_for("answer"):
            for key in one.keys:
                found.answers.setdefault(key, []).append(one.text)
            found.run(f"the answer to {' and '.join(one.keys)}", one.text)
        elif one.stands_for("written"):
            for key in one.keys:
                found.written.setdefault(key, []).append(one.text)
            if one.kind == "code" and not WRITTEN.search(one.text):
                found.run(f"the answer to {' and '.join(one.keys)}", one.text)
        else:
            own.append(one)
            _run_own(one, len(own), released, found)
    _answers_in_texts(own, problem_set, found)
    _call_as_asked(problem_set, found)
    # A function that is written somewhere else is not to be undone by the stub of its task.
    stubs = [one for one in given if one.same and one.stands_for("answer")]
    found.code[:0] = [(f"the answer to {one.keys[0]}", one.text) for one in stubs]
    _written_beside(own, released, found)
    found.others = [(one.before, _cell(one.kind, one.text)) for one in own if not one.used]
    _count(found, {key for one in stubs for key in one.keys}, released)
    return found


def _taken(cell: Cell, pictures: dict[str, dict[str, str]]) -> _Given:
    """What counts of a cell. Pictures pasted into it get names that no other cell uses."""
    kinds = {"code": "code", "raw": "raw"}
    kind, text = kinds.get(str(cell.get("cell_type")), "markdown"), source(cell)
    attached = cell.get("attachments")
    attached, names = attached if isinstance(attached, dict) else {}, {}

    def renamed(match: re.Match[str]) -> str:
        name = next((one for one in (match[1], unquote(match[1])) if one in attached), "")
        parts = attached[name].items() if name and isinstance(attached[name], dict) else ()
        picture = {k: source({"source": v}) for k, v in parts if k.startswith("image/")}
        if not picture:  # a picture that is not there would end the making of a page
            return f"missing-picture:{match[1]}"
        if name not in names:
            names[name] = f"picture-{len(pictures) + 1}"
            pictures[names[name]] = picture
        return f"attachment:{names[name]}"

    if kind != "code":
        text = re.sub(r"attachment:([^\s)>\"']*)", renamed, text)
    return _Given(kind, text, grade_id(cell))


def _place(given: list[_Given], released: list[Cell], problem_set: ProblemSet) -> None:
    """Finds out which of the released cells each is, and where it stands between them."""
    places = {grade_id(cell): at for at, cell in enumerate(released) if grade_id(cell)}
    free: dict[str, list[int]] = {}  # positions of the released cells that say this
    for at, cell in enumerate(released):
        free.setdefault(_words(source(cell)), []).append(at)
    for one in given:
        says, named = _words(one.text), places.get(one.named)
        if named is not None and says == _words(source(released[named])):
            one.at, one.same = named, True
            if named in free[says]:
                free[says].remove(named)
    for one in given:
        if not one.same and (left := free.get(_words(one.text))):
            one.at, one.same = left.pop(0), True
        if one.same and one.at is not None:
            one.ids = [grade_id(released[one.at])]
        else:
            one.ids = _made_from(one, places, problem_set)
            one.at = places[one.ids[0]] if one.ids else None
    last = -1
    for one in given:
        last = one.before = last if one.at is None else one.at
    last = len(released)
    for one in reversed(given):
        one.after, last = last, last if one.at is None else one.at


def _words(text: str) -> str:
    return " ".join(text.split())


def _made_from(one: _Given, places: dict[str, int], problem_set: ProblemSet) -> list[str]:
    """Ids of the released cells that a changed one was made from: by what it says, then its id."""
    says: list[str] = []
    if one.kind == "code":
        tasks = [task for task in problem_set.tasks if _defines(task.function, one.text)]
        says = [_id("answer", task.key) for task in tasks]
    says = says or [_id("written", key) for key in dict.fromkeys(WRITTEN.findall(one.text))]
    says = [identity for identity in says if identity in places]
    if says:
        return says
    if one.named not in places or (one.named.startswith("answer-") and one.kind != "code"):
        return []
    return [one.named]


def _id(what: str, key: str) -> str:
    return f"{what}-{key.replace('.', '-')}"


def _defines(function: str, text: str) -> bool:
    """Whether a cell makes the function: defines it, assigns to it, imports it."""
    if function not in text:
        return False
    name = re.escape(function)
    ways = (
        rf"^(?:(?:async[ \t]+)?def|class)[ \t]+{name}\b",
        rf"^{name}[ \t]*(?::[^=\n]*)?=(?!=)",
        rf"^(?:from[ \t]+\S+[ \t]+)?import\b[^\n#]*\b{name}\b",
    )
    if any(re.search(way, text, re.MULTILINE) for way in ways):
        return True
    # One of several names that are imported, each on a line.
    several = re.search(r"^from[ \t]+\S+[ \t]+import[ \t]*\(", text, re.MULTILINE)
    return bool(several and re.search(rf"^[ \t]+(?:\w+ as )?{name}[ \t,)]*$", text, re.MULTILINE))


# ---- what is made of it ----


def _run_own(one: _Given, number: int, released: list[Cell], found: Submission) -> None:
    """Runs a cell of the student's own, or a released one with what was changed in it."""
    if one.kind != "code":
        return
    if one.at is None:
        return found.run(f"your own cell {number}", one.text)
    found.run(f"the changed cell {one.ids[0]}", one.text)
    found.notes.append(
        f"You changed the cell {one.ids[0]}; grading uses the original, and runs your change too."
    )
    if "given" in released[one.at].get("metadata", {}).get("tags", ()):
        found.run(f"the given cell {one.ids[0]}", source(released[one.at]))


def _answers_in_texts(own: list[_Given], problem_set: ProblemSet, found: Submission) -> None:
    """Runs text cells that define the function of a task that has no answer else."""
    for one in own:
        if one.kind == "code":
            continue
        text = "\n".join(FENCED.findall(one.text)) or one.text
        tasks = [task for task in problem_set.tasks if _defines(task.function, text)]
        keys = [task.key for task in tasks if task.key not in found.answers]
        if keys:
            one.used = True
            found.answers |= {key: [text] for key in keys}
            found.run(f"the answer to {' and '.join(keys)}", text)
            found.notes.append(f"The answer to {' and '.join(keys)} was a text cell; it is run.")


def _call_as_asked(problem_set: ProblemSet, found: Submission) -> None:
    """Where the cell of an answer defines one function of another name, that one is meant."""
    for task in problem_set.tasks:
        texts = found.answers.get(task.key, [])
        names = {name for text in texts for name in DEFINED.findall(text)}
        if texts and len(names) == 1 and not any(_defines(task.function, text) for text in texts):
            (name,) = names
            found.run(
                f"the name of the answer to {task.key}",
                f"globals().setdefault({task.function!r}, globals().get({name!r}))",
            )
            found.notes.append(
                f"The answer to {task.key} is called `{name}`, expected `{task.function}`."
            )


def _written_beside(own: list[_Given], released: list[Cell], found: Submission) -> None:
    """Takes what stands beside an empty written answer for it: also its question, if edited."""
    unused = [one for one in own if not one.used]
    for at, cell in enumerate(released):
        identity, key = grade_id(cell), key_of(grade_id(cell))
        if not identity.startswith("written-"):
            continue
        says = [text for text in found.written.pop(key, []) if _new_lines(text, source(cell))]
        beside = [one for one in unused if one.before <= at <= one.after]
        if says:
            found.written[key] = says
        elif beside:
            texts = [one for one in beside if one.kind != "code"]
            for one in texts:
                one.used = True
            code = [f"```python\n{one.text}\n```" for one in beside]
            found.written[key] = [one.text for one in texts] or code
            found.notes.append(f"The written answer to {key} is what stands beside its cell.")
        else:
            found.notes.append(f"The written answer to {key} is empty.")


def _new_lines(text: str, stub: str) -> bool:
    known = {line.strip() for line in ["", *stub.splitlines()]}
    return any(line.strip() not in known for line in text.splitlines())


def _count(found: Submission, stubs: set[str], released: list[Cell]) -> None:
    """Notes the answers of which there are several, or none."""
    for what, kept in (("answer", found.answers), ("written answer", found.written)):
        for key, several in kept.items():
            if len(several) > 1:
                found.notes.append(f"There are {len(several)} cells for {what} {key}.")
    expected = [key_of(one) for one in map(grade_id, released) if one.startswith("answer-")]
    missing = [key for key in expected if key not in found.answers and key not in stubs]
    if missing:
        found.notes.append(f"No cell holds the answer to {', '.join(missing)}.")


def merged(released: Cell, submission: Submission) -> Cell:
    """The released notebook with the student's answers in it: what nbgrader and graders get."""
    notebook = copy.deepcopy(released)
    cells: list[Cell] = []
    if submission.notes:
        cells.append(about(submission.notes))
    own = _affordable(submission.others)
    cells += [cell for at, cell in own if at < 0]
    for i, cell in enumerate(notebook["cells"]):
        identity = grade_id(cell)
        kept = submission.answers if identity.startswith("answer-") else submission.written
        texts = kept.get(key_of(identity)) if identity.startswith(("answer-", "written-")) else None
        # Without a text the cell stays as released, which nbgrader knows as no response.
        if texts:
            text = "\n\n".join(texts)
            if identity.startswith("written-") and not WRITTEN.search(text):
                text = source(cell).partition("\n")[0] + "\n\n" + text
            cell["source"] = _short(text)
        cells += [cell, *(one for at, one in own if at == i)]
    for i, cell in enumerate(cells):
        cell["id"] = f"cell-{i}"
        if cell["cell_type"] == "markdown" and "attachment:" in (text := source(cell)):
            used = {n: one for n, one in submission.pictures.items() if f"attachment:{n}" in text}
            cell["attachments"] = used
    return {**notebook, "cells": cells, "nbformat": 4, "nbformat_minor": 5}


def about(notes: list[str]) -> Cell:
    """A cell that tells what was odd about a submission, as text and no more."""
    lines = [f"    {' '.join(note.split())}" for note in notes]
    return _cell("markdown", "**About your submission**\n\n" + "\n".join(lines))


def _affordable(others: list[tuple[int, Cell]]) -> list[tuple[int, Cell]]:
    """A student's own cells, cut where they are more than a page can show."""
    found, room = [], SHOWN_OWN
    for at, cell in others:
        cell = cell | {"source": _short(source(cell), max(0, min(room, SHOWN)))}
        room -= len(cell["source"])
        found.append((at, cell))
    return found


def _short(text: str, most: int = SHOWN) -> str:
    if len(text) <= most:
        return text
    return text[:most].rpartition("\n")[0] + "\n\n(What follows is left out here.)"


def _cell(kind: str, text: str) -> Cell:
    """A plain cell, without outputs and metadata."""
    plain: Cell = {"cell_type": kind, "metadata": {}, "source": text}
    return plain | ({"outputs": [], "execution_count": None} if kind == "code" else {})
