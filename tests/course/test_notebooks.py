"""What is read from notebooks as students hand them in, damaged in every way thought of."""

from __future__ import annotations

import copy
import json
import math
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbconvert import HTMLExporter
from released_example import (
    MEAN,
    NAME,
    SET,
    STUB,
    TOTAL,
    WHERE,
    WHY,
    at,
    expect_valid,
    handed_in,
    own,
    place,
    released,
    right,
    shown,
    strip,
    submitted,
)

from course import notebooks
from course.notebooks import Unreadable, find, merged, read, read_cells, source

ALL = {"8.1", "8.2"}
Notebook = dict[str, Any]


# ---- what is wrong, and what is still right ----


def no_damage(n: Notebook) -> None:
    pass


def all_at_one_line(n: Notebook) -> None:
    for cell in n["cells"]:
        cell["source"] = source(cell)


def reversed_cells(n: Notebook) -> None:
    n["cells"].reverse()


def shuffled_cells(n: Notebook) -> None:
    random.Random(5).shuffle(n["cells"])


def import_at_the_end(n: Notebook) -> None:
    at(n, "answer-8-1")["source"] = "CENTS = np.ones(1)\n" + TOTAL
    n["cells"].append(own("import numpy as np"))


def checks_deleted(n: Notebook) -> None:
    n["cells"] = [c for c in n["cells"] if not notebooks.grade_id(c).startswith("task-")]


def all_but_answers_deleted(n: Notebook) -> None:
    kept = ("answer-", "written-")
    n["cells"] = [c for c in n["cells"] if notebooks.grade_id(c).startswith(kept)]


def checks_edited(n: Notebook) -> None:
    at(n, "task-8-1")["source"] = 'print("Right so far")'


def points_edited(n: Notebook) -> None:
    at(n, "task-8-1")["metadata"]["nbgrader"]["points"] = 1000
    at(n, "task-8-2")["metadata"]["nbgrader"]["grade"] = False


def ids_swapped(n: Notebook) -> None:
    first, second = at(n, "answer-8-1"), at(n, "answer-8-2")
    first["metadata"], second["metadata"] = second["metadata"], first["metadata"]


def ids_of_written_swapped(n: Notebook) -> None:
    first, second = at(n, "written-8-3"), at(n, "written-8-4")
    first["metadata"], second["metadata"] = second["metadata"], first["metadata"]


def one_id_for_all(n: Notebook) -> None:
    for cell in n["cells"]:
        cell["metadata"] = copy.deepcopy(at(released(), "answer-8-1")["metadata"])


def id_of_an_answer_on_a_text(n: Notebook) -> None:
    n["cells"][:0] = [own("My notes", "markdown", metadata=at(n, "answer-8-1")["metadata"])]


def id_of_a_locked_cell_on_an_answer(n: Notebook) -> None:
    at(n, "answer-8-1")["metadata"] = copy.deepcopy(at(n, "given")["metadata"])


def metadata_is_no_dictionary(n: Notebook) -> None:
    for i, cell in enumerate(n["cells"]):
        cell["metadata"] = [None, [], "x", {"nbgrader": None}, {"nbgrader": {"grade_id": 3}}][i % 5]


def both_in_one_cell(n: Notebook) -> None:
    at(n, "answer-8-1")["source"] = f"{TOTAL}\n\n\n{MEAN}"
    del n["cells"][place(n, "answer-8-2")]


def both_in_one_cell_and_the_stub_left(n: Notebook) -> None:
    at(n, "answer-8-1")["source"] = f"{TOTAL}\n\n\n{MEAN}"
    at(n, "answer-8-2")["source"] = STUB.format("mean", "mean")


def both_in_a_cell_of_ones_own(n: Notebook) -> None:
    for identity in ("answer-8-1", "answer-8-2"):
        at(n, identity)["source"] = at(released(), identity)["source"]
    n["cells"].insert(0, own(f"{TOTAL}\n\n\n{MEAN}"))


def answers_emptied_and_written_below(n: Notebook) -> None:
    at(n, "answer-8-1")["source"] = []
    n["cells"].append(own(TOTAL))


def a_wrong_try_above(n: Notebook) -> None:
    n["cells"].insert(0, own("def total(values):\n    return 0"))


def decorated(n: Notebook) -> None:
    at(n, "answer-8-1")["source"] = f"import functools\n\n@functools.wraps(sum)\n{TOTAL}"


def a_lambda(n: Notebook) -> None:
    at(n, "answer-8-1")["source"] = "total = lambda values: sum(values)"


def an_annotated_name(n: Notebook) -> None:
    at(n, "answer-8-1")["source"] = "total: object = sum"


def an_object_that_can_be_called(n: Notebook) -> None:
    text = "class Total:\n    def __call__(self, values):\n        return sum(values)"
    at(n, "answer-8-1")["source"] = f"{text}\n\n\ntotal = Total()"


def a_class(n: Notebook) -> None:
    text = "class total(float):\n    def __new__(cls, values):\n        return float(sum(values))"
    at(n, "answer-8-1")["source"] = text


