"""Every chapter has a quiz whose questions have one right answer, and no pattern gives it away."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_markdown_cell, new_notebook
from project_rules import ROOT, notebooks
from quiz import LETTERS, read_quiz

CHAPTERS = [path for path in notebooks() if re.match(r"\d\d_", path.name)]
FILES = sorted(ROOT.glob("notebooks/*.quiz.yml"))
END = ("## Take-away", "## Quiz", "```{quiz}", "## Exercises")


def chapter_faults(path: Path) -> list[str]:
    """The chapter shows its quiz once, between the take-away and the exercises."""
    file = path.with_suffix(".quiz.yml")
    cells = nbformat.read(path, as_version=4).cells
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    places = [[m.start() for m in re.finditer(rf"^{re.escape(one)}$", text, re.M)] for one in END]
    faults = [] if file.is_file() else [f"has no {file.name} beside it"]
    for one, found in zip(END, places, strict=True):
        if len(found) != 1:
            faults.append(f"has {len(found)} lines {one}: one is needed")
    if not faults and sorted(places) != places:
        faults.append(f"has these lines in another order: {', '.join(END)}")
    if f"`{file.name}`" not in text:
        faults.append(f"does not say that its questions lie in {file.name}")
    return faults


def giveaways(quizzes: list[list[dict[str, Any]]]) -> list[str]:
    """What lets a reader guess: the right choice mostly at one place, or mostly the longest."""
    questions = [question["choices"] for quiz in quizzes for question in quiz]
    right = [next(i for i, one in enumerate(choices) if "right" in one) for choices in questions]
    most, times = Counter(right).most_common(1)[0]
    longest = 0
    for i, choices in zip(right, questions, strict=True):
        lengths = [len(" ".join(one["text"].split())) for one in choices]
        longest += lengths.pop(i) > max(lengths)
    half = len(questions) / 2
    return [
        f"in {count} of {len(questions)} questions the right choice is {what}"
        for count, what in ((times, LETTERS[most]), (longest, "the longest"))
        if count > half
    ]


def test_there_are_chapters():
    assert len(CHAPTERS) >= 11


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_shows_its_quiz(path: Path):
    assert chapter_faults(path) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_quiz_is_sound(path: Path):
    assert path.with_suffix("").with_suffix(".ipynb").is_file(), "belongs to no chapter"
    assert read_quiz(path.read_text(encoding="utf-8"))[1] == []


def test_nothing_gives_the_right_choices_away():
    quizzes = [read_quiz(path.read_text(encoding="utf-8"))[0] for path in FILES]
    assert giveaways(quizzes) == []


QUESTION = """\
- question: Which share of $4$ is `1`?
  choices:
    - text: 0.50
      why: That is two of four.
    - text: 0.25
      right: true
      why: One of four.
    - text: No
      why: There is one.
