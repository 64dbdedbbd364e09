"""Figures open in full resolution, arrow keys turn pages, and a button copies code."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from building import ROOT, toc_pages
from page_rules import DESKTOP, PHONE, RULES, Visit, parsed, served
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page

CHAPTER = "notebooks/03_class_activation_maps"
ALT = "The map for espresso is highest on the coffee"

PAGE = f"""<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>A page</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="book.css">
<link rel="next" href="next.html"><link rel="prev" href="prev.html">
<style>img {{max-width: 100%; vertical-align: middle}} body {{margin: 0}}</style></head><body>
<main><article class="bd-article"><h1>A page</h1>
<p id="before">Before</p>
<p><img id="large" src="large.png" width="1400" height="700" alt="{ALT}"></p>
<a class="image-reference" href="large.png"><img id="linked" style="width: 50%" src="large.png"
  alt="{ALT}"></a>
<img id="icon" src="small.png" alt="A small square, an icon">
<div class="tag_explorer"><img id="explorer" src="large.png" width="1400" height="700"
  alt="{ALT}"></div>
<button><img id="inside" src="large.png" width="1400" height="700" alt="{ALT}"></button>
<p id="after">After</p>
<pre id="wide" tabindex="0" style="width: 9em; overflow: auto">{"wide " * 40}</pre>
<label>A slider <input id="slider" type="range"></label>
<label>A choice <input id="radio" type="radio" name="a"></label>
<label>A word <input id="word"></label>
<div id="drawn" role="slider" aria-label="A drawn slider" aria-valuenow="1" tabindex="0">x</div>
</article></main>
{{scripts}}</body></html>"""

# What Sphinx's script does, which the theme's option turns on.
TURNS = """<script>document.addEventListener("keydown", event => {
  if (["TEXTAREA", "INPUT", "SELECT", "BUTTON"].includes(document.activeElement.tagName)) return;
  if (event.key === "ArrowRight") window.turned = (window.turned ?? 0) + 1; });</script>"""
MODULES = """<script type="module" src="zoom.mjs"></script>
<script type="module" src="keys.mjs"></script>"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a hand-made page, and of the same without modules."""
    folder = tmp_path_factory.mktemp("zoom")
    for name in ("zoom.mjs", "keys.mjs", "book.css"):
        shutil.copy(ROOT / "book/_static" / name, folder)
    Image.effect_noise((1400, 700), 60).save(folder / "large.png")
    Image.new("L", (20, 20)).save(folder / "small.png")
    (folder / "page.html").write_text(PAGE.replace("{scripts}", TURNS + MODULES))
    (folder / "plain.html").write_text(PAGE.replace("{scripts}", TURNS))
    with served(folder) as address:
        yield address


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, browser: Browser, made: str) -> Iterator[Page]:
    touch = request.param == PHONE
    with browser.new_context(viewport=request.param, has_touch=touch, is_mobile=touch) as context:
        page = context.new_page()
        page.goto(f"{made}page.html", wait_until="networkidle")
        yield page


def is_open(page: Page) -> bool:
    return page.evaluate("document.querySelector('dialog.zoom-view').open")


def test_figures_open_and_nothing_else(page: Page):
    assert page.locator(".zoom-button").count() == 2
    for name in ("icon", "explorer", "inside"):
        page.locator(f"#{name}").click()
        assert not is_open(page), name
    for name in ("large", "linked"):
        page.locator(f"#{name}").click()
        assert is_open(page), name
        page.keyboard.press("Escape")
        assert not is_open(page), name


def test_it_shows_the_whole_resolution_and_its_description(page: Page):
    page.locator("#large").click()
    shown = page.locator("dialog img")
    assert shown.get_attribute("alt") == ALT
    box = shown.bounding_box()
    assert box["width"] >= 1400 * 0.99 or box["width"] >= page.viewport_size["width"] * 0.99
    width, drawn = page.evaluate(
        "() => [document.querySelector('dialog img').naturalWidth,"
        " document.querySelector('dialog img').clientWidth]"
    )
    assert width <= drawn <= 2 * width
    pane = "document.querySelector('.zoom-pane')"
    assert page.evaluate(f"{pane}.scrollWidth") >= 1400
    page.evaluate(f"{pane}.scrollTo(10000, 0)")
    assert page.evaluate(f"{pane}.scrollLeft + {pane}.clientWidth") >= 1400 - 1  # its right edge
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_keyboard_opens_scrolls_and_closes(page: Page):
    page.locator(".zoom-button").first.focus()
    page.keyboard.press("Enter")
    assert is_open(page)
    assert page.evaluate("document.activeElement.className") == "zoom-close"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "zoom-pane"
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('.zoom-pane').scrollLeft > 0")
    assert page.evaluate("window.turned") is None
    page.keyboard.press("Escape")
    assert not is_open(page)
    assert page.evaluate("document.activeElement.className") == "zoom-button"
    page.keyboard.press("Space")
    page.locator(".zoom-close").click()
    assert not is_open(page)
    assert page.evaluate("document.activeElement.className") == "zoom-button"


def test_nothing_moves_when_figures_become_operable(browser: Browser, made: str):
    boxes = {}
    for size in (DESKTOP, PHONE):
        for name in ("plain", "page"):
            with browser.new_context(viewport=size) as context:
                page = context.new_page()
                page.goto(f"{made}{name}.html", wait_until="networkidle")
                ids = ("large", "linked", "icon", "explorer", "inside", "after")
                boxes[name] = [page.locator(f"#{one}").bounding_box() for one in ids]
        assert boxes["page"] == boxes["plain"], size