def imported(n: Notebook) -> None:
    at(n, "answer-8-1")["source"] = "from math import fsum as total"


def imported_among_others(n: Notebook) -> None:
    at(n, "answer-8-1")["source"] = "from builtins import (\n    len,\n    sum as total,\n)"


def imported_above_and_the_stub_left(n: Notebook) -> None:
    at(n, "answer-8-1")["source"] = at(released(), "answer-8-1")["source"]
    n["cells"].insert(0, own("from math import fsum as total"))


def answer_as_text(n: Notebook) -> None:
    at(n, "answer-8-1")["cell_type"] = "markdown"


def answer_as_raw(n: Notebook) -> None:
    at(n, "answer-8-1")["cell_type"] = "raw"


def answer_as_text_in_a_fence(n: Notebook) -> None:
    cell = at(n, "answer-8-1")
    cell["cell_type"], cell["source"] = "markdown", f"Here it is:\n```python\n{TOTAL}\n```\nDone."


def all_text_as_code(n: Notebook) -> None:
    for cell in n["cells"]:
        cell["cell_type"] = "code"


def timed(n: Notebook) -> None:
    at(n, "answer-8-1")["source"] = f"%%time\n{TOTAL}"


def renamed(n: Notebook) -> None:
    at(n, "answer-8-1")["source"] = TOTAL.replace("total", "my_total")


def locked_cell_edited(n: Notebook) -> None:
    at(n, "given")["source"] = "import math\nimport statistics\n\nSIZE = 1"
    at(n, "answer-8-2")["source"] = "def mean(values):\n    return statistics.fmean(values[:SIZE])"


def windows_lines(n: Notebook) -> None:
    for cell in n["cells"]:
        cell["source"] = source(cell).replace("\n", "\r\n")


def cells_between(n: Notebook) -> None:
    for i in range(len(n["cells"]), -1, -1):
        kind = ("code", "markdown", "raw")[i % 3]
        n["cells"].insert(i, own(f"note = {i}", kind))


def junk_between(n: Notebook) -> None:
    junk: list[Any] = [None, 3, "text", [], {}, {"source": None}, {"source": 5}, {"source": {}}]
    junk += [{"source": ["a", 3, None]}, {"cell_type": [], "source": "x", "metadata": {"a": []}}]
    junk += [{"cell_type": "heading", "level": 1, "source": "Mine"}, {"metadata": 3, "source": " "}]
    n["cells"] = [one for cell in n["cells"] for one in (cell, *junk)]


def as_colab_saves(n: Notebook) -> None:
    n["metadata"] = {"colab": {"provenance": []}, "kernelspec": {"name": "python3"}}
    n["nbformat_minor"] = 0
    for i, cell in enumerate(n["cells"]):
        cell.pop("id")
        cell["metadata"] |= {"id": f"aB{i}", "colab": {"base_uri": "https://localhost:8080/"}}
        if cell["cell_type"] == "code":
            data = {"application/vnd.google.colaboratory.intrinsic+json": {"type": "string"}}
            cell["outputs"] = [{"output_type": "execute_result", "data": data, "metadata": {}}]
            cell["outputs"][0]["execution_count"] = cell["execution_count"] = 3


def as_colab_saves_without_ids_of_nbgrader(n: Notebook) -> None:
    as_colab_saves(n)
    for cell in n["cells"]:
        cell["metadata"].pop("nbgrader", None)


def as_vs_code_saves(n: Notebook) -> None:
    n["metadata"] = {"language_info": {"name": "python"}, "orig_nbformat": 4}
    n["nbformat_minor"] = 2
    for cell in n["cells"]:
        cell.pop("id")
        cell["metadata"] = {"vscode": {"languageId": "python"}, "language": "python"}


DAMAGE: list[Callable[[Notebook], None]] = [
    no_damage,
    all_at_one_line,
    reversed_cells,
    shuffled_cells,
    import_at_the_end,
    checks_deleted,
    all_but_answers_deleted,
    checks_edited,
    points_edited,
    ids_swapped,
    ids_of_written_swapped,
    one_id_for_all,
    id_of_an_answer_on_a_text,
    id_of_a_locked_cell_on_an_answer,
    metadata_is_no_dictionary,
    both_in_one_cell,
    both_in_one_cell_and_the_stub_left,
    both_in_a_cell_of_ones_own,
    answers_emptied_and_written_below,
    a_wrong_try_above,
    decorated,
    a_lambda,
    an_annotated_name,
    an_object_that_can_be_called,
    a_class,
    imported,
    imported_among_others,
    imported_above_and_the_stub_left,
    answer_as_text,
    answer_as_raw,
    answer_as_text_in_a_fence,
    all_text_as_code,
    timed,
    renamed,
    locked_cell_edited,
    windows_lines,
    cells_between,
    junk_between,
    as_colab_saves,
    as_colab_saves_without_ids_of_nbgrader,
    as_vs_code_saves,
]
# Where an answer is known by its id alone, it is lost with the ids.
NEEDS_IDS = {renamed, locked_cell_edited}
ALL_CASES = [(one, bare) for one in DAMAGE for bare in (False, True)]
CASES = [(one, bare) for one, bare in ALL_CASES if not (bare and one in NEEDS_IDS)]


