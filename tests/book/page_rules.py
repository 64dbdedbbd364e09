"""What every page of the book must keep. A rule returns its complaints as sentences."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}

# Without preload axe asks for no files, which would be heard as requests of the page.
AXE = {"resultTypes": ["violations"], "preload": False}

# Faults of the theme that styles and templates cannot mend: (axe rule, part of the element, why).
THEME_FAULTS: list[tuple[str, str, str]] = []


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The folder's address on this machine, as long as the block runs."""
    handler = functools.partial(QuietHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def find_browser() -> str | None:
    names = (
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    )
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@contextmanager
def launched(executable: str) -> Iterator[Browser]:
    quiet = ("background-networking", "component-update", "sync", "gpu")
    flags = ["--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in quiet)]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=flags)
        yield browser
        browser.close()


class Visit:
    """One page opened as a reader with no network would open it, with everything folded out."""

    def __init__(self, context: BrowserContext, url: str):
        self.noise: list[str] = []  # errors in the console and in scripts
        self.foreign: list[str] = []  # requests to other machines
        self.failed: list[str] = []  # answers such as 404
        self.page = context.new_page()
        self.page.on("pageerror", lambda error: self.noise.append(f"script error: {error}"))
        self.page.on("console", self._hear)
        self.page.on("response", self._check_status)
        self.page.route("**/*", self._let_through_if_local)
        self.page.goto(url)
        self.page.evaluate("window.MathJax?.startup?.promise")
        self.page.evaluate(
            """() => {
                document.querySelectorAll('details').forEach(one => one.open = true);
                document.querySelectorAll('.toggle-hidden').forEach(
                    one => one.classList.remove('toggle-hidden'));
            }"""
        )
        self.let_it_settle()

    def let_it_settle(self) -> None:
        """Waits until the page's observers have seen what has changed, two frames later."""
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def _hear(self, message) -> None:
        if message.type == "error":
            self.noise.append(f"console: {message.text}")

    def _check_status(self, response) -> None:
        if response.status >= 400:
            self.failed.append(f"{response.status} for {response.url}")

    def _let_through_if_local(self, route) -> None:
        address = urlsplit(route.request.url)
        if address.scheme in ("data", "blob") or address.hostname == "127.0.0.1":
            route.continue_()
        else:
            self.foreign.append(f"asks for {route.request.url}")
            route.abort()


def noise(visit: Visit) -> list[str]:
    return visit.noise


def foreign_requests(visit: Visit) -> list[str]:
    return visit.foreign


def failed_requests(visit: Visit) -> list[str]:
    return visit.failed


def sideways_scroll(visit: Visit) -> list[str]:
    visit.page.set_viewport_size(PHONE)
    width, shown = visit.page.evaluate(
        """() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"""
    )
    culprits = visit.page.evaluate(
        """() => [...document.querySelectorAll('main *')]
            .filter(one => one.getBoundingClientRect().right > innerWidth + 1)
            .filter(one => {
                for (let box = one.parentElement; box; box = box.parentElement)
                    if (getComputedStyle(box).overflowX != 'visible' && box != document.body
                        && box != document.documentElement) return false;
                return true;
            })
            .slice(0, 3).map(one => one.outerHTML.slice(0, 120))"""
    )
    visit.page.set_viewport_size(DESKTOP)
    return [f"{width} px wide on a phone of {shown} px: {culprits}"] if width > shown else []


def bad_alt_text(alt: str | None) -> str | None:
    """Why this is no description of an image, or None if it may be one."""
    if alt is None or not alt.strip():
        return "no alt text"
    if re.fullmatch(r"[0-9a-f_-]{16,}", alt.strip(), re.IGNORECASE) or re.search(
        r"\b[0-9a-f]{32,}\b", alt
    ):
        return "a hash"
    if re.search(r"\.(png|jpe?g|gif|svg|webp)$", alt.strip(), re.IGNORECASE):
        return "a file name"
    if re.search(r"^\S*/\S*$", alt.strip()):
        return "a path"
    return None


def alt_texts(visit: Visit) -> list[str]:
    images = visit.page.evaluate(
        """() => [...document.querySelectorAll('img')].map(one => ({
            alt: one.getAttribute('alt'), src: one.getAttribute('src'),
            chrome: !one.closest('article') && one.getAttribute('role') == 'presentation'}))"""
    )
    return [
        f"{reason} on image {image['src']}: {image['alt']!r}"
        for image in images
        if not image["chrome"] and (reason := bad_alt_text(image["alt"]))
    ]


def axe_violations(visit: Visit) -> list[str]:
    """Serious and critical findings of axe-core: light, dark, and where things must scroll."""
    found = []
    # Colours fade in; axe would measure them half-way.
    visit.page.add_style_tag(content="* {transition: none !important}")
    for mode, size in (("light", DESKTOP), ("dark", DESKTOP), ("light", PHONE)):
        visit.page.set_viewport_size(size)
        visit.page.evaluate(
            "mode => Object.assign(document.documentElement.dataset, {mode, theme: mode})", mode
        )
        visit.let_it_settle()
        for violation in Axe().run(visit.page, options=AXE).response["violations"]:
            if violation["impact"] not in ("serious", "critical"):
                continue
            for node in violation["nodes"]:
                if any(r == violation["id"] and s in node["html"] for r, s, _ in THEME_FAULTS):
                    continue
                summary = " ".join(node["failureSummary"].split())
                found.append(
                    f"{mode}, {size['width']} px: {violation['id']} "
                    f"at {' '.join(map(str, node['target']))}: "
                    f"{node['html'][:160]} ({summary[:240]})"
                )
    visit.page.set_viewport_size(DESKTOP)
    return found


def mathematics(visit: Visit) -> list[str]:
    written, set_, wrong = visit.page.evaluate(
        """() => ['.math', '.math mjx-container, mjx-container.math', 'mjx-merror'].map(
            one => document.querySelectorAll(one).length)"""
    )
    raw = visit.page.evaluate(
        r"""() => {
            const copy = document.body.cloneNode(true);
            copy.querySelectorAll('pre, code, script, style, mjx-container').forEach(
                one => one.remove());
            return copy.textContent.match(/\\[(\[]/g)?.length ?? 0;
        }"""
    )
    return (
        [f"{written} formulas are written, {set_} are set"] * (set_ < written)
        + [f"MathJax could not read {wrong} formulas"] * bool(wrong)
        + [f"{raw} formulas are left as TeX"] * bool(raw)
    )


def errors_in_output(visit: Visit) -> list[str]:
    outputs = visit.page.evaluate(
        """() => [...document.querySelectorAll('.cell_output, .output, .traceback')].map(
            one => one.textContent)"""
    )
    error = re.compile(r"Traceback \(most recent call last\)|^\w*(?:Error|Exception): .*", re.M)
    return [f"an output shows {match[0]!r}" for text in outputs if (match := error.search(text))]


def header_buttons(visit: Visit) -> list[str]:
    return visit.page.evaluate(
        """() => [...document.querySelectorAll('.article-header-buttons a')]
            .filter(one => !one.getAttribute('href')?.replace('#', ''))
            .map(one => 'a button leads nowhere: ' + one.outerHTML.slice(0, 120))"""
    )


RULES: dict[str, Callable[[Visit], list[str]]] = {
    rule.__name__: rule
    for rule in (
        foreign_requests,
        sideways_scroll,
        alt_texts,
        axe_violations,
        mathematics,
        errors_in_output,
        header_buttons,
        failed_requests,
        noise,  # last: what the others set off is heard too
    )
}


def examine(context: BrowserContext, url: str) -> dict[str, list[str]]:
    """The complaints of every rule about one page."""
    visit = Visit(context, url)
    try:
        return {name: rule(visit) for name, rule in RULES.items()}
    finally:
        visit.page.close()


def examine_in_own_browser(executable: str, urls: Sequence[str]) -> list[dict[str, list[str]]]:
    """`examine` for some pages, in a browser started for them: one of several at a time."""
    with launched(executable) as browser, browser.new_context(viewport=DESKTOP) as context:
        return [examine(context, url) for url in urls]


def parsed(page: Path) -> BeautifulSoup:
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")


def pages_of(site: Path) -> list[str]:
    """All pages but the theme's templates and bare redirections."""
    return [
        page.relative_to(site).as_posix()
        for page in sorted(site.rglob("*.html"))
        if "_static" not in page.parts and not redirection(parsed(page))
    ]


def redirection(soup: BeautifulSoup) -> str | None:
    """Where a page sends its reader at once, as the book's first address does."""
    tag = soup.find("meta", attrs={"http-equiv": re.compile("refresh", re.IGNORECASE)})
    return tag["content"].split("url=")[-1] if tag else None


def dead_links(site: Path) -> list[str]:
    """Links and sources inside the site that lead to no file, or to no place in it."""
    soups = {page: parsed(page) for page in site.rglob("*.html") if "_static" not in page.parts}
    places = {
        page: {tag.get(key) for key in ("id", "name") for tag in soup.find_all(attrs={key: True})}
        for page, soup in soups.items()
    }
    dead = []
    for page, soup in soups.items():
        links = {tag.get("href", tag.get("src")) for tag in soup.select("[href], [src]")}
        for link in links | {redirection(soup)} - {None}:
            address = urlsplit(link)
            if address.scheme or address.netloc:
                continue
            path = unquote(address.path)
            target = (page.parent / path).resolve() if path else page
            if target.is_dir():
                target /= "index.html"
            if not target.is_relative_to(site.resolve()) or not target.is_file():
                dead.append(f"{page.relative_to(site)}: {link} leads to no file")
            elif unquote(address.fragment) not in {"", *places.get(target, [])}:
                dead.append(f"{page.relative_to(site)}: {link} leads to no place in the page")
    return sorted(set(dead))


def bad_downloads(page: Path) -> list[str]:
    """Faults of the notebooks that a page offers for download; a page without one has none."""
    faults = []
    for link in {a["href"] for a in parsed(page).select('a[href$=".ipynb"]')}:
        if urlsplit(link).scheme:
            continue
        try:
            notebook = nbformat.read(page.parent / unquote(link), as_version=4)
            nbformat.validate(notebook)
        except (OSError, json.JSONDecodeError, nbformat.reader.NotJSONError) as error:
            faults.append(f"{link} is no notebook: {error!r:.100}")
            continue
        except nbformat.ValidationError as error:
            faults.append(f"{link} is no valid notebook: {error!s:.100}")
            continue
        outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
        if any(out.output_type == "error" for out in outputs):
            faults.append(f"{link} holds a traceback")
    return faults


def search_results(page: Page, site: str, word: str) -> int:
    page.goto(f"{site}search.html?q={word}")
    page.wait_for_function("document.querySelector('#search-results p.search-summary')?.innerText")
    page.wait_for_timeout(500)
    return page.locator("#search-results ul.search li").count()


def themes_of_the_switch(page: Page, url: str) -> set[str]:
    """The themes a reader gets through by pressing the button three times."""
    page.goto(url)
    themes = set()
    for _ in range(3):
        page.locator("button.theme-switch-button:visible").first.click()
        themes.add(page.evaluate("document.documentElement.dataset.theme"))
    return themes