def test_the_view_is_accessible(context: BrowserContext, made: str):
    visit = Visit(context, f"{made}page.html")
    rules = ("axe_violations", "alt_texts", "noise", "failed_requests")
    assert [RULES[rule](visit) for rule in rules] == [[], [], [], []]
    visit.page.locator("#large").click()
    assert [RULES[rule](visit) for rule in rules] == [[], [], [], []]
    visit.page.close()


@pytest.mark.parametrize("name", ["wide", "slider", "radio", "word", "drawn"])
def test_arrow_keys_belong_to_what_has_the_focus(browser: Browser, made: str, name: str):
    with browser.new_context(viewport=DESKTOP) as context:
        page = context.new_page()
        page.goto(f"{made}page.html", wait_until="networkidle")
        page.locator(f"#{name}").focus()
        page.keyboard.press("ArrowRight")
        assert page.evaluate("window.turned") is None
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("ArrowRight")
        assert page.evaluate("window.turned") == 1


def test_without_the_module_a_scrolling_box_would_turn_the_page(browser: Browser, made: str):
    with browser.new_context(viewport=DESKTOP) as context:
        page = context.new_page()
        page.goto(f"{made}plain.html", wait_until="networkidle")
        page.locator("#wide").focus()
        page.keyboard.press("ArrowRight")
        assert page.evaluate("window.turned") == 1


def test_arrow_keys_turn_the_pages_of_the_book(context: BrowserContext, site: str):
    toc = toc_pages()
    here = toc.index(CHAPTER)
    page = context.new_page()
    page.goto(f"{site}{CHAPTER}.html")
    page.keyboard.press("ArrowRight")
    page.wait_for_url(f"{site}{toc[here + 1]}.html")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(f"{site}{CHAPTER}.html")
    page.close()


def test_a_figure_of_the_book_opens_at_every_size_and_in_both_themes(
    context: BrowserContext, site: str
):
    page = context.new_page()
    page.goto(f"{site}{CHAPTER}.html", wait_until="networkidle")
    figures = page.locator(".bd-article img[src*='_images/']").count()
    explorers = page.locator(".tag_explorer").count()
    assert page.locator(".zoom-button").count() >= figures - explorers > 0
    figure = page.locator(".zoom-frame img").first
    for size in (DESKTOP, PHONE):
        for theme in ("light", "dark"):
            page.set_viewport_size(size)
            page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
            figure.scroll_into_view_if_needed()
            figure.click()
            assert page.locator("dialog img").get_attribute("alt") == figure.get_attribute("alt")
            style = "getComputedStyle(document.querySelector('dialog img'))"
            assert page.evaluate(f"{style}.backgroundColor") == "rgb(255, 255, 255)"
            assert page.evaluate(f"{style}.filter") == "none"  # colours as in the legend
            page.keyboard.press("Escape")
    page.close()


def test_nothing_moves_on_a_page_of_the_book(browser: Browser, site: str):
    places = "() => [...document.querySelectorAll('article :is(h2, h3, figure, img)')].map("
    places += "one => Object.values(one.getBoundingClientRect().toJSON()).map(Math.round))"
    for size in (DESKTOP, PHONE):
        found = []
        for blocked in (True, False):
            with browser.new_context(viewport=size) as context:
                page = context.new_page()
                if blocked:
                    page.route("**/zoom.mjs*", lambda route: route.abort())
                page.goto(f"{site}{toc_pages()[0]}.html", wait_until="networkidle")
                assert (page.locator(".zoom-button").count() == 0) == blocked
                found.append(page.evaluate(places))
        assert found[0] == found[1], size


def test_pictures_keep_their_place_and_wait(book: Path):
    for page in toc_pages():
        for image in parsed(book / f"{page}.html").select("img[src*='_images/']"):
            file = (book / f"{page}.html").parent / image["src"]
            if file.suffix == ".svg":
                continue
            with Image.open(file) as picture:
                assert (image["width"], image["height"]) == tuple(map(str, picture.size)), page
            assert image["loading"] == "lazy"


def test_no_icon_is_lost_with_the_icon_script(context: BrowserContext, site: str):
    """The theme's icons come from its fonts: each has its own font and a glyph."""
    page = context.new_page()
    page.goto(f"{site}{CHAPTER}.html", wait_until="networkidle")
    icons = page.evaluate(
        """() => [...document.querySelectorAll('i[class*="fa-"]')].map(one => {
            const style = getComputedStyle(one, '::before');
            return [one.className, style.fontFamily, style.content]; })"""
    )
    assert len(icons) > 5
    wrong = [i for i in icons if "Font Awesome" not in i[1] or i[2] in ("none", "normal", '""')]
    assert wrong == []
    page.close()


def test_the_copy_button_takes_the_code_alone(browser: Browser, site: str):
    with browser.new_context(viewport=DESKTOP) as context:
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.goto(f"{site}{CHAPTER}.html", wait_until="networkidle")
        cell = page.locator(".cell_input .highlight").first
        cell.hover()
        cell.locator("button.copybtn").click()
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied.strip() == cell.locator("pre").inner_text().strip()
        assert copied.startswith("import torch")
        assert ">>>" not in copied
        assert "In [" not in copied