@pytest.mark.parametrize(
    ("damage", "bare"), CASES, ids=[f"{one.__name__}{'-stripped' * bare}" for one, bare in CASES]
)
def test_a_good_submission_stays_good(
    damage: Callable[[Notebook], None], bare: bool, tmp_path: Path
):
    notebook = handed_in()
    damage(notebook)
    if bare:
        notebook["cells"] = [cell for cell in notebook["cells"] if isinstance(cell, dict)]
        strip(notebook)
    found = submitted(tmp_path, notebook)
    assert right(found) == ALL
    assert not any("No cell holds" in note for note in found.notes), found.notes
    # Whoever grades sees the answers where they belong, and each text somewhere.
    assert WHY in shown(found, "written-8-3")
    assert WHERE in shown(found, "written-8-4")
    assert WHERE not in shown(found, "written-8-3")
    assert "NotImplementedError" not in shown(found, "answer-8-1") + shown(found, "answer-8-2")


@pytest.mark.parametrize("damage", [no_damage, as_colab_saves, all_at_one_line, points_edited])
def test_nothing_odd_is_said_where_nothing_is_odd(
    damage: Callable[[Notebook], None], tmp_path: Path
):
    notebook = handed_in()
    damage(notebook)
    found = submitted(tmp_path, notebook)
    assert found.notes == []
    assert found.others == []
    cells = merged(released(), found)["cells"]
    assert len(cells) == len(released()["cells"])


def test_without_metadata_it_is_read_as_with_it(tmp_path: Path):
    notebook = handed_in()
    whole = submitted(tmp_path, notebook)
    strip(notebook)
    bare = submitted(tmp_path, notebook)
    assert vars(bare) == vars(whole)


def test_the_released_notebook_has_no_answer(tmp_path: Path):
    for bare in (False, True):
        notebook = released()
        if bare:
            strip(notebook)
        found = submitted(tmp_path, notebook)
        assert right(found) == set()
        assert (found.answers, found.written) == ({}, {})
        # The stub is run, so that what is said is "not written yet".
        assert [label for label, _ in found.code] == ["the answer to 8.1", "the answer to 8.2"]
        assert found.notes == [
            "The written answer to 8.3 is empty.",
            "The written answer to 8.4 is empty.",
        ]
        # nbgrader knows no response by the cell being as it was.
        kept = merged(released(), found)
        for identity in ("answer-8-1", "written-8-3", "written-8-4"):
            assert at(kept, identity)["source"] == at(released(), identity)["source"]


# ---- answers that are not right, or not there ----


def test_a_deleted_answer_is_missing_and_costs_no_other(tmp_path: Path):
    notebook = handed_in()
    del notebook["cells"][place(notebook, "answer-8-1")]
    found = submitted(tmp_path, notebook)
    assert right(found) == {"8.2"}
    assert found.notes == ["No cell holds the answer to 8.1."]
    assert shown(found, "answer-8-1") == at(released(), "answer-8-1")["source"]


def test_of_two_answers_the_last_counts_and_both_are_shown(tmp_path: Path):
    wrong = "def total(values):\n    return -1"
    for last, expected in ((wrong, {"8.2"}), (TOTAL, ALL)):
        notebook = handed_in()
        first = TOTAL if last is wrong else wrong
        at(notebook, "answer-8-1")["source"] = first
        again = copy.deepcopy(at(notebook, "answer-8-1")) | {"source": last}
        notebook["cells"].insert(place(notebook, "answer-8-1") + 1, again)
        found = submitted(tmp_path, notebook)
        assert right(found) == expected
        assert found.answers["8.1"] == [first, last]
        assert shown(found, "answer-8-1") == f"{first}\n\n{last}"
        assert "There are 2 cells for answer 8.1." in found.notes


def test_a_stub_left_over_is_no_second_answer(tmp_path: Path):
    notebook = handed_in()
    stub = copy.deepcopy(at(released(), "answer-8-1"))
    notebook["cells"].append(stub)
    found = submitted(tmp_path, notebook)
    assert right(found) == ALL
    assert found.notes == []


def test_a_cell_of_two_answers_is_shown_for_both(tmp_path: Path):
    notebook = handed_in()
    both_in_one_cell(notebook)
    found = submitted(tmp_path, notebook)
    assert shown(found, "answer-8-1") == shown(found, "answer-8-2") == f"{TOTAL}\n\n\n{MEAN}"
    assert [label for label, _ in found.code] == ["the answer to 8.1 and 8.2"]


def test_a_broken_answer_costs_itself_and_stays_to_be_seen(tmp_path: Path):
    notebook = handed_in()
    at(notebook, "answer-8-1")["source"] = "def total(values)\n    return sum(values)"
    found = submitted(tmp_path, notebook)
    assert right(found) == {"8.2"}
    assert "def total(values)\n" in shown(found, "answer-8-1")


