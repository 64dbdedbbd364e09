"""The book built once, and one browser, for all tests of its pages."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from building import ROOT, build_book
from page_rules import (
    DESKTOP,
    RULES,
    examine_in_own_browser,
    find_browser,
    launched,
    pages_of,
    served,
)
from playwright.sync_api import Browser, BrowserContext


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the built book is marked `built`: `make test` runs it last, and alone."""
    for item in items:
        if "book" in getattr(item, "fixturenames", ()):
            item.add_marker("built")


@pytest.fixture(scope="session")
def book() -> Path:
    """The folder of the built pages."""
    code, log = build_book(ROOT)
    if code:
        told = [line for line in log.splitlines() if "WARNING" in line or "ERROR" in line]
        tail = log.splitlines()[-60:]
        pytest.fail("\n".join(["The book does not build.", *told, "...", *tail]), pytrace=False)
    return ROOT / "_build" / "html"


@pytest.fixture
def small_book(tmp_path: Path) -> Path:
    """A book of two pages with the configuration of the real one."""
    extensions, styles = ROOT.glob("book/_ext/*.py"), ROOT.glob("book/_static/*.css")
    for path in (ROOT / "_config.yml", *extensions, *styles):
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (tmp_path / "book/references.bib").touch()
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: one\nchapters: [{file: two}]\n")
    (tmp_path / "one.md").write_text("# One\n")
    (tmp_path / "two.ipynb").write_text(
        '{"cells": [{"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Two"}],'
        ' "metadata": {"kernelspec": {"display_name": "Python 3", "name": "python3"}},'
        ' "nbformat": 4, "nbformat_minor": 5}'
    )
    return tmp_path


def found_browser() -> str:
    executable = find_browser()
    if executable is None:
        pytest.fail(
            "No browser: install chromium (apt-get install chromium), or set CHROMIUM to one.",
            pytrace=False,
        )
    return executable


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with launched(found_browser()) as browser:
        yield browser


@pytest.fixture(scope="session")
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context(viewport=DESKTOP) as context:
        yield context


@pytest.fixture(scope="session")
def site(book: Path) -> Iterator[str]:
    """The address of the built pages."""
    with served(book) as address:
        yield address


@pytest.fixture(scope="session")
def complaints(book: Path, site: str) -> dict[str, list[str]]:
    """For each rule, what every page of the book breaks of it; found in two browsers at once."""
    pages, found = pages_of(book), {rule: [] for rule in RULES}
    halves = [pages[0::2], pages[1::2]]
    urls = [[site + page for page in half] for half in halves]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        examined = pool.map(examine_in_own_browser, [found_browser()] * 2, urls)
        for half, results in zip(halves, examined, strict=True):
            for page, broken in zip(half, results, strict=True):
                for rule, problems in broken.items():
                    found[rule].extend(f"{page}: {problem}" for problem in problems)
    return found
