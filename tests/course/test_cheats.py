"""No cheat gains a point, and what was answered honestly beside it keeps its points."""

from __future__ import annotations

import json
import re
import socket
import threading
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import small_set
from cheats import CHEATS, EDITS, GROUPS, SEED, SOLUTION, SUM, Cheat
from small_set import NAME, RIGHT

from course import judge, sandbox
from course.collecting import collect
from course.judge import Marks
from course.sandbox import Limits
from course.tasks import ProblemSet

LIMITS = Limits(memory=1500, disk=64, processes=32, start=120.0, cell=10.0, total=240.0)
IMPATIENT = replace(LIMITS, cell=3.0)
BITE = [cheat for cheat in CHEATS if cheat.bites]


class Desk:
    """Where submissions are judged: a course's folder, and a server that has the solution."""

    def __init__(self, place: Path, port: int):
        self.place, self.port = place, port
        self.course = place / "course"
        self.course.mkdir()
        (self.course / "seed.txt").write_text(SEED)
        (self.course / "gradebook.db").write_text("")
        self._numbers = iter(range(1000))

    def mark(
        self,
        small: ProblemSet,
        notebook: dict[str, Any],
        cheats: Sequence[Cheat] = (),
        limits: Limits = LIMITS,
    ) -> Marks:
        number = next(self._numbers)
        release = small_set.release(self.place / f"release {number}", small)
        files = {name: text for cheat in cheats for name, text in cheat.files.items()}
        folder = small_set.hand_in(self.place / f"handed in {number}", notebook, files)
        for name, target in ((n, t) for cheat in cheats for n, t in cheat.links.items()):
            (folder / name).symlink_to(target)
        return judge.mark(folder, release, small, SEED, limits, slot=number)

    def try_out(self, cheats: Sequence[Cheat], limits: Limits = LIMITS) -> Marks:
        """Marks of a submission with some cheats, each as the answer to a copy of its task."""
        small = small_set.problem_set([cheat.task for cheat in cheats], cheats[0].seconds)
        answers, cells = dict(RIGHT), []
        for cheat, task in zip(cheats, small.tasks, strict=False):
            text = cheat.answer.replace("@PORT@", str(self.port))
            text = text.replace("@FOLDER@", str(self.course))
            own = task.function.rsplit("_", 1)[0]
            answers[task.key] = text.replace(f"def {own}(", f"def {task.function}(")
            cells += cheat.cells
        return self.mark(small, small_set.answered(small, answers, cells), cheats, limits)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    assert sandbox.how() == "bubblewrap"

    def serve() -> None:
        while True:
            try:
                connection = server.accept()[0]
            except OSError:
                return
            with connection:
                connection.sendall(b"features.mean(dim=(1, 2))")

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield Desk(tmp_path_factory.mktemp("desk"), server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)


@dataclass
class Result:
    """What became of a cheat: the marks of its submission, and its place in it."""

    marks: Future[Marks]
    place: int


@pytest.fixture(scope="module")
def results(desk: Desk, request: pytest.FixtureRequest) -> Iterator[dict[str, Result]]:
    """The cheats whose tests were chosen, judged two submissions at a time."""
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    chosen = {c.params["cheat"].name for c in calls if c and "cheat" in c.params}
    groups = [[cheat for cheat in group if not cheat.apart] for group in GROUPS]
    groups += [[cheat] for cheat in CHEATS if cheat.apart]
    found = {}
    with ThreadPoolExecutor(2) as pool:
        for group in reversed(groups):
            if kept := [cheat for cheat in group if cheat.name in chosen]:
                marks = pool.submit(desk.try_out, kept, IMPATIENT if len(kept) == 1 else LIMITS)
                found |= {cheat.name: Result(marks, i) for i, cheat in enumerate(kept)}
        yield found
        pool.shutdown(cancel_futures=True)