@pytest.mark.parametrize(
    "text",
    [
        "class Net:\n    def total(self):\n        return 0",
        "print(total([1]))",
        "# def total(values):",
        "total == 3",
        "totals = []",
        "import math  # total",
        "def total_of(values):\n    return 0",
    ],
)
def test_what_does_not_make_the_function_is_no_answer(text: str, tmp_path: Path):
    notebook = handed_in()
    notebook["cells"].append(own(text))
    found = submitted(tmp_path, notebook)
    assert found.answers["8.1"] == [TOTAL]
    assert right(found) == ALL


def test_a_coroutine_is_found_though_it_cannot_be_right(tmp_path: Path):
    notebook = handed_in()
    at(notebook, "answer-8-1")["source"] = f"async {TOTAL}"
    strip(notebook)
    found = submitted(tmp_path, notebook)
    assert found.answers["8.1"] == [f"async {TOTAL}"]


def test_a_function_of_another_name_is_called_by_the_right_one(tmp_path: Path):
    notebook = handed_in()
    renamed(notebook)
    found = submitted(tmp_path, notebook)
    assert found.notes == ["The answer to 8.1 is called `my_total`, expected `total`."]
    # Not where it is unclear which is meant, or the right one comes from elsewhere.
    for text, expected in (
        ("def one(values):\n    return 1\n\n\ndef two(values):\n    return 2", {"8.2"}),
        ("from math import *\n\n\ndef helper(x):\n    return x", {"8.2"}),
        ("exec('total = sum')\n\n\ndef helper(x):\n    return x", ALL),
    ):
        at(notebook, "answer-8-1")["source"] = text
        assert right(submitted(tmp_path, notebook)) == expected, text


def test_a_text_that_shows_code_does_not_replace_an_answer(tmp_path: Path):
    notebook = handed_in()
    notebook["cells"].append(own("Wrong:\n\ndef total(values):\n    return 0", "markdown"))
    found = submitted(tmp_path, notebook)
    assert right(found) == ALL
    assert found.answers["8.1"] == [TOTAL]
    (cell,) = (cell for _, cell in found.others)
    assert "Wrong:" in cell["source"]


def test_what_was_changed_in_a_locked_cell_is_run_but_nothing_given_is_lost(tmp_path: Path):
    notebook = handed_in()
    locked_cell_edited(notebook)
    found = submitted(tmp_path, notebook)
    assert [label for label, _ in found.code][:2] == [
        "the changed cell given",
        "the given cell given",
    ]
    assert found.notes == [
        "You changed the cell given; grading uses the original, and runs your change too."
    ]
    names: dict[str, Any] = {}
    for _, text in found.code:
        exec(text, names)
    assert names["SIZE"] == 7
    assert shown(found, "given") == at(released(), "given")["source"]
    assert any("statistics" in cell["source"] for _, cell in found.others)


def test_white_space_is_no_change(tmp_path: Path):
    notebook = handed_in()
    at(notebook, "given")["source"] = "import math\r\n\r\nSIZE  = 7\n\n"
    assert submitted(tmp_path, notebook).notes == []


# ---- cells of a student's own ----


def test_own_cells_keep_their_place_and_lose_all_but_their_text(tmp_path: Path):
    notebook = handed_in()
    extra = {"metadata": {"nbgrader": {"grade_id": "task-9-9"}}, "outputs": [{"a": 1}], "x": 1}
    notebook["cells"].insert(place(notebook, "ask-8-1"), own("a = 1", **extra))
    notebook["cells"].insert(0, own("Before all", "markdown"))
    notebook["cells"].append(own("b = 2"))
    strips: list[list[str]] = []
    for bare in (False, True):
        if bare:
            strip(notebook)
        found = submitted(tmp_path, notebook)
        cells = merged(released(), found)["cells"]
        texts = [source(cell) for cell in cells]
        assert texts[0] == "Before all"
        assert texts[texts.index("a = 1") - 1].startswith("numbers")
        assert texts[-1] == "b = 2"
        mine = cells[texts.index("a = 1")]
        assert set(mine) == {"cell_type", "metadata", "source", "outputs", "execution_count", "id"}
        assert (mine["metadata"], mine["outputs"]) == ({}, [])
        assert [text for _, text in found.code] == ["a = 1", TOTAL, MEAN, "b = 2"]
        strips.append(texts)
    assert strips[0] == strips[1]


def test_a_second_copy_of_a_shown_cell_is_the_students_own(tmp_path: Path):
    """Also if the copy stands first: the one with the id is the released one."""
    notebook = handed_in()
    copied = own(source(at(notebook, "numbers-shown")))
    notebook["cells"].insert(0, copied)
    found = submitted(tmp_path, notebook)
    assert [cell["source"] for _, cell in found.others] == [copied["source"]]
    assert found.code[0] == ("your own cell 1", copied["source"])
    strip(notebook)
    assert len(submitted(tmp_path, notebook).others) == 1


