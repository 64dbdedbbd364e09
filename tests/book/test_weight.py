"""What the first view of a page transfers, compressed as a static host sends it."""

from __future__ import annotations

import gzip
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from building import toc_pages
from page_rules import DESKTOP, served
from playwright.sync_api import Browser, Response

LIMIT = 1_500_000  # bytes

# What static hosts compress. Pictures and fonts are compressed already.
TEXT = (".html", ".css", ".js", ".mjs", ".json", ".svg", ".xml", ".wasm", ".txt")


def transferred(response: Response) -> int:
    """Bytes of an answer's body on the wire."""
    body = response.body()
    path = urlsplit(response.url).path
    text = path.endswith((*TEXT, "/"))
    return len(gzip.compress(body, compresslevel=6)) if text else len(body)


def first_view(browser: Browser, url: str) -> dict[str, int]:
    """What each address costs that a new reader's browser asks for before it scrolls."""
    responses: list[Response] = []
    with browser.new_context(viewport=DESKTOP) as context:
        page = context.new_page()
        page.on("response", lambda response: responses.append(response))
        page.goto(url, wait_until="networkidle")
        return {
            response.url: transferred(response)
            for response in responses
            if response.ok and response.url.startswith("http")
        }


def table(weights: dict[str, dict[str, int]]) -> str:
    """One line for each page: kB in all, in pictures, and the heaviest file."""
    lines = [f"{'page':48} {'kB':>6} {'images':>7} {'requests':>9}  heaviest"]
    for page, files in weights.items():
        pictures = sum(n for url, n in files.items() if url.endswith((".png", ".jpg", ".webp")))
        heaviest = max(files, key=lambda url: files[url])
        lines.append(
            f"{page:48} {sum(files.values()) / 1000:6.0f} {pictures / 1000:7.0f} {len(files):9}  "
            f"{files[heaviest] / 1000:.0f} kB {Path(urlsplit(heaviest).path).name[:40]}"
        )
    return "\n".join(lines)


def test_the_first_view_of_every_page_is_light(browser: Browser, site: str):
    weights = {page: first_view(browser, f"{site}{page}.html") for page in toc_pages()}
    print(table(weights))
    heavy = [page for page, files in weights.items() if sum(files.values()) > LIMIT]
    if heavy:
        pytest.fail(f"over {LIMIT} bytes: {heavy}\n{table(weights)}", pytrace=False)


def test_an_added_picture_is_weighed(browser: Browser, tmp_path: Path):
    page = "<!DOCTYPE html><html lang=en><title>A page</title><link rel=icon href=data:,><p>{}"
    (tmp_path / "light.html").write_text(page.format("text " * 20_000))
    (tmp_path / "heavy.html").write_text(page.format("<img src=large.png alt='large'>"))
    (tmp_path / "far.html").write_text(
        page.format(
            "<p style='height: 9000px'></p>"
            "<img src=large.png alt='large' width=9 height=9 loading='lazy'>"
        )
    )
    # Zeros: if pictures were compressed, this one would weigh nothing.
    (tmp_path / "large.png").write_bytes(bytes(2_000_000))
    with served(tmp_path) as address:
        weights = {
            name: sum(first_view(browser, f"{address}{name}.html").values())
            for name in ("light", "heavy", "far")
        }
    assert weights["light"] < 2_000  # 100 kB of one word, compressed
    assert 2_000_000 <= weights["heavy"] < 2_001_000
    assert weights["far"] < 1_000  # below the fold, not asked for
