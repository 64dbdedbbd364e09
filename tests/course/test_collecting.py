"""Whose each file is that a platform hands out, and that a bad one costs itself at most."""

from __future__ import annotations

import io
import os
import random
import shutil
import stat
import unicodedata
import zipfile
from pathlib import Path

import pytest

from course import collecting
from course.collecting import collect, sort, student_id, unpacked

SET, NOTEBOOK = "set1_where", "set1_where.ipynb"
Files = dict[str, str | bytes]
Expected = dict[str, dict[str, str]]  # id of a student: name of a file: content


def write(place: Path, files: Files) -> Path:
    for name, content in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return place


def zipped(files: Files, kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", kind) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def received(place: Path) -> Expected:
    found: Expected = {}
    for path in sorted(place.rglob("*")):
        if path.is_file():
            student, folder, *rest = path.relative_to(place).parts
            assert folder == SET, path
            found.setdefault(student, {})["/".join(rest)] = path.read_text()
    return found


def collected(given: Path, place: Path) -> dict[str, str]:
    """Names of the students that were collected, by their ids."""
    return {student: name for student, name, _ in collect(given, place, SET)}


MOODLE_FOLDERS: Files = {
    f"Ada Lovelace_101_assignsubmission_file_/{NOTEBOOK}": "ada",
    "Ada Lovelace_101_assignsubmission_file_/mine.py": "own",
    f"Ada Lovelace_102_assignsubmission_file_/work/{NOTEBOOK}": "the other Ada",
    f"Zoë O'Brien-Müller_103_assignsubmission_file/{NOTEBOOK}": "zoë",
    "Max_104_assignsubmission_onlinetext_/onlinetext.html": "I could not upload it",
}
MOODLE: Expected = {
    "101": {NOTEBOOK: "ada", "mine.py": "own"},
    "102": {NOTEBOOK: "the other Ada"},
    "103": {NOTEBOOK: "zoë"},
    "104": {"onlinetext.html": "I could not upload it"},
}
CANVAS_FILES: Files = {
    f"lovelaceada_7_900_{NOTEBOOK}": "first",
    "lovelaceada_7_901_set1_where-1.ipynb": "second",
    "lovelaceada_7_902_set1_where-10.ipynb": "tenth",
    "lovelaceada_7_903_set1_where-2.ipynb": "third",
    f"obrien_LATE_8_904_{NOTEBOOK}": "late",
    "obrien_LATE_8_905_helper-1.py": "own",
    "obrien_LATE_8_906_table-2.csv": "1,2",
}
CANVAS: Expected = {
    "7": {NOTEBOOK: "tenth"},
    "8": {
        NOTEBOOK: "late",
        "helper.py": "own",
        "helper-1.py": "own",
        "table.csv": "1,2",
        "table-2.csv": "1,2",
    },
}
FORMS: dict[str, tuple[Files, Expected]] = {
    "Moodle's folders": (MOODLE_FOLDERS, MOODLE),
    "Moodle's flat files": (
        {
            f"Ada Lovelace_101_assignsubmission_file_{NOTEBOOK}": "ada",
            "Ada Lovelace_101_assignsubmission_file_mine.py": "own",
            f"Participant_102_assignsubmission_file_{NOTEBOOK}": "nobody",
        },
        {"101": {NOTEBOOK: "ada", "mine.py": "own"}, "102": {NOTEBOOK: "nobody"}},
    ),
    "Canvas": (CANVAS_FILES, CANVAS),
    "nbgrader": (
        {
            f"ada/{SET}/{NOTEBOOK}": "ada",
            f"ada/{SET}/timestamp.txt": "2027-03-01 10:00:00 UTC",
            "ada/set3_boxes/set3_boxes.ipynb": "another set",
            "ada/set3_boxes/mine.py": "another set",
            f"bob/{SET}/{NOTEBOOK}": "bob",
            "eve/set3_boxes/set3_boxes.ipynb": "another set",
        },
        {
            "ada": {NOTEBOOK: "ada", "timestamp.txt": "2027-03-01 10:00:00 UTC"},
            "bob": {NOTEBOOK: "bob"},
        },
    ),
    "folders": (
        {
            f"Ada Lovelace/{NOTEBOOK}": "ada",
            "Ada Lovelace/data/table_1_2_3.csv": "1",
            "Bob/project/answers.ipynb": "bob",
            "grades.csv": "of the platform",
        },
        {
            "Ada_Lovelace": {NOTEBOOK: "ada", "table_1_2_3.csv": "1"},
            "Bob": {"answers.ipynb": "bob"},
        },
    ),
    "notebooks": (
        {
            "ada.ipynb": "ada",
            f"bob_{NOTEBOOK}": "bob",
            f"{SET}-eve.ipynb": "eve",
            "max.ipynb.txt": "max",
            "joe.rar": "Rar!",
            "index.html": "of the platform",
        },
        {
            "ada": {"ada.ipynb": "ada"},
            "bob": {f"bob_{NOTEBOOK}": "bob"},
            "eve": {f"{SET}-eve.ipynb": "eve"},
            "max": {"max.ipynb.txt": "max"},
            "joe": {"joe.rar": "Rar!"},
        },
    ),
}


@pytest.mark.parametrize(("files", "expected"), FORMS.values(), ids=list(FORMS))
def test_each_platforms_form_is_sorted_by_student(files: Files, expected: Expected, tmp_path: Path):
    given = write(tmp_path / "given", files)
    collected(given, tmp_path / "from folder")
    assert received(tmp_path / "from folder") == expected
    (tmp_path / "given.zip").write_bytes(zipped(files))
    collected(tmp_path / "given.zip", tmp_path / "from zip")
    assert received(tmp_path / "from zip") == expected
    # As a file manager makes a zip file of a folder, on a Mac, and with Windows' slashes.
    wrapped = {f"downloads/{name}": content for name, content in files.items()}
    wrapped |= {"__MACOSX/downloads/._x": "", "downloads/.DS_Store": "", "downloads/Thumbs.db": ""}
    if "joe.rar" not in files:  # with it, it could be one student's folder
        (tmp_path / "wrapped.zip").write_bytes(zipped(wrapped))
        collected(tmp_path / "wrapped.zip", tmp_path / "from wrapped")
        assert received(tmp_path / "from wrapped") == expected
    if files in (MOODLE_FOLDERS, CANVAS_FILES):
        collected(write(tmp_path / "wrapped", wrapped), tmp_path / "from wrapped folder")
        assert received(tmp_path / "from wrapped folder") == expected
    slashes = {name.replace("/", "\\"): content for name, content in files.items()}
    (tmp_path / "windows.zip").write_bytes(zipped(slashes))
    collected(tmp_path / "windows.zip", tmp_path / "from Windows")
    assert received(tmp_path / "from Windows") == expected


def test_names_are_as_the_platform_has_them(tmp_path: Path):
    given = write(tmp_path / "moodle", MOODLE_FOLDERS)
    names = collected(given, tmp_path / "received")
    assert names == {
        "101": "Ada Lovelace",
        "102": "Ada Lovelace",  # two of one name are two
        "103": "Zoë O'Brien-Müller",
        "104": "Max",
    }
    given = write(tmp_path / "canvas", CANVAS_FILES)
    assert collected(given, tmp_path / "received") == {"7": "lovelaceada", "8": "obrien"}
    given = write(tmp_path / "plain", {"Zoë O'Brien/a.ipynb": ""})
    assert collected(given, tmp_path / "received") == {"Zoe_O_Brien": "Zoë O'Brien"}


def test_ids_are_names_of_folders_and_never_shared():
    names = ["Ada Lovelace", "李雷", "韩梅梅", "Юрий", "Жанна", "Bjørn", "Bjärn", "Łukasz"]
    names += ["Lukasz", "Max"]
    names += ["ada@example.org", "12345", "Zoë", "...", "", "😀", "a/b", "-rf", "Ωmega", "ß", "ss"]
    ids = [student_id(name) for name in names]
    for one in ids:
        assert one
        assert one.isascii()
        assert Path(one).name == one
        assert one[0] not in ".-_"
    assert len(set(ids)) == len(ids)
    assert ids[0] == "Ada_Lovelace"
    assert student_id("ada@example.org") == "ada@example.org"
    # A Mac takes letters apart; the student is the same.
    for name in names:
        assert student_id(unicodedata.normalize("NFD", name)) == student_id(name)


def test_students_whose_names_become_alike_stay_apart(tmp_path: Path):
    names = ["Jose", "José", "jose", "Jo.se", "A B", "A_B", "Max", "MAX"]
    given = write(tmp_path / "given", {f"{name}/{NOTEBOOK}": name for name in names})
    found = collected(given, tmp_path / "received")
    assert sorted(found.values()) == sorted(names)
    assert {one: files[NOTEBOOK] for one, files in received(tmp_path / "received").items()} == found
    assert len({one.casefold() for one in found}) == len(names)
    # The same ids whatever the order and the form.
    (tmp_path / "given.zip").write_bytes(
        zipped({f"{name}/{NOTEBOOK}": name for name in reversed(names)})
    )
    assert collected(tmp_path / "given.zip", tmp_path / "again") == found


def test_what_is_not_theirs_is_left_out(tmp_path: Path):
    junk = [".DS_Store", "__MACOSX/._a", "ada/.DS_Store", "ada/.ipynb_checkpoints/a.ipynb"]
    junk += ["ada/__MACOSX/._a.ipynb", "ada/__pycache__/a.pyc", ".hidden/a.ipynb", "Thumbs.db"]
    junk += ["ada/venv/lib/site-packages/numpy/a.py", "ada/timestamp.txt", "desktop.ini"]
    given = write(tmp_path / "given", {f"ada/{NOTEBOOK}": "ada", **dict.fromkeys(junk, "junk")})
    (given / "bob").mkdir()  # handed in nothing
    collected(given, tmp_path / "received")
    assert received(tmp_path / "received") == {"ada": {NOTEBOOK: "ada"}}


def test_a_students_word_on_when_it_was_handed_in_does_not_count(tmp_path: Path):
    early = "2001-01-01 00:00:00 UTC"
    inner = zipped({NOTEBOOK: "x", "timestamp.txt": early})
    files: Files = {
        "Ada_1_assignsubmission_file_/timestamp.txt": early,
        f"Ada_1_assignsubmission_file_/{NOTEBOOK}": "x",
        "lovelace_2_3_timestamp.txt": early,
        f"lovelace_2_3_{NOTEBOOK}": "x",
        "eve/timestamp.txt": early,
        f"eve/{NOTEBOOK}": "x",
        f"max/{SET}/work.zip": inner,
    }
    collected(write(tmp_path / "given", files), tmp_path / "received")
    found = received(tmp_path / "received")
    assert set(found) == {"1", "2", "eve", "max"}
    assert all(set(kept) == {NOTEBOOK} for kept in found.values())


# ---- zip files ----


def test_a_students_own_zip_file_is_unpacked(tmp_path: Path):
    inner = zipped({f"{SET}/{NOTEBOOK}": "inside", f"{SET}/mine.py": "own", "__MACOSX/._a": ""})
    files: Files = {
        "Ada_1_assignsubmission_file_/work.zip": inner,
        "lovelace_2_3_work-1.zip": inner,
        "lovelace_2_3_work.zip": zipped({NOTEBOOK: "an older one"}),
        "bob.zip": inner,
        "eve/Work.ZIP": inner,
        f"eve/{NOTEBOOK}": "beside it",
    }
    collected(write(tmp_path / "given", files), tmp_path / "received")
    whole = {NOTEBOOK: "inside", "mine.py": "own"}
    assert received(tmp_path / "received") == {
        "1": whole,
        "2": whole,
        "bob": whole,
        # The file itself goes before one in a folder, and nothing is lost.
        "eve": {NOTEBOOK: "beside it", "mine.py": "own", f"{SET}_{NOTEBOOK}": "inside"},
    }


def bomb() -> bytes:
    return zipped(dict.fromkeys((f"{i}.txt" for i in range(3)), b"\0" * 2**20))


def with_password() -> bytes:
    """A file that says of itself that it has a password."""
    data = bytearray(zipped({NOTEBOOK: "x"}))
    for sign, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(sign) + offset] |= 1
    return bytes(data)