def test_a_released_text_is_not_shown_twice(tmp_path: Path):
    """Also the last one, which nbgrader does not know."""
    notebook = handed_in()
    notebook["cells"][-1]["source"] = "*Help I used:* none"
    found = submitted(tmp_path, notebook)
    assert [cell["source"] for _, cell in found.others] == ["*Help I used:* none"]
    assert found.notes == []


# ---- written answers ----


def without(notebook: Notebook, identity: str) -> None:
    del notebook["cells"][place(notebook, identity)]


def new_cell_below(n: Notebook, kind: str) -> None:
    n["cells"].insert(place(n, "written-8-3") + 1, own(WHY, kind))
    at(n, "written-8-3")["source"] = at(released(), "written-8-3")["source"]


def new_cell_between(n: Notebook, kind: str) -> None:
    n["cells"].insert(place(n, "written-8-3"), own(WHY, kind))
    at(n, "written-8-3")["source"] = "**Your answer to 8.3**"


def cell_and_heading_gone(n: Notebook, kind: str) -> None:
    n["cells"][place(n, "written-8-3")] = own(WHY, kind)


def heading_gone(n: Notebook, kind: str) -> None:
    at(n, "written-8-3").update(source=WHY, cell_type=kind)


def placeholder_kept(n: Notebook, kind: str) -> None:
    at(n, "written-8-3").update(source=f"{WHY}\n\n*Write here.*", cell_type=kind)


def heading_further_down(n: Notebook, kind: str) -> None:
    n["cells"][place(n, "written-8-3")] = own(f"So:\n\n### Your answer to 8.3:\n{WHY}", kind)


def under_the_question(n: Notebook, kind: str) -> None:
    at(n, "ask-8-3").update(source=f"{source(at(n, 'ask-8-3'))}\n\n{WHY}", cell_type=kind)
    at(n, "written-8-3")["source"] = ""


def under_the_question_alone(n: Notebook, kind: str) -> None:
    under_the_question(n, kind)
    without(n, "written-8-3")


def as_a_comment(n: Notebook, kind: str) -> None:
    n["cells"][place(n, "written-8-3")] = own(f"# Your answer to 8.3\n# {WHY}", kind)


@pytest.mark.parametrize("bare", [False, True], ids=["", "stripped"])
@pytest.mark.parametrize("kind", ["markdown", "raw", "code"])
@pytest.mark.parametrize(
    "way",
    [
        new_cell_below,
        new_cell_between,
        cell_and_heading_gone,
        heading_gone,
        placeholder_kept,
        heading_further_down,
        under_the_question,
        under_the_question_alone,
        as_a_comment,
    ],
    ids=lambda way: way.__name__,
)
def test_a_written_answer_is_found(
    way: Callable[[Notebook, str], None], kind: str, bare: bool, tmp_path: Path
):
    notebook = handed_in()
    way(notebook, kind)
    if bare:
        strip(notebook)
    found = submitted(tmp_path, notebook)
    text = shown(found, "written-8-3")
    assert WHY in text
    assert "your answer to 8.3" in text.lower()
    assert shown(found, "written-8-4") == f"**Your answer to 8.4**\n\n{WHERE}"
    assert right(found) == ALL
    assert not any("empty" in note for note in found.notes)


def test_a_text_is_not_taken_for_an_answer_that_is_there(tmp_path: Path):
    notebook = handed_in()
    notebook["cells"].insert(place(notebook, "written-8-3"), own("A remark", "markdown"))
    notebook["cells"].insert(place(notebook, "ask-8-1"), own("Another", "markdown"))
    at(notebook, "written-8-4")["source"] = ""
    found = submitted(tmp_path, notebook)
    assert found.written == {"8.3": [f"**Your answer to 8.3**\n\n{WHY}"]}
    assert [cell["source"] for _, cell in found.others] == ["Another", "A remark"]
    assert found.notes == ["The written answer to 8.4 is empty."]


@pytest.mark.parametrize("text", ["", "  \n", "**Your answer to 8.3**", "*Write here.*"])
def test_an_empty_written_answer_is_said_to_be_empty(text: str, tmp_path: Path):
    notebook = handed_in()
    at(notebook, "written-8-3")["source"] = text
    found = submitted(tmp_path, notebook)
    assert found.notes == ["The written answer to 8.3 is empty."]
    assert shown(found, "written-8-3") == at(released(), "written-8-3")["source"]


def test_code_in_the_place_of_a_text_is_shown_and_run(tmp_path: Path):
    notebook = handed_in()
    text = "def add(values):\n    return sum(values)"
    at(notebook, "written-8-3").update(cell_type="code", source=text)
    at(notebook, "answer-8-1")["source"] = "def total(values):\n    return add(values)"
    found = submitted(tmp_path, notebook)
    assert right(found) == ALL
    assert text in shown(found, "written-8-3")