"""
GOOD = QUESTION * 3
CHOICE = "    - text: {0}\n      why: It is {0}.\n"


def test_a_good_quiz_is_read_and_its_values_are_text():
    questions, faults = read_quiz(GOOD)
    assert faults == []
    assert [one["text"] for one in questions[2]["choices"]] == ["0.50", "0.25", "No"]
    assert ["right" in one for one in questions[2]["choices"]] == [False, True, False]
    assert read_quiz(QUESTION * 5)[1] == []
    assert read_quiz(QUESTION * 2 + QUESTION + CHOICE.format(4))[1] == []


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        (GOOD, "- question: [", "is no YAML"),
        (GOOD, "question: text", "is no list of questions"),
        (GOOD, "", "is no list of questions"),
        (GOOD, QUESTION * 2, "has 2 questions"),
        (GOOD, QUESTION * 6, "has 6 questions"),
        (GOOD, QUESTION * 2 + "- a question", "question 3 is no mapping"),
        ("      right: true\n", "", "question 1 has 0 right choices"),
        ("      why: That", "      right: true\n      why: That", "question 1 has 2 right choices"),
        ("right: true", "right: false", "question 1 choice B says right: false"),
        ("right: true", "right: yes", "question 1 choice B says right: yes"),
        ("      why: One of four.\n", "", "question 1 choice B has no why"),
        ("why: One of four.", "why:", "question 1 choice B has no why"),
        ("why: One of four.", "why: [One of four.]", "question 1 choice B has no why"),
        ("text: 0.25", "text: ''", "question 1 choice B has no text"),
        ("question: Which share of $4$ is `1`?", "question:", "question 1 has no question"),
        (CHOICE.format("No").replace("It is No.", "There is one."), "", "has 2 choices"),
        ("- question", CHOICE.format(4) + CHOICE.format(5) + "- question", "has 5 choices"),
        ("why: There", "hint: None\n      why: There", "choice C has an unknown key 'hint'"),
        ("  choices:", "  level: 2\n  choices:", "question 1 has an unknown key 'level'"),
        ("  choices:", "  answers:", "question 1 has no list of choices"),
        ("    - text: No\n      why: There is one.", "    - No", "question 1 has a choice (C)"),
        ("text: No", "text: 0.50", "question 1 has two choices with the same text"),
        ("There is one.", "One of four.", "question 1 has two choices with the same why"),
        ("why: There", "why: Twice\n      why: There", "'why' is given twice"),
    ],
)
def test_a_bad_quiz_is_rejected(before: str, after: str, complaint: str):
    assert before in GOOD
    if before == "- question":  # of the second question, so that more choices join the first
        bad = QUESTION + (QUESTION * 2).replace(before, after, 1)
    else:
        bad = GOOD.replace(before, after, 1)
    faults = read_quiz(bad)[1]
    assert any(complaint in fault for fault in faults), faults


def test_giveaways_are_seen():
    def asked(position: int, *lengths: int) -> dict[str, Any]:
        choices = [{"text": "x" * n, "why": "y"} for n in lengths]
        choices[position]["right"] = "true"
        return {"question": "?", "choices": choices}

    assert giveaways([[asked(0, 1, 2, 3), asked(1, 1, 3, 2)], [asked(2, 3, 2, 1)]]) == []
    same_place = [[asked(1, 3, 1, 1), asked(1, 3, 3, 1), asked(0, 1, 1, 2)]]
    assert giveaways(same_place) == ["in 2 of 3 questions the right choice is B"]
    longest = [[asked(0, 3, 1, 1), asked(1, 1, 2, 1), asked(2, 2, 1, 1)]]
    assert giveaways(longest) == ["in 2 of 3 questions the right choice is the longest"]


SAID = "`01_x.quiz.yml`"


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        (["## Take-away", f"## Quiz\n\n{SAID}\n\n```{{quiz}}\n```", "## Exercises"], None),
        (["## Take-away", f"## Quiz\n\n{SAID}", "## Exercises"], "has 0 lines ```{quiz}"),
        (["## Take-away", f"{SAID}\n\n```{{quiz}}\n```", "## Exercises"], "has 0 lines ## Quiz"),
        (["## Take-away", *[f"## Quiz\n\n{SAID}\n\n```{{quiz}}\n```"] * 2], "has 2 lines"),
        (["## Take-away", "## Exercises", f"## Quiz\n{SAID}\n```{{quiz}}\n```"], "another order"),
        (["## Take-away", "## Quiz\n\n```{quiz}\n```", "## Exercises"], "does not say"),
    ],
)
def test_a_chapter_without_its_quiz_is_caught(
    texts: list[str], complaint: str | None, tmp_path: Path
):
    path = tmp_path / "01_x.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell(text) for text in texts]), path)
    assert "has no 01_x.quiz.yml beside it" in chapter_faults(path)
    (tmp_path / "01_x.quiz.yml").write_text(GOOD)
    faults = chapter_faults(path)
    assert faults == [] if complaint is None else any(complaint in fault for fault in faults)


def built(folder: Path, builder: str, quiz: str | None) -> tuple[int, str, str]:
    """A page with this quiz, built strictly: exit code, page, what was told on the way."""
    (folder / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT / 'book/_ext')!r})\n"
        "extensions = ['myst_parser', 'quiz']\nmyst_enable_extensions = ['dollarmath']\n"
        "version = copyright = '1'\n"  # an ePub needs them
    )
    (folder / "index.md").write_text("# A chapter\n\n## Quiz\n\n```{quiz}\n```\n")
    if quiz is not None:
        (folder / "index.quiz.yml").write_text(quiz)
    command = [
        "sphinx",
        "-E",
        "-n",
        "-W",
        "--keep-going",
        "-b",
        builder,
        "-d",
        str(folder / "read"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", *command, str(folder), str(folder / "built")],
        capture_output=True,
        text=True,
        check=False,
    )
    [page] = [*(folder / "built").glob("index.*html")] or [None]
    return done.returncode, page.read_text() if page else "", done.stderr


def test_in_an_epub_the_answers_follow_the_questions(tmp_path: Path):
    code, page, told = built(tmp_path, "epub", GOOD)
    assert code == 0, told
    questions, answers = (BeautifulSoup(part, "html.parser") for part in page.split("Answers"))
    said = [[li.get_text() for li in ol("li")] for ol in questions.select("ol.upperalpha")]
    why = [[li.get_text() for li in ol("li")] for ol in answers.select("ol.upperalpha")]
    assert said == [["0.50", "0.25", "No"]] * 3
    reasons = (
        "Not this one. That is two of four.",
        "Right. One of four.",
        "Not this one. There is one.",
    )
    assert why == [list(reasons)] * 3
    for part in (questions, answers):
        assert [p.text for p in part.select(".quiz-number")] == [
            f"Question {n} of 3" for n in (1, 2, 3)
        ]
        assert part.select("details, summary") == []


@pytest.mark.parametrize(
    ("quiz", "complaint"),
    [
        (None, "index.quiz.yml: is missing"),
        (
            QUESTION + QUESTION.replace("right: true", "") * 2,
            "index.quiz.yml: question 2 has 0 right",
        ),
        (
            GOOD.replace("text: No", "text: |\n        - No"),
            "question 1 choice C is not one paragraph",
        ),
        (GOOD.replace("There is", "{nowhere}`x` is"), "nowhere"),
        (GOOD.replace("There is", "{ref}`nowhere` is"), "index.quiz.yml"),
    ],
)
def test_a_bad_quiz_stops_the_build(quiz: str | None, complaint: str, tmp_path: Path):
    code, _, told = built(tmp_path, "html", quiz)
    assert code != 0
    assert complaint in told
