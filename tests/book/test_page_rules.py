"""Every rule about pages must be able to fail: a bad page for each, and a good one for all."""

from __future__ import annotations

from pathlib import Path

import pytest
from page_rules import (
    RULES,
    bad_alt_text,
    bad_downloads,
    dead_links,
    examine,
    search_results,
    served,
    themes_of_the_switch,
)
from playwright.sync_api import BrowserContext

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>A page</title>
<link rel="icon" href="data:,"></head>
<body><main><article><h1>A page</h1>{}</article></main></body></html>"""

PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"

BAD = [
    ("noise", "<script>throw new Error('broken')</script>"),
    ("noise", "<script>console.error('broken')</script>"),
    ("foreign_requests", "<script src='https://cdn.example.org/library.js'></script>"),
    ("failed_requests", "<script src='missing.js'></script>"),
    ("sideways_scroll", "<div style='width: 600px'>wide</div>"),
    ("alt_texts", f"<img src='{PIXEL}'>"),
    ("alt_texts", f"<img src='{PIXEL}' alt='map.png'>"),
    ("alt_texts", f"<img src='{PIXEL}' alt='' role='presentation'>"),
    ("axe_violations", "<p style='color: #ccc'>pale</p>"),
    ("axe_violations", "<style>[data-theme=dark] p {color: #ccc}</style><p>pale when dark</p>"),
    ("axe_violations", "<button></button>"),
    (
        "axe_violations",
        "<details><summary>Fold</summary><pre tabindex='-1' style='width: 9em; overflow: auto'>"
        "a line that is too long for its box, in a fold</pre></details>",
    ),
    ("mathematics", "<span class='math'>x</span>"),
    ("mathematics", r"<p>left as \(x\)</p>"),
    ("mathematics", "<mjx-merror>not TeX</mjx-merror>"),
    ("errors_in_output", "<pre class='output'>Traceback (most recent call last): ...</pre>"),
    ("errors_in_output", "<div class='cell_output'>ValueError: no map</div>"),
    ("header_buttons", "<div class='article-header-buttons'><a href='#'>Launch</a></div>"),
]


def broken_rules(context: BrowserContext, folder: Path, body: str) -> set[str]:
    (folder / "page.html").write_text(PAGE.format(body))
    with served(folder) as address:
        found = examine(context, f"{address}page.html")
    return {rule for rule, problems in found.items() if problems}


@pytest.mark.parametrize(("rule", "body"), BAD)
def test_a_bad_page_is_caught(rule: str, body: str, context: BrowserContext, tmp_path: Path):
    assert rule in broken_rules(context, tmp_path, body)


def test_every_rule_has_a_bad_page():
    assert {rule for rule, _ in BAD} == set(RULES)


def test_a_good_page_passes(context: BrowserContext, tmp_path: Path):
    body = f"""<p>See <a href="#here">below</a>.</p>
        <pre tabindex="0" style="overflow-x: auto">{"wide " * 200}</pre>
        <p id="here"><code>\\(</code></p>
        <img src="{PIXEL}" alt="The map for espresso is highest on the coffee">
        <div class="cell_output">The map needs a linear layer after the pool.</div>"""
    assert broken_rules(context, tmp_path, body) == set()


@pytest.mark.parametrize(
    "alt",
    [
        None,
        " ",
        "../_images/a3f0.png",
        "_images/figure",
        "map.jpeg",
        "2e69002b53420c018b724debe6d00efc80378e3a45306ac0a726277d7cca7747",
        "_images/2e69002b53420c018b724debe6d00efc80378e3a45306ac0a726277d7cca7747.png",
    ],
)
def test_what_is_no_alt_text(alt: str | None):
    assert bad_alt_text(alt)


@pytest.mark.parametrize("alt", ["The map is highest on the cup", "Scores as a bar chart, 7 x 7"])
def test_what_is_an_alt_text(alt: str):
    assert bad_alt_text(alt) is None


@pytest.mark.parametrize(
    ("link", "dead"),
    [
        ('<a href="other.html#there">x</a>', False),
        ('<a href="https://example.org/">x</a>', False),
        ('<a href="none.html">x</a>', True),
        ('<a href="other.html#nowhere">x</a>', True),
        ('<a href="#nowhere">x</a>', True),
        ('<img src="none.png">', True),
        ('<script src="../outside.js"></script>', True),
        ('<meta http-equiv="Refresh" content="0; url=none.html">', True),
    ],
)
def test_dead_links_are_found(link: str, dead: bool, tmp_path: Path):
    site = tmp_path / "site"
    site.mkdir()
    (tmp_path / "outside.js").touch()
    (site / "page.html").write_text(link)
    (site / "other.html").write_text('<p id="there">x</p>')
    assert bool(dead_links(site)) == dead


@pytest.mark.parametrize(
    ("notebook", "bad"),
    [
        ('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', False),
        ("<html>not found</html>", True),
        ('{"cells": [{}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', True),
        (
            '{"cells": [{"cell_type": "code", "id": "a", "metadata": {}, "source": "", "outputs":'
            ' [{"output_type": "error", "ename": "ValueError", "evalue": "", "traceback": []}],'
            ' "execution_count": 1}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
            True,
        ),
        (None, True),
    ],
)
def test_bad_downloads_are_found(notebook: str | None, bad: bool, tmp_path: Path):
    page = tmp_path / "page.html"
    page.write_text('<a href="chapter.ipynb">download</a>')
    if notebook is not None:
        (tmp_path / "chapter.ipynb").write_text(notebook)
    assert bool(bad_downloads(page)) == bad


def test_a_search_without_results_is_seen(context: BrowserContext, tmp_path: Path):
    body = '<div id="search-results"><p class="search-summary">Nothing</p></div>'
    (tmp_path / "search.html").write_text(PAGE.format(body))
    with served(tmp_path) as address:
        assert search_results(context.new_page(), address, "map") == 0


def test_a_dead_theme_switch_is_seen(context: BrowserContext, tmp_path: Path):
    (tmp_path / "page.html").write_text(PAGE.format('<button class="theme-switch-button">x'))
    with served(tmp_path) as address:
        assert themes_of_the_switch(context.new_page(), f"{address}page.html") == {None}