def test_two_written_answers_in_one_cell_count_for_both(tmp_path: Path):
    notebook = handed_in()
    texts = source(at(notebook, "written-8-3")), source(at(notebook, "written-8-4"))
    at(notebook, "written-8-3")["source"] = "\n\n".join(texts)
    without(notebook, "written-8-4")
    found = submitted(tmp_path, notebook)
    assert WHERE in shown(found, "written-8-4")
    assert WHY in shown(found, "written-8-3")


def test_of_two_written_answers_both_are_shown(tmp_path: Path):
    notebook = handed_in()
    again = own("**Your answer to 8.3**\n\nOn second thoughts", "markdown")
    notebook["cells"].append(again)
    found = submitted(tmp_path, notebook)
    assert WHY in shown(found, "written-8-3")
    assert "On second thoughts" in shown(found, "written-8-3")
    assert found.notes == ["There are 2 cells for written answer 8.3."]


def page(notebook: Notebook) -> str:
    found: str = HTMLExporter().from_notebook_node(nbformat.from_dict(notebook))[0]
    return found


def test_pasted_pictures_are_kept_and_never_mixed_up(tmp_path: Path):
    """Programs call every pasted picture image.png; without it, no page could be made."""
    notebook = handed_in()
    for identity, data in (("written-8-3", "Zmlyc3Q="), ("written-8-4", "c2Vjb25k")):
        at(notebook, identity)["source"] += ["\n\n![](attachment:image.png)"]
        at(notebook, identity)["attachments"] = {"image.png": {"image/png": [data]}}
    mine = own("![](attachment:my%20photo.png)", "markdown")
    mine["attachments"] = {"my photo.png": {"image/png": "b3du"}}
    notebook["cells"].append(mine)
    found = submitted(tmp_path, notebook)
    text = page(merged(released(), found))
    for data in ("Zmlyc3Q=", "c2Vjb25k", "b3du"):
        assert text.count(f"base64,{data}") == 1


@pytest.mark.parametrize(
    "attached",
    [
        None,
        [],
        3,
        {},
        {"image.png": None},
        {"image.png": {}},
        {"image.png": {"image/png": {}}},
        {"image.png": {"text/plain": "no"}},
        {"image": {"image/png": "no"}},
        {"": {"image/png": ""}},
        {"\ud800": {"image/png": ""}},
    ],
    ids=ascii,
)
def test_a_picture_that_is_lost_does_not_end_the_page(attached: Any, tmp_path: Path):
    notebook = handed_in()
    cell = at(notebook, "written-8-3")
    cell["source"] = f"**Your answer to 8.3**\n\n{WHY} ![](attachment:image.png) attachment:"
    cell["attachments"] = attached
    found = submitted(tmp_path, notebook)
    assert WHY in page(merged(released(), found))


# ---- the file ----


def damaged(text: str) -> bytes:
    return text.encode()


def old_format(minor: int) -> bytes:
    notebook = handed_in()
    for cell in notebook["cells"]:
        cell.pop("id")
        cell["metadata"] = {}
        if cell["cell_type"] == "code":
            cell |= {"input": cell.pop("source"), "language": "python", "prompt_number": 1}
    half = len(notebook["cells"]) // 2
    sheets = [{"cells": notebook["cells"][:half]}, {"cells": notebook["cells"][half:]}]
    return json.dumps({"worksheets": sheets, "nbformat": 3, "nbformat_minor": minor}).encode()


def dumped(ascii_only: bool = False, indent: int | None = 1) -> str:
    return json.dumps(handed_in(), ensure_ascii=ascii_only, indent=indent)


