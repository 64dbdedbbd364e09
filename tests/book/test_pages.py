"""Every built page, in a browser without a network."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from building import toc_pages
from page_rules import (
    RULES,
    bad_downloads,
    dead_links,
    parsed,
    search_results,
    themes_of_the_switch,
)
from playwright.sync_api import BrowserContext

TOC = toc_pages()


@pytest.mark.parametrize("rule", RULES)
def test_all_pages_keep(rule: str, complaints: dict[str, list[str]]):
    if complaints[rule]:
        pytest.fail("\n".join(complaints[rule]), pytrace=False)


def test_no_link_is_dead(book: Path):
    assert dead_links(book) == []


@pytest.mark.parametrize("name", [name for name in TOC if name.startswith("notebooks/")])
def test_chapters_offer_their_notebook(book: Path, name: str):
    page = book / f"{name}.html"
    assert parsed(page).select('.article-header-buttons a[href$=".ipynb"]')
    assert bad_downloads(page) == []


def test_pages_follow_one_another(book: Path):
    for here, after in itertools.pairwise(TOC):
        forward = parsed(book / f"{here}.html").select_one("a.right-next")
        back = parsed(book / f"{after}.html").select_one("a.left-prev")
        assert forward, f"{here} has no next page"
        assert forward["href"].endswith(f"{Path(after).name}.html")
        assert back, f"{after} has no previous page"
        assert back["href"].endswith(f"{Path(here).name}.html")


def test_search_finds_a_word_of_the_book(context: BrowserContext, site: str):
    page = context.new_page()
    assert search_results(page, site, "activation") > 0
    assert search_results(page, site, "zzyzxq") == 0


def test_the_switch_gives_light_and_dark(context: BrowserContext, site: str):
    page = context.new_page()
    assert themes_of_the_switch(page, f"{site}{TOC[0]}.html") == {"light", "dark"}


def test_some_page_has_mathematics(book: Path):
    assert any(parsed(book / f"{name}.html").select(".math") for name in TOC)