def test_an_honest_submission_gets_all_points(desk: Desk):
    small = small_set.problem_set()
    marks = desk.mark(small, small_set.answered(small, RIGHT))
    assert [task["said"] for task in marks.tasks.values()] == ["right"] * 3
    assert marks.points == 60
    assert marks.notes == []


@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.name)
def test_a_cheat_gains_nothing(cheat: Cheat, results: dict[str, Result]):
    marks = results[cheat.name].marks.result(timeout=300)
    assert marks.unreadable == ""
    attacked = marks.tasks[f"{cheat.task}{results[cheat.name].place:02d}"]
    assert (attacked["points"], attacked["of"]) == (0, 1)
    assert re.search(cheat.says, attacked["said"]), attacked["said"]
    assert len(attacked["said"]) < 1000
    honest = {key: (marks.tasks[key]["said"], marks.tasks[key]["points"]) for key in RIGHT}
    assert cheat.costly or honest == dict.fromkeys(RIGHT, ("right", 20))
    assert set(cheat.notes) <= set(marks.notes)


@pytest.mark.parametrize("bad", BITE, ids=lambda cheat: cheat.name)
def test_a_cheat_that_looks_would_see_where_nothing_is_closed(bad: Cheat, unclosed: Marks):
    assert unclosed.tasks[f"9.1{BITE.index(bad):02d}"]["points"] == 1


@pytest.fixture(scope="module")
def unclosed(desk: Desk) -> Marks:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_SANDBOX", sandbox.UNSAFE)
        return desk.try_out(BITE)


@pytest.fixture(scope="module")
def edited(desk: Desk) -> Marks:
    small = small_set.problem_set(["9.1"] * len(EDITS))
    wrong = {task.key: SUM.replace("average", task.function) for task in small.tasks[: len(EDITS)]}
    notebook = small_set.answered(small, RIGHT | wrong)
    for i, edit in enumerate(EDITS.values()):
        edit(*notebook["cells"][1 + 2 * i : 3 + 2 * i])
    return desk.mark(small, notebook)


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_notebook_gains_nothing(name: str, edited: Marks):
    task = edited.tasks[f"9.1{list(EDITS).index(name):02d}"]
    assert (task["points"], task["of"]) == (0, 1)
    assert (edited.points, edited.unreadable) == (60, "")


def test_a_notebook_that_links_to_a_solution_is_not_read(tmp_path: Path):
    small = small_set.problem_set()
    release = small_set.release(tmp_path / "release", small)
    solved = tmp_path / "solved.ipynb"
    solved.write_text(json.dumps(small_set.answered(small, RIGHT)))
    for name in (f"{NAME}.ipynb", "another.ipynb"):
        folder = tmp_path / name.removesuffix(".ipynb")
        folder.mkdir()
        (folder / name).symlink_to(solved)
        marks = judge.mark(folder, release, small, SEED, LIMITS)
        assert marks.points == 0
        assert "expected one notebook" in marks.unreadable


@pytest.mark.parametrize("name", ["../../seed.ipynb", "/tmp/seed.ipynb", "a/../../seed.ipynb"])
def test_a_name_that_leads_out_of_its_folder_stays_in_it(name: str, tmp_path: Path):
    path = tmp_path / "downloads" / "handed_in.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"ada/{name}", "{}")
    before = set(tmp_path.rglob("*"))
    with suppress(ValueError):  # or it is refused
        list(collect(path, tmp_path / "received", NAME))
    made = {one for one in set(tmp_path.rglob("*")) - before if one.is_file()}
    assert all(one.is_relative_to(tmp_path / "received") for one in made)


def test_a_link_in_a_zip_file_is_not_followed(tmp_path: Path):
    path = tmp_path / "handed_in.zip"
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo(f"ada/{NAME}.ipynb")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, str(SOLUTION))
    list(collect(path, tmp_path / "received", NAME))
    for one in (tmp_path / "received").rglob("*.ipynb"):
        assert not one.is_symlink()
        assert "features.mean" not in one.read_text()