@pytest.mark.parametrize(
    "content",
    [
        dumped().encode("utf-8-sig"),
        dumped().encode("utf-16"),
        dumped().encode("utf-16-le"),
        dumped().encode("utf-32"),
        dumped().replace("\n", "\r\n").encode(),
        dumped().replace("\n", "\r").encode(),
        dumped(indent=None).encode() + b"\n\n",
        dumped().replace("Because", "L'\u00e9t\u00e9! Because").encode("latin-1"),
        dumped().replace("Because", "a\tb Because").encode(),
        dumped().replace('"nbformat": 4', '"nbformat": NaN').encode(),
        dumped().replace('"nbformat": 4', '"nbformat": "four", "x": 1e999').encode(),
        dumped().replace("Because", "\\ud800 \\u0000 Because").encode(),
        old_format(0),
        *(
            json.dumps(handed_in() | {"nbformat_minor": minor, "metadata": {}}).encode()
            for minor in range(6)
        ),
        json.dumps({"cells": handed_in()["cells"]}).encode(),
    ],
)
def test_notebooks_of_any_kind_are_read(content: bytes, tmp_path: Path):
    found = submitted(tmp_path, content)
    assert right(found) == ALL
    assert WHY in shown(found, "written-8-3")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "damaged: it is empty"),
        (b" \n", "damaged: it is empty"),
        (b"\xef\xbb\xbf", "damaged: it is empty"),
        (dumped().encode()[:-40], "damaged: at line"),
        (dumped().encode()[:200], "damaged: at line"),
        (dumped().encode() * 2, "damaged: at line"),
        (b"<!DOCTYPE html><html>Please log in", "damaged: it is a web page"),
        (b"<<<<<<< HEAD\n{", "damaged: it is a web page"),
        (b"PK\x03\x04\x00\xff\xfe", "damaged: at line 1"),
        (bytes(range(256)), "damaged: at line 1"),
        (b"\x00" * 100, "damaged: at line 1"),
        (b"[]", "no list of cells"),
        (b"null", "no list of cells"),
        (b"3", "no list of cells"),
        (b'"cells"', "no list of cells"),
        (b"{}", "no list of cells"),
        (b'{"worksheets": []}', "no list of cells"),
        (b'{"worksheets": [3, null]}', "no list of cells"),
        (b'{"cells": []}', "no cell of set8_example: is it another notebook?"),
        (b'{"cells": null}', "no cell of set8_example"),
        (b'{"cells": [1, null, "x", [], {}]}', "no cell of set8_example"),
        (b'{"cells": [{"cell_type": "code", "source": "1 + 1"}]}', "no cell of set8_example"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"cells": ' + b"9" * 5000 + b"}", "too many digits"),
        (b'{"cells": [' + b"{}," * 3000 + b"{}]}", "has 3001 cells, expected 2000 at most"),
    ],
)
def test_what_is_no_notebook_is_said_in_words(content: bytes, sentence: str, tmp_path: Path):
    path = tmp_path / f"{NAME}.ipynb"
    path.write_bytes(content)
    with pytest.raises(Unreadable) as caught:
        read(path, released()["cells"], SET)
    said = str(caught.value)
    assert sentence in said
    assert said.startswith(f"{NAME}.ipynb ")  # and no word of where it lies
    assert str(tmp_path) not in said


def test_a_notebook_of_another_set_is_no_zero(tmp_path: Path):
    notebook = handed_in()
    text = json.dumps(notebook).replace("8-", "7-").replace("8.", "7.")
    text = text.replace("def total", "def other").replace("def mean", "def another")
    with pytest.raises(Unreadable, match="another notebook"):
        submitted(tmp_path, text.encode())


def test_a_large_file_is_not_opened(tmp_path: Path):
    path = tmp_path / "a.ipynb"
    with open(path, "wb") as file:
        file.truncate(25 * 2**20)
    with pytest.raises(Unreadable, match=r"a\.ipynb has more than 20 MiB: clear its outputs"):
        read_cells(path)


def test_a_file_that_cannot_be_read_is_said_to_be_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "a.ipynb"
    with pytest.raises(Unreadable, match=r"^a\.ipynb cannot be read: No such file or directory$"):
        read_cells(path)
    path.write_text("{}")

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(Unreadable, match=r"^a\.ipynb cannot be read: Permission denied$"):
        read_cells(path)


def test_what_is_nested_as_deep_as_can_be_read_does_not_stop_the_rest(tmp_path: Path):
    """Copying such a thing would need more depth than reading it."""
    depth = sys.getrecursionlimit() // 2
    deep = "[" * depth + "]" * depth
    cell = f'{{"cell_type": "code", "source": "a = 1", "metadata": {deep}, "outputs": [{deep}]}}'
    text = json.dumps(handed_in()).replace('"cells": [', f'"cells": [{cell},', 1)
    found = submitted(tmp_path, text.encode())
    assert right(found) == ALL
    assert [one["source"] for _, one in found.others] == ["a = 1"]


def test_cells_without_end_are_shortened_where_they_are_shown(tmp_path: Path):
    notebook = handed_in()
    long = "word " * 40_000
    at(notebook, "written-8-3")["source"] = f"**Your answer to 8.3**\n\n{WHY}\n\n{long}"
    notebook["cells"] += [own(long, "markdown") for _ in range(30)]
    notebook["cells"] += [own("x = 1\n" * 100_000)]
    found = submitted(tmp_path, notebook)
    assert WHY in shown(found, "written-8-3")
    assert shown(found, "written-8-3").endswith("left out here.)")
    assert len(json.dumps(merged(released(), found))) < 300_000
    # The sandbox takes no message of that length.
    assert any("was left out: it has 600000 letters" in note for note in found.notes)
    assert max(len(text) for _, text in found.code) < 150_000


@pytest.mark.parametrize(
    "text",
    [
        "\n" * 500_000 + "x",
        " " * 500_000 + "x",
        "*" * 500_000,
        "from a import (\n" * 40_000,
        "total" + " " * 140_000 + "x",
        "from a import (\n    total" + " " * 140_000 + "x",
        "import " + "total" * 25_000,
        "```\n" * 120_000,
        "%%" * 200_000,
        "attachment:" * 50_000,
        "your answer to 8.3\n" * 20_000,
    ],
)
def test_no_text_takes_long_to_read(text: str, tmp_path: Path):
    notebook = handed_in()
    notebook["cells"] += [own(text, kind) for kind in ("code", "markdown")]
    start = time.process_time()
    found = submitted(tmp_path, notebook)
    assert time.process_time() - start < 3
    assert right(found) >= {"8.2"}