def packed_as(kind: int) -> bytes:
    """A file that says of itself that it was packed in another way."""
    data = bytearray(zipped({NOTEBOOK: "x" * 100}))
    for sign, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        data[data.index(sign) + offset] = kind
    return bytes(data)


def with_a_link(target: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        link = zipfile.ZipInfo(NOTEBOOK)
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, target)
        archive.writestr("mine.py", "own")
    return made.getvalue()


WHOLE = zipped({NOTEBOOK: "x" * 1000 + "".join(map(str, range(500)))})
BAD: dict[str, tuple[bytes, str]] = {
    "traversal": (zipped({"../../evil.txt": "x"}), "outside its place: ../../evil.txt"),
    "inner traversal": (zipped({"a/../../evil.txt": "x"}), "outside its place"),
    "Windows traversal": (zipped({"..\\evil.txt": "x"}), "outside its place"),
    "a drive": (zipped({"C:\\evil.txt": "x"}), "outside its place"),
    "many bytes": (bomb(), "is too large: 3 files, 3 MiB"),
    "many files": (zipped({f"{i}.txt": "" for i in range(50)}), "is too large: 50 files, 0 MiB"),
    "cut off": (WHOLE[:-30], "neither a folder nor a zip file"),
    "damaged": (WHOLE.replace(WHOLE[60:90], b"\xff" * 30), "is a damaged zip file"),
    "password": (with_password(), "is a damaged zip file: .*password"),
    "LZMA": (packed_as(zipfile.ZIP_LZMA), "is a damaged zip file"),
    "bzip2": (packed_as(zipfile.ZIP_BZIP2), "is a damaged zip file"),
    "packed somehow": (packed_as(99), "is a damaged zip file: .*method"),
    "no letters": (zipped({"ü": "x"}).replace(b"\xc3\xbc", b"\xff\xff"), "is a damaged zip file"),
    "a file as a folder": (zipped({"a": "x", "a/b": "y"}), "is a damaged zip file"),
    "a long name": (zipped({"a" * 300: "x"}), "is a damaged zip file: .*too long"),
    "empty": (b"", "neither a folder nor a zip file"),
    "no zip": (b"PK\x03\x04 but no more", "neither a folder nor a zip file"),
}


