"""The quiz of every chapter: complete, usable by keyboard, on a phone, and without scripts."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from building import ROOT, toc_pages
from page_rules import PHONE, parsed
from playwright.sync_api import Browser, Page

PAGES = [page for page in toc_pages() if (ROOT / f"{page}.quiz.yml").is_file()]
VERDICTS = {True: "Right.", False: "Not this one."}


def right_choices(name: str) -> list[list[bool]]:
    """For each question of the file, which of its choices are right."""
    quiz = yaml.safe_load((ROOT / f"{name}.quiz.yml").read_text(encoding="utf-8"))
    return [["right" in choice for choice in question["choices"]] for question in quiz]


@pytest.fixture(scope="module")
def phone(browser: Browser):
    with browser.new_context(viewport=PHONE) as context:
        yield context.new_page()


def opened_by_keyboard(page: Page) -> list[list[str]]:
    """The first words of every choice, each opened and closed again by the Enter key."""
    said = []
    for question in page.locator(".quiz-question").all():
        said.append([])
        for choice in question.locator("details").all():
            why = choice.locator(".quiz-why")
            assert not why.is_visible()
            choice.locator("summary").press("Enter")
            assert why.is_visible()
            said[-1].append(why.inner_text())
            choice.locator("summary").press("Enter")
            assert not why.is_visible()
    return said


def wide_parts(page: Page) -> list[str]:
    """Parts of the quiz that reach over the window's edge, or out of their own box."""
    return page.evaluate(
        """() => [...document.querySelectorAll('.quiz *')]
            .filter(one => !one.parentElement.closest('pre, div.math, mjx-container'))
            .filter(one => one.getBoundingClientRect().right > innerWidth
                || !one.matches('mjx-container')  // they hold their speech out of sight
                    && getComputedStyle(one).overflowX == 'visible'
                    && one.clientWidth > 0 && one.scrollWidth > one.clientWidth + 1)
            .map(one => one.outerHTML.slice(0, 200))"""
    )


def test_every_chapter_has_a_quiz():
    chapters = [
        page for page in toc_pages() if page.startswith("notebooks/") and page[10].isdigit()
    ]
    assert chapters == PAGES


@pytest.mark.parametrize("name", PAGES)
def test_all_questions_are_on_the_page(book: Path, name: str):
    soup = parsed(book / f"{name}.html")
    questions = soup.select(".quiz .quiz-question")
    found = [
        [why.get_text(" ", strip=True).startswith("Right.") for why in one.select(".quiz-why")]
        for one in questions
    ]
    assert found == right_choices(name)
    assert [sum(choices) for choices in found] == [1] * len(found)
    for number, question in enumerate(questions, 1):
        assert question["role"] == "group"
        label = soup.find(id=question["aria-labelledby"]).get_text(" ", strip=True)
        assert label.startswith(f"Question {number} of {len(questions)} ")
        letters = [letter.text for letter in question.select("summary > .quiz-letter")]
        assert letters == list("ABCD"[: len(letters)])
        assert not question.select("details[open], summary a")


@pytest.mark.parametrize("name", PAGES)
def test_choices_open_by_keyboard_and_fit_a_phone(phone: Page, site: str, name: str):
    phone.goto(f"{site}{name}.html")
    phone.evaluate("window.MathJax?.startup?.promise")
    said = opened_by_keyboard(phone)
    for words, rights in zip(said, right_choices(name), strict=True):
        for text, right in zip(words, rights, strict=True):
            assert text.startswith(VERDICTS[right])
            assert len(text) > len(VERDICTS[right]) + 10  # and a reason
    phone.evaluate("document.querySelectorAll('.quiz details').forEach(one => one.open = true)")
    assert wide_parts(phone) == []


@pytest.mark.parametrize("name", PAGES[:1])
def test_without_scripts_a_file_shows_its_reasons(book: Path, browser: Browser, name: str):
    with browser.new_context(viewport=PHONE, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto((book / f"{name}.html").as_uri())
        said = opened_by_keyboard(page)
        assert page.locator(".quiz [role=status]").count() == 0
    right = [[text.startswith("Right.") for text in words] for words in said]
    assert right == right_choices(name)


def test_the_read_out_counts_first_tries(phone: Page, site: str):
    phone.goto(f"{site}{PAGES[0]}.html")
    rights = right_choices(PAGES[0])
    said = phone.locator(".quiz [role=status]")
    assert said.inner_text() == ""
    tries = [(0, rights[0].index(False)), (0, rights[0].index(True)), (1, rights[1].index(True))]
    heard = []
    for question, choice in tries:
        asked = phone.locator(".quiz-question").nth(question)
        asked.locator("summary").nth(choice).click()
        phone.wait_for_timeout(100)  # the event comes after the fold has opened
        heard.append(said.inner_text())
    total = len(rights)
    assert heard == [
        f"1 of {total} questions answered, 0 right at the first try.",
        f"1 of {total} questions answered, 0 right at the first try.",
        f"2 of {total} questions answered, 1 right at the first try.",
    ]


def test_a_choice_too_wide_for_a_phone_is_seen(phone: Page):
    body = "<div class='quiz'><details open><summary>{}</summary></details></div>"
    phone.set_content(body.format("<span>short</span>"))
    assert wide_parts(phone) == []
    phone.set_content(body.format("<span style='display: inline-block; width: 30em'>long</span>"))
    assert wide_parts(phone)
