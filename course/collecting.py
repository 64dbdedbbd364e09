"""What a learning platform hands out, sorted into one folder for each student.

Read are folders and zip files as Canvas and Moodle give them, nbgrader's own, and plain ones: a
folder for each student, or a notebook for each. A zip file that a student handed in is unpacked.
Nothing is written outside its place, and no more than a class can have handed in.
"""

import hashlib
import lzma
import re
import shutil
import stat
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from course import sets

MOST_FILES, MOST_BYTES = 20_000, 2 * 2**30  # of a class
OWN_FILES, OWN_BYTES = 2_000, 200 * 2**20  # of a zip file of a student's own
# Moodle: "Ada Lovelace_1234_assignsubmission_file_" as a folder, or before the file's name.
MOODLE = re.compile(r"^(?P<name>.+?)_(?P<id>\d+)_assignsubmission_[a-z]+_?(?P<file>.*)$")
# Canvas: "lovelaceada_1234_5678_set1_where-2.ipynb", with LATE_ before the numbers.
CANVAS = re.compile(r"^(?P<name>[^_]+)(?:_LATE)?_(?P<id>\d+)_\d+_(?P<file>.+)$")
AGAIN = re.compile(r"^(?P<stem>.+?)-(?P<number>\d{1,3})(?P<suffix>\.\w+)$")
LISTS = {".csv", ".htm", ".html", ".md", ".txt", ".xlsx"}
NOT_THEIRS = {"__MACOSX", "__pycache__", "site-packages", "Thumbs.db", "desktop.ini"}
TIME = "timestamp.txt"  # tells nbgrader who is late, so its word counts in nbgrader's folders alone
OTHER_SETS = {*sets.NAMES, "project"}
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,  # a password
    UnicodeError,
)


@dataclass(frozen=True)
class Found:
    """One file of a student.

    Args:
        student: what a folder can be called everywhere.
        name: the student's, as the platform has it.
        path: where the file lies.
        file: what it was called when it was handed in.
        again: of which attempt it is, 0 for the first.
        within: folders of the student's own in which it lies.
    """

    student: str
    name: str
    path: Path
    file: str
    again: int = 0
    within: tuple[str, ...] = ()


def student_id(text: str) -> str:
    """A name as it can be that of a folder everywhere."""
    letters = unicodedata.normalize("NFKD", text)
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    found = re.sub(r"[^A-Za-z0-9.@-]+", "_", plain).strip("._-")
    if found and all(letter.isascii() or not letter.isalnum() for letter in plain):
        return found
    return f"{found}-{_short(text)}".strip("-")  # letters were lost


def _short(text: str) -> str:
    """A few letters that are others for another text."""
    text = unicodedata.normalize("NFC", text)
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:6]


def sort(place: Path, set_name: str) -> list[Found]:
    """Whose each file below a folder is."""
    found = [one for path, inside in _theirs(place) for one in _whose(path, inside, set_name)]
    # Names that have become the same, also where no difference is made between a and A.
    names: dict[str, set[str]] = {}
    for one in found:
        names.setdefault(one.student.casefold(), set()).add(one.name)
    return [
        replace(one, student=f"{one.student}-{_short(one.name)}")
        if len(names[one.student.casefold()]) > 1 and not one.student.isdecimal()
        else one
        for one in found
    ]