def test_whatever_is_in_the_cells_a_valid_notebook_is_made(tmp_path: Path):
    """Parts of notebooks thrown together at random."""
    rng = random.Random(0)
    texts: list[Any] = [TOTAL, MEAN, WHY, "", None, 3, ["a", 1], {"a": 1}, "\ud800", "\0", "\r\n"]
    texts += ["# Your answer to 8.4", "def total(", "%%time", "```", "attachment:x", "1.0e5" * 9]
    metadata: list[Any] = [cell["metadata"] for cell in released()["cells"]]
    metadata += [None, [], {}, {"nbgrader": 3}, {"nbgrader": {"grade_id": []}}, "x", math.nan]
    kinds: list[Any] = ["code", "markdown", "raw", "heading", None, [], 7, "html"]
    read_none = 0
    for _ in range(120):
        cells = handed_in()["cells"]
        for cell in cells:
            if rng.random() < 0.4:
                cell["source"] = rng.choice(texts)
            if rng.random() < 0.4:
                cell["metadata"] = rng.choice(metadata)
            if rng.random() < 0.4:
                cell["cell_type"] = rng.choice(kinds)
            if rng.random() < 0.2:
                cell["attachments"] = rng.choice([None, [], {"x": 1}, {"x": {"image/png": "a"}}])
        rng.shuffle(cells)
        cells = cells[rng.randrange(8) :]
        try:
            found = submitted(tmp_path, {"cells": cells})
        except Unreadable:
            read_none += 1
            continue
        for text in (TOTAL, WHY):
            if any(cell["source"] == text and cell["cell_type"] == "code" for cell in cells):
                made = merged(released(), found)["cells"]
                assert any(text in source(cell) for cell in made)
    assert read_none < 30


# ---- which file ----


def test_the_notebook_is_found_where_it_lies(tmp_path: Path):
    for number, (names, expected) in enumerate(
        [
            ([f"{NAME}.ipynb"], f"{NAME}.ipynb"),
            (["mine.ipynb"], "mine.ipynb"),
            (["mine.IPYNB"], "mine.IPYNB"),
            ([f"{NAME}.ipynb.txt"], f"{NAME}.ipynb.txt"),
            ([f"{NAME}.ipynb", f"{NAME}-Copy1.ipynb"], f"{NAME}.ipynb"),
            ([f"work/{NAME}.ipynb"], f"work/{NAME}.ipynb"),
            ([f"work/{NAME}.ipynb", "example.ipynb"], f"work/{NAME}.ipynb"),
            ([f"{NAME}.ipynb", f"old/{NAME}.ipynb"], f"{NAME}.ipynb"),
            (["example.ipynb", f"{NAME} (1).ipynb"], f"{NAME} (1).ipynb"),
            ([f"{NAME.upper()}.ipynb", "b.ipynb"], f"{NAME.upper()}.ipynb"),
            ([f".ipynb_checkpoints/{NAME}-checkpoint.ipynb", "a.ipynb"], "a.ipynb"),
            (["data.csv", "a.py", "a.ipynb"], "a.ipynb"),
        ]
    ):
        folder = tmp_path / ".ipynb_checkpoints" / str(number)  # where the course lies is no matter
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("{}")
        assert find(folder, NAME) == folder / expected


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], "found: none"),
        (["a.ipynb", "b.ipynb"], "found: a.ipynb, b.ipynb"),
        ([f"{NAME}-1.ipynb", f"{NAME}-2.ipynb"], f"found: {NAME}-1.ipynb, {NAME}-2.ipynb"),
        ([f"a/{NAME}.ipynb", f"b/{NAME}.ipynb"], f"found: {NAME}.ipynb, {NAME}.ipynb"),
        ([f".ipynb_checkpoints/{NAME}.ipynb"], "found: none"),
        (["work.zip", "notes.pdf"], "found: none, but notes.pdf, work.zip"),
    ],
)
def test_what_was_found_instead_is_said(names: list[str], sentence: str, tmp_path: Path):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    with pytest.raises(Unreadable) as caught:
        find(tmp_path, NAME)
    assert str(caught.value) == f"expected one notebook, {NAME}.ipynb; {sentence}"


def test_folders_and_links_are_no_notebooks(tmp_path: Path):
    (tmp_path / "secret.txt").write_text("{}")
    folder = tmp_path / "student"
    (folder / f"{NAME}.ipynb").mkdir(parents=True)
    os.symlink(tmp_path / "nothing", folder / "broken.ipynb")
    os.symlink(tmp_path / "secret.txt", folder / "other.ipynb")
    with pytest.raises(Unreadable, match=r"found: none$"):
        find(folder, NAME)
    (folder / f"{NAME}.ipynb" / "mine.ipynb").write_text("{}")
    assert find(folder, NAME).name == "mine.ipynb"


def test_the_example_is_as_nbgrader_wants_it():
    expect_valid(released())