@pytest.mark.parametrize(("content", "sentence"), BAD.values(), ids=list(BAD))
def test_a_bad_zip_file_is_refused_in_words_and_costs_one_student(
    content: bytes, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("MOST_BYTES", "OWN_BYTES"):
        monkeypatch.setattr(collecting, name, 2**20)
    for name in ("MOST_FILES", "OWN_FILES"):
        monkeypatch.setattr(collecting, name, 20)
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    (place / "class.zip").write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        list(collect(place / "class.zip", place / "received", SET))
    assert not (place / "received").exists()
    given = write(place / "class", {"ada/work.zip": content, f"bob/{NOTEBOOK}": "bob"})
    found = {student: files for student, _, files in collect(given, place / "received", SET)}
    # What could not be opened is there, so that whoever looks for a notebook is told of it.
    assert found == {"ada": 1, "bob": 1}
    assert (place / "received" / "ada" / SET / "work.zip").read_bytes() == content
    assert not list(tmp_path.rglob("evil*"))


def test_no_file_is_written_where_its_whole_path_says(tmp_path: Path):
    (tmp_path / "class.zip").write_bytes(zipped({str(tmp_path / "evil.txt"): "x"}))
    with pytest.raises(ValueError, match="holds a file outside its place: /"):
        collected(tmp_path / "class.zip", tmp_path / "received")
    assert not (tmp_path / "evil.txt").exists()


def test_links_lead_nowhere(tmp_path: Path):
    secret = tmp_path / "secret.txt"
    secret.write_text("the seed")
    (tmp_path / "class.zip").write_bytes(zipped({"ada/work.zip": with_a_link(str(secret))}))
    collected(tmp_path / "class.zip", tmp_path / "received")
    (tmp_path / "bob.zip").write_bytes(with_a_link(str(secret)))
    collected(tmp_path / "bob.zip", tmp_path / "received")
    given = write(tmp_path / "given", {"eve/mine.py": "own"})
    os.symlink(secret, given / "eve" / NOTEBOOK)
    os.symlink(tmp_path, given / "eve" / "folder")
    os.symlink(tmp_path / "nothing", given / "eve" / "broken.ipynb")
    os.symlink(tmp_path, given / "max")
    collected(given, tmp_path / "received")
    found = received(tmp_path / "received")
    assert found == {"ada": {"mine.py": "own"}, "mine": {"mine.py": "own"}, "eve": found["eve"]}
    assert found["eve"] == {"mine.py": "own"}


def test_a_zip_file_in_a_students_zip_file_stays_one(tmp_path: Path):
    content = zipped({"inner.zip": zipped({NOTEBOOK: "x"})})
    given = write(tmp_path / "given", {"ada/work.zip": content})
    collected(given, tmp_path / "received")
    (path,) = (tmp_path / "received" / "ada" / SET).iterdir()
    assert path.name == "inner.zip"


def test_no_damage_of_a_zip_file_ends_in_another_error(tmp_path: Path):
    rng = random.Random(0)
    path = tmp_path / "a.zip"
    kinds = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    files: Files = {"ada/a.ipynb": "x" * 50, "bob/ü.ipynb": "y" * 50}
    good = [zipped(files, kind) for kind in kinds]
    ended = 0
    for i in range(120):
        data = bytearray(good[i % 4])
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        try:
            unpacked(path, tmp_path / str(i))
        except ValueError:
            ended += 1
        shutil.rmtree(tmp_path / str(i), ignore_errors=True)
    assert 40 < ended < 120


def test_what_is_no_collection_is_said_to_be_none(tmp_path: Path):
    for name in ("nothing.zip", "a.ipynb"):
        if name == "a.ipynb":
            (tmp_path / name).write_text("{}")
        with pytest.raises(ValueError, match=f"{name} is neither a folder nor a zip file"):
            list(collect(tmp_path / name, tmp_path / "received", SET))
    (tmp_path / "empty").mkdir()
    assert list(collect(tmp_path / "empty", tmp_path / "received", SET)) == []
    (tmp_path / "empty.zip").write_bytes(zipped({}))
    assert list(collect(tmp_path / "empty.zip", tmp_path / "received", SET)) == []


# ---- several files of a name ----


def test_files_of_one_name_are_all_kept(tmp_path: Path):
    files: Files = {
        f"ada/{NOTEBOOK}": "top",
        f"ada/old/{NOTEBOOK}": "old",
        f"bob/first/{NOTEBOOK}": "first",
        f"bob/second/{NOTEBOOK}": "second",
        "bob/second/deep/data.csv": "1",
    }
    collected(write(tmp_path / "given", files), tmp_path / "received")
    assert received(tmp_path / "received") == {
        "ada": {NOTEBOOK: "top", f"old_{NOTEBOOK}": "old"},
        # Which one is meant, nobody knows: neither has the right name.
        "bob": {f"first_{NOTEBOOK}": "first", f"second_{NOTEBOOK}": "second", "data.csv": "1"},
    }


def test_a_zip_file_of_one_students_folder_is_one_student(tmp_path: Path):
    for number, files in enumerate(
        [
            {f"ada/{NOTEBOOK}": "x", "ada/mine.py": "own"},
            {f"ada/{SET}/{NOTEBOOK}": "x", "ada/set3_boxes/set3_boxes.ipynb": "boxes"},
            {f"ada/{NOTEBOOK}": "x"},
        ]
    ):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(zipped({**files}))
        assert collected(path, tmp_path / str(number)) == {"ada": "ada"}
    class_of_notebooks = zipped({"class/ada.ipynb": "x", "class/bob.ipynb": "y"})
    (tmp_path / "class.zip").write_bytes(class_of_notebooks)
    assert set(collected(tmp_path / "class.zip", tmp_path / "class")) == {"ada", "bob"}


def test_a_student_is_one_in_folders_and_files(tmp_path: Path):
    given = write(tmp_path / "given", {"ada.ipynb": "1", f"ada_{NOTEBOOK}": "2"})
    assert [(one.student, one.file) for one in sort(given, SET)] == [
        ("ada", "ada.ipynb"),
        ("ada", f"ada_{NOTEBOOK}"),
    ]


# ---- again, and not to the end ----


def test_a_second_time_gives_the_same(tmp_path: Path):
    given = write(tmp_path / "given", CANVAS_FILES)
    for _ in range(2):
        collected(given, tmp_path / "received")
        assert received(tmp_path / "received") == CANVAS


def test_a_later_collection_replaces_whole_submissions_and_keeps_the_others(tmp_path: Path):
    first = {f"{name}/{NOTEBOOK}": f"{name} first" for name in ("ada", "bob")}
    collected(write(tmp_path / "1", {**first, "ada/helper.py": "old"}), tmp_path / "received")
    second: Files = {f"ada/{NOTEBOOK}": "ada second", f"eve/{NOTEBOOK}": "eve"}
    collected(write(tmp_path / "2", second), tmp_path / "received")
    assert received(tmp_path / "received") == {
        "ada": {NOTEBOOK: "ada second"},
        "bob": {NOTEBOOK: "bob first"},
        "eve": {NOTEBOOK: "eve"},
    }


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_interrupted_nothing_is_half_replaced(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    names = ("ada", "bob", "eve")
    old = {f"{name}/{file}": "old" for name in names for file in (NOTEBOOK, "helper.py")}
    new = {name: "new" for name in old}
    place = tmp_path / "received"
    collected(write(tmp_path / "1", {**old}), place)
    given = write(tmp_path / "2", {**new})
    copied = shutil.copyfile
    count = 0

    def copy_three(source: Path, target: Path) -> object:
        nonlocal count
        count += 1
        if count == 4:  # the second file of the second student
            raise error(28, "No space left on device")
        return copied(source, target)

    monkeypatch.setattr(shutil, "copyfile", copy_three)
    expected = ValueError if error is OSError else error
    with pytest.raises(expected) as caught:
        collected(given, place)
    if error is OSError:
        assert str(caught.value).endswith("cannot be copied: No space left on device")
    for name, state in (("ada", "new"), ("bob", "old"), ("eve", "old")):
        files = {path.name: path.read_text() for path in (place / name / SET).iterdir()}
        assert files == {NOTEBOOK: state, "helper.py": state}
    # The next one takes it up, and nothing of the first is left.
    collected(given, place)
    assert received(place) == {n: {NOTEBOOK: "new", "helper.py": "new"} for n in names}


def test_interrupted_between_two_names_the_old_one_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    place = tmp_path / "received"
    collected(write(tmp_path / "1", {f"ada/{NOTEBOOK}": "old"}), place)
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if self.name.endswith(".new"):
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(KeyboardInterrupt):
        collected(write(tmp_path / "2", {f"ada/{NOTEBOOK}": "new"}), place)
    monkeypatch.undo()
    # Ada is in no later collection: what she handed in first is there all the same.
    collected(write(tmp_path / "3", {f"bob/{NOTEBOOK}": "bob"}), place)
    shutil.rmtree(place / "ada" / f"{SET}.new")
    assert received(place) == {"ada": {NOTEBOOK: "old"}, "bob": {NOTEBOOK: "bob"}}


def test_other_sets_of_a_student_stay(tmp_path: Path):
    other = write(tmp_path / "received", {"ada/set3_boxes/set3_boxes.ipynb": "boxes"})
    collected(write(tmp_path / "given", {f"ada/{NOTEBOOK}": "where"}), other)
    assert (other / "ada" / "set3_boxes" / "set3_boxes.ipynb").read_text() == "boxes"
    assert (other / "ada" / SET / NOTEBOOK).read_text() == "where"