def _theirs(place: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Files below a folder that people have put there, and the parts of their paths in it."""
    for path in sorted(place.rglob("*")):
        inside = path.relative_to(place).parts
        hidden = any(part.startswith(".") or part in NOT_THEIRS for part in inside)
        if not hidden and path.is_file() and not path.is_symlink():
            yield path, inside


def _whose(path: Path, inside: tuple[str, ...], set_name: str) -> list[Found]:
    """The file, if it is one that counts."""
    first = unicodedata.normalize("NFC", inside[0]).encode(errors="replace").decode()
    last, within = inside[-1], inside[1:-1]
    if match := MOODLE.match(first):
        file = last if len(inside) > 1 else match["file"] or last
        found = [Found(match["id"], match["name"], path, file, within=within)]
    elif len(inside) == 1 and (match := CANVAS.match(first)):
        found = [Found(match["id"], match["name"], path, match["file"])]
        if again := AGAIN.match(match["file"]):
            file, number = again["stem"] + again["suffix"], int(again["number"])
            # Numbered by Canvas, or by the student: a cell may open "table-2.csv".
            other = [] if again["suffix"] in (".ipynb", ".zip") else found
            found = [*other, replace(found[0], file=file, again=number)]
    elif len(inside) == 1:
        # A file for each student; lists are the platform's.
        stem = re.split(r"\.ipynb|\.zip", first, flags=re.IGNORECASE)[0]
        if stem == first and path.suffix.lower() in LISTS:
            return []
        stem = Path(first).stem if stem == first else stem
        name = re.sub(rf"[ _-]*{re.escape(set_name)}[ _-]*", "", stem) or stem
        return [Found(student_id(name), name, path, last)]
    else:
        # student/file, or student/set/file as nbgrader has it, which may be of another set.
        if within[:1] == (set_name,):
            return [Found(student_id(first), first, path, last, within=within[1:])]
        folder = path.parents[len(within) - 1]
        if within and folder.name in OTHER_SETS and (folder / f"{folder.name}.ipynb").is_file():
            return []
        found = [Found(student_id(first), first, path, last, within=within)]
    return [one for one in found if one.file != TIME]


def unpacked(given: Path, into: Path) -> Path:
    """The folder itself, or what is in a zip file.

    Raises:
        ValueError: if it is neither, damaged, too large, or wants to write outside its place.
    """
    if given.is_dir():
        return _inner(given, of_platform=True)
    if not zipfile.is_zipfile(given):
        raise ValueError(f"{given} is neither a folder nor a zip file")
    _unpack(given, into, MOST_FILES, MOST_BYTES)
    return _inner(into, of_platform=False)


def _inner(folder: Path, of_platform: bool) -> Path:
    """The folder, or the one in it: the zip file of a folder has the folder in it."""
    inside = _shown(folder)
    if len(inside) != 1 or not inside[0].is_dir() or MOODLE.match(inside[0].name):
        return folder
    within = _shown(inside[0])
    names = {path.name for path in within}
    if any(MOODLE.match(name) or CANVAS.match(name) for name in names):
        return inside[0]
    people = all(path.is_dir() for path in within) and not names & OTHER_SETS
    people |= all(".ipynb" in name for name in names)
    return inside[0] if people and len(names) > 1 and not of_platform else folder


def _shown(folder: Path) -> list[Path]:
    """What lies in a folder, but for what platforms and systems put there."""
    paths = [path for path in folder.iterdir() if path.suffix.lower() not in LISTS]
    return [path for path in paths if path.name[0] != "." and path.name not in NOT_THEIRS]


def _unpack(given: Path, into: Path, most_files: int, most_bytes: int) -> None:
    """Files of a zip file; no links.

    Raises:
        ValueError: if it is damaged, too large, or wants to write outside its place.
    """
    into.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(given) as archive:
            entries = archive.infolist()
            size = sum(entry.file_size for entry in entries)
            if len(entries) > most_files or size > most_bytes:
                raise ValueError(
                    f"{given.name} is too large: {len(entries)} files, {size // 2**20} MiB"
                )
            for entry in entries:
                parts = [part for part in re.split(r"[\\/]", entry.filename) if part != "."]
                target = into.joinpath(*filter(None, parts))
                if ".." in parts or not parts[0] or re.match("[A-Za-z]:$", parts[0]):
                    raise ValueError(
                        f"{given.name} holds a file outside its place: {entry.filename}"
                    )
                if parts[-1] and not stat.S_ISLNK(entry.external_attr >> 16):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(entry) as packed, open(target, "wb") as file:
                        shutil.copyfileobj(packed, file)  # no more than the entry's size
    except DAMAGED as error:
        raise ValueError(f"{given.name} is a damaged zip file: {error}") from error


def collect(given: Path, received: Path, set_name: str) -> Iterator[tuple[str, str, int]]:
    """Copies submissions into `received/STUDENT/SET`, each student's as a whole.

    Of several attempts of one file the last counts. Yields id, name and number of files of each
    student.

    Raises:
        ValueError: if nothing can be collected from there, or a file cannot be copied.
    """
    for old in received.glob(f"*/{set_name}.old"):  # left by a collection that was interrupted
        if not old.with_name(set_name).exists():
            old.rename(old.with_name(set_name))
    with tempfile.TemporaryDirectory() as made:
        found = sort(unpacked(given, Path(made) / "class"), set_name)
        for student in sorted({one.student for one in found}):
            own = [one for one in found if one.student == student]
            files = _by_name(_opened(own, Path(made) / "own" / student))
            new = received / student / f"{set_name}.new"
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            for name, one in files.items():
                try:
                    shutil.copyfile(one.path, new / name)
                except OSError as error:
                    raise ValueError(f"{one.path} cannot be copied: {error.strerror}") from error
            _put(new, new.with_name(set_name))
            yield student, own[-1].name, len(files)


def _put(new: Path, target: Path) -> None:
    """Puts a folder in the place of another; at no time there is a part of one."""
    old = target.with_name(f"{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _opened(own: list[Found], made: Path) -> list[Found]:
    """Files of a student, with those of a zip file in its place, if it can be opened."""
    found = []
    for number, one in enumerate(own):
        place = made / str(number)
        try:
            if not one.file.lower().endswith(".zip"):
                raise ValueError
            _unpack(one.path, place, OWN_FILES, OWN_BYTES)
        except ValueError:
            found.append(one)
            continue
        for path, inside in _theirs(place):
            within = (*one.within, *inside[:-1])
            if path.name != TIME:
                found.append(replace(one, path=path, file=path.name, within=within))
    return found


def _by_name(own: list[Found]) -> dict[str, Found]:
    """The files that count, all in one folder.

    A later attempt goes before an earlier one, the file itself before one of its name in a folder.
    What is not the first of its name has that of its folder, too, so that nothing is lost.
    """
    found: dict[str, Found] = {}
    for again in sorted({one.again for one in own}):
        attempt = [one for one in own if one.again == again]
        for one in attempt:
            alike = [f for f in attempt if f.file == one.file and f is not one]
            first = all(len(one.within) < len(f.within) for f in alike)
            found[one.file if first else "_".join((*one.within, one.file))[-200:]] = one
    return found
