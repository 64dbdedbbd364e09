"""The explorers on the pages: their arithmetic against torch, and every control of each of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from page_rules import AXE, DESKTOP, PHONE, parsed
from playwright.sync_api import Browser, Locator, Page, expect
from scipy import ndimage

from camlib import boxes, cam, scenes

NOTEBOOKS = "notebooks/"
# The pages that have them, by kind.
PAGES = {
    "classes": "01_what_does_a_network_look_at",
    "channels": "03_class_activation_maps",
    "scales": "03_class_activation_maps",
    "identity": "03_class_activation_maps",
    "threshold": "06_from_map_to_box",
    "methods": "08_average_or_maximum",
}
MOST_ADDED = 400_000  # bytes, before a reader touches anything
ENOUGH = 1e-3  # of the map's range


@pytest.fixture(scope="module")
def modules(browser: Browser, site: str) -> Iterator[Page]:
    """A blank page of the site, in which the modules can be called."""
    page = browser.new_page()
    page.goto(f"{site}_static/made/explorers/index.json")
    page.evaluate(
        """async () => {
            for (const name of ["arithmetic", "colours", "explorers/explorer",
                                "explorers/channels", "explorers/identity", "explorers/threshold"])
                Object.assign(globalThis, await import(`/_static/${name}.mjs`));
        }"""
    )
    yield page
    page.close()


def close(ours: Any, theirs: torch.Tensor) -> bool:
    theirs = theirs.double()
    apart = (torch.tensor(ours, dtype=torch.float64).reshape(theirs.shape) - theirs).abs().max()
    return bool(apart <= ENOUGH * (theirs.max() - theirs.min()))


SCENES = (*scenes.of_photos(), *scenes.of_lab())
FEATURES = """name => scene(name).then(s => s.weight.map(w => [...classMap(s.features, w)]))"""


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_maps_of_the_exported_features_are_torchs(modules: Page, scene: scenes.Scene):
    maps = torch.tensor(modules.evaluate(FEATURES, scene.name)).reshape(scene.maps.shape)
    for ours, theirs in zip(maps, scene.maps, strict=True):
        assert close(ours.tolist(), theirs)
    # A map laid over the picture the wrong way round would not pass.
    assert not close(maps[0].T.tolist(), scene.maps[0])


@pytest.mark.parametrize("comparison", scenes.comparisons(), ids=lambda one: one.name)
def test_maps_of_the_methods_are_torchs(modules: Page, comparison: scenes.Comparison):
    maps = modules.evaluate(
        """async name => Object.entries((await scene(name)).maps).map(
            ([method, {values}]) => [method, values.map(v => [...v])])""",
        comparison.name,
    )
    assert [method for method, _ in maps] == list(comparison.maps)
    for method, values in maps:
        for ours, theirs in zip(values, comparison.maps[method], strict=True):
            assert close(ours, theirs)


@pytest.mark.parametrize("size", [(7, 7, 224, 224), (12, 12, 96, 96), (5, 3, 11, 50), (4, 4, 2, 3)])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_upsampling_is_torchs(modules: Page, size: tuple[int, int, int, int], mode: str):
    rows, columns, height, width = size
    small = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    ours = modules.evaluate(
        "([map, H, W, h, w, mode]) => [...upsample(Float32Array.from(map), H, W, h, w, mode)]",
        [small.flatten().tolist(), *size, mode],
    )
    theirs = (
        cam.upsample(small, (height, width))
        if mode == "bilinear"
        else torch.nn.functional.interpolate(small[None, None], (height, width))[0, 0]
    )
    assert np.allclose(ours, theirs.flatten(), atol=1e-6)


def test_boxes_are_camlibs(modules: Page):
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randn(60, 6, 7, generator=generator)
    maps = torch.cat([cam.upsample(coarse, (30, 41)), -torch.ones(1, 30, 41)])
    shares = torch.rand(len(maps), generator=generator) * 0.9
    for one, share in zip(maps, shares.tolist(), strict=True):
        ours = modules.evaluate(
            "([map, share]) => boxFromMap(Float32Array.from(map), 30, 41, share)",
            [one.flatten().tolist(), share],
        )
        assert (ours or [0, 0, 0, 0]) == boxes.boxes_from_maps(one, share).tolist()


def test_the_box_follows_the_largest_region_not_the_brightest(modules: Page):
    heatmap = torch.zeros(8, 8)
    heatmap[0, 0], heatmap[3:6, 2:7], heatmap[6, 7] = 1.0, 0.5, 0.5  # the last one by its corner
    ours = modules.evaluate(
        "map => boxFromMap(Float32Array.from(map), 8, 8)", heatmap.flatten().tolist()
    )
    assert ours == [2, 3, 8, 7]


@pytest.mark.parametrize(
    ("a", "b"),
    [([0, 0, 4, 4], [2, 2, 6, 6]), ([0, 0, 4, 4], [4, 0, 8, 4]), ([1, 2, 3, 9], [1, 2, 3, 9])],
)
def test_iou_is_camlibs(modules: Page, a: list[int], b: list[int]):
    ours = modules.evaluate("([a, b]) => iou(a, b)", [a, b])
    assert ours == pytest.approx(boxes.iou(torch.tensor(a), torch.tensor(b)).item())


def test_half_precision_is_numpys(modules: Page):
    values = np.array([0, -0.0, 1, -2.5, 65504, 6e-8, 1e-5, 0.1, np.inf, -np.inf], "<f2")
    ours = modules.evaluate(
        "bytes => [...halves(Uint8Array.from(bytes))].map(String)", list(values.tobytes())
    )
    theirs = [float(value) for value in values]
    assert [float(one.replace("Infinity", "inf")) for one in ours] == theirs


@pytest.mark.parametrize(("name", "signed"), [("magma", False), ("PuOr", True)])
def test_colours_are_matplotlibs(modules: Page, name: str, signed: bool):
    ours = modules.evaluate(
        "signed => Array.from({length: 256}, (_, i) => colour(i / 256, signed))", signed
    )
    theirs = matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3].astype(int)
    assert np.abs(np.array(ours) - theirs).max() <= 1


def test_correlation_and_order_of_channels(modules: Page):
    scene = SCENES[0]
    given = scene.weight[0] * scene.features.mean(dim=(1, 2))
    order = modules.evaluate(
        "name => scene(name).then(s => byContribution(s.features, s.weight[0]).order.slice(0, 20))",
        scene.name,
    )
    assert torch.allclose(given[order], given.sort(descending=True).values[:20], rtol=1e-2)
    ours = modules.evaluate("correlation([1, 2, 4, 3], [2, 1, 5, 5])")
    assert ours == pytest.approx(np.corrcoef([1, 2, 4, 3], [2, 1, 5, 5])[0, 1])


class Reader:
    """A page opened at a kind of explorer, with what went wrong on it."""

    def __init__(self, browser: Browser, site: str, kind: str, **options: Any):
        self.context = browser.new_context(**{"viewport": DESKTOP, **options})
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(f"{site}{NOTEBOOKS}{PAGES[kind]}.html")
        self.page.locator(f".tag_explorer-{kind}").first.scroll_into_view_if_needed()
        self.root = self.page.locator(f".explorer-{kind}").first

    @property
    def says(self) -> str:
        return self.root.locator(".explorer-says").inner_text()

    def choose(self, label: str, value: str) -> None:
        self.root.get_by_label(label, exact=True).select_option(value)

    def slide(self, label: str, value: float) -> None:
        slider = self.root.get_by_role("slider", name=label)
        slider.evaluate(
            "(one, value) => { one.value = value; one.dispatchEvent(new Event('input')); }", value
        )

    def canvas(self, n: int = 0) -> Locator:
        return self.root.locator("canvas").nth(n)


@pytest.fixture
def reader(browser: Browser, site: str) -> Iterator[Any]:
    opened: list[Reader] = []

    def at(kind: str, **options: Any) -> Reader:
        opened.append(Reader(browser, site, kind, **options))
        opened[-1].page.set_default_timeout(5000)
        expect(opened[-1].root).to_be_visible(timeout=10_000)
        return opened[-1]

    yield at
    for one in opened:
        one.context.close()
        assert one.errors == []


def drawn(canvas: Locator) -> str:
    return canvas.evaluate("one => one.toDataURL()")


ASTRONAUT, COFFEE = SCENES[0], SCENES[1]


def number(text: str) -> float:
    return float(text.replace("\u2212", "-"))


def test_classes_switch_and_places_vote(reader: Any):
    r = reader("classes")
    before = drawn(r.canvas())
    r.root.get_by_label("space shuttle").check()
    assert drawn(r.canvas()) != before
    assert "space shuttle: probability" in r.says
    box = r.canvas().bounding_box()
    r.canvas().click(position={"x": box["width"] * 5.5 / 7, "y": box["height"] * 1.5 / 7})
    votes = ASTRONAUT.maps[:, 1, 5]
    assert "At row 1, column 5, counted from 0" in r.says
    highest = votes.argmax().item()
    assert f"{ASTRONAUT.classes[highest]} is highest there" in r.says
    shown = r.root.locator(".explorer-classes-list label .explorer-number:last-child")
    assert [number(text) for text in shown.all_inner_texts()] == pytest.approx(
        votes.tolist(), abs=0.08
    )
    r.canvas().press("ArrowDown")
    assert "At row 2, column 5" in r.says
    for _ in range(9):
        r.canvas().press("ArrowRight")
    assert "At row 2, column 6" in r.says  # the border holds
    assert "01_what" in r.page.url  # and the arrows did not turn the page
    r.choose("picture", "coffee")
    expect(r.root.locator(".explorer-says")).to_contain_text("espresso: probability 95 %")
    assert "CC0" in r.root.locator(".explorer-credit").inner_text()


def test_channels_add_up_to_the_score(reader: Any):
    r = reader("channels")
    slider = r.root.get_by_role("slider")
    assert r.root.locator(".explorer-thumbnails canvas").count() == 10
    r.slide("channels added", 0)
    assert re.search(r"^0 channels and the bias \u22120.03 give \u22120.03;", r.says)
    slider.press("ArrowRight")
    assert r.says.startswith("1 channels")
    r.slide("channels added", 10_000)
    total, score = (
        number(n) for n in re.search(r"give ([\d.]+); .* is ([\d.]+);", r.says).groups()
    )
    assert total == pytest.approx(score, abs=0.02) == pytest.approx(6.27, abs=0.02)
    assert "correlation with the whole map 1.00" in r.says
    assert drawn(r.canvas(0)) == drawn(r.canvas(1))
    r.choose("class", "1")
    assert ASTRONAUT.classes[1] in r.says


def test_scales_change_the_picture_and_not_the_numbers(reader: Any):
    r = reader("scales")
    said, seen = r.says, {drawn(r.canvas(1))}
    for label in ("nearest", "one for both", "with negative values", "each to its maximum"):
        r.root.get_by_label(label).check()
        seen.add(drawn(r.canvas(1)))
    assert len(seen) == 4  # the last is the second again
    assert r.says == said
    lowest, highest = ASTRONAUT.maps[0].min().item(), ASTRONAUT.maps[0].max().item()
    first = re.search(r": from (\S+) to (\S+), (\d+) of 49", said)
    assert [number(first[1]), number(first[2])] == pytest.approx([lowest, highest], abs=0.08)
    assert int(first[3]) == (ASTRONAUT.maps[0] < 0).sum()
    r.choose("left", "2")
    assert r.says.startswith(ASTRONAUT.classes[2])


def test_threshold_gives_camlibs_box_and_iou(reader: Any):
    r = reader("threshold")
    heatmap, truth = cam.upsample(ASTRONAUT.maps[0], 224), ASTRONAUT.boxes[0].round()
    for share in (0.2, 0.6):
        r.slide("threshold", share)
        box = boxes.box_from_map(heatmap, share)
        found = [int(v) for v in re.search(r"box \((.*?)\)", r.says)[1].split(", ")]
        # A pixel, as the features are stored in bytes.
        assert found == pytest.approx(box.tolist(), abs=1)
        overlap = boxes.iou(box[None], truth).max().item()
        assert number(re.search(r"truth ([\d.]+):", r.says)[1]) == pytest.approx(overlap, abs=0.015)
        assert ("found" if overlap >= 0.5 else "missed") in r.says
    r.root.get_by_role("slider").press("ArrowLeft")
    assert "Above 59 %" in r.says
    r.root.get_by_label("all regions").check()
    counted = {
        share: ndimage.label(boxes.above("", heatmap, share), np.ones((3, 3)))[1]
        for share in (0.08, 0.1, 0.12, 0.14, 0.16)
    }
    share, regions = max(counted.items(), key=lambda one: one[1])
    r.slide("threshold", share)
    assert regions > 1
    assert f"{regions} boxes" in r.says
    without = next(i for i, one in enumerate(ASTRONAUT.boxes) if not len(one))
    r.choose("class", str(without))
    assert "no IoU" in r.says
    r.choose("picture", "lab-1")
    expect(r.root.locator(".explorer-credit")).to_contain_text("lab")


def test_methods_stand_side_by_side(reader: Any):
    r = reader("methods")
    one = scenes.comparisons()[0]
    for n, method in enumerate(list(one.maps)[:2]):
        box = boxes.box_from_map(cam.upsample(one.maps[method][0], 96), 0.2)
        overlap = boxes.iou(box[None], one.boxes[0].round()).max().item()
        told = re.findall(r"IoU (\d\.\d+)", r.says)[n]
        assert number(told) == pytest.approx(overlap, abs=0.03)
    r.choose("left", "Grad-CAM, GoogLeNet-GAP")
    grad_cam = drawn(r.canvas(0))
    r.choose("right", "CAM, GoogLeNet-GAP")
    # The same map but for its scale and the ReLU: the same picture where no value is negative.
    assert re.findall(r"IoU (\d\.\d+)", r.says)[0] == re.findall(r"IoU (\d\.\d+)", r.says)[1]
    r.slide("threshold", 0.6)
    assert drawn(r.canvas(0)) != grad_cam
    for method in one.maps:
        r.choose("left", method)
        assert r.says.startswith(method)
    r.choose("class", "1")
    assert "no true box of this class" in r.says


def test_the_identity_holds_and_fails_where_it_should(reader: Any):
    r = reader("identity")
    assert r.says.startswith("The map is the score")
    score = ASTRONAUT.logits[0].item()
    assert f"against {score:.3f}" in r.says
    for _ in range(3):
        r.canvas().press("ArrowDown")
    r.canvas().press(" ")
    assert "with 1 of 49 places off" in r.says
    assert r.says.startswith("The map is the score")
    left = score - ASTRONAUT.maps[0, 6, 3].item() / 49
    assert number(re.search(r"against ([\d.\u2212]+),", r.says)[1]) == pytest.approx(left, abs=0.01)
    r.root.get_by_role("button", name="all places on").click()
    assert "off" not in r.says
    r.choose("head", "1")
    assert r.says.startswith("The map is the score")
    for picture in scenes.PHOTOS:
        r.choose("picture", picture)
        r.choose("head", "2")
        expect(r.root.locator(".explorer-says")).to_contain_text("do not add up")
    r.canvas().click()
    assert "off" not in r.says.split("Places can be")[0]


@pytest.mark.parametrize("kind", PAGES)
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_is_cut_and_nothing_moves(reader: Any, kind: str, size: dict[str, int]):
    """For every picture: all fits the room kept, and nothing moves while it is set up."""
    watch = """() => new Promise(done => {
        let shifts = 0;
        new PerformanceObserver(list => list.getEntries().forEach(
            one => shifts += one.hadRecentInput ? 0 : one.value,
        )).observe({type: "layout-shift", buffered: true});
        setTimeout(() => done(shifts), 300);
    })"""
    r = reader(kind, viewport=size)
    assert r.page.evaluate(watch) < 0.01
    pictures = r.root.get_by_label("picture", exact=True)
    for value in pictures.evaluate("one => [...one.options].map(option => option.value)"):
        r.choose("picture", value)
        r.page.wait_for_timeout(60)
        inner, outer, wide, width = r.root.evaluate(
            "one => [one.scrollHeight, one.clientHeight, one.scrollWidth, one.clientWidth]"
        )
        assert inner <= outer, f"{value} needs {inner} px of height, {outer} are kept"
        assert wide <= width


@pytest.mark.parametrize("kind", PAGES)
def test_explorers_are_accessible(reader: Any, kind: str):
    r = reader(kind)
    r.page.add_style_tag(content="* {transition: none !important}")
    for mode in ("light", "dark"):
        r.page.evaluate(
            "mode => Object.assign(document.documentElement.dataset, {mode, theme: mode})", mode
        )
        r.page.wait_for_timeout(100)
        context = {"include": [[f".explorer-{kind}"]]}
        found = Axe().run(r.page, context=context, options=AXE).response["violations"]
        serious = [one["id"] for one in found if one["impact"] in ("serious", "critical")]
        assert serious == [], mode


@pytest.mark.parametrize("page", sorted(set(PAGES.values())))
def test_explorers_add_little_to_a_page(browser: Browser, site: str, page: str):
    """All of a page's explorers in view, nothing touched: files as they are, not compressed."""
    with browser.new_context(viewport=DESKTOP) as context:
        tab = context.new_page()
        sizes: dict[str, int] = {}
        tab.on("response", lambda answer: sizes.update({answer.url: len(answer.body())}))
        tab.goto(f"{site}{NOTEBOOKS}{page}.html")
        for cell in tab.locator(".tag_explorer").all():
            cell.scroll_into_view_if_needed()
            expect(cell.locator(".explorer")).to_be_visible(timeout=10_000)
        tab.wait_for_load_state("networkidle")
    own = {
        url: size
        for url, size in sizes.items()
        if re.search(r"/made/explorers/|/explorers/|explorers\.css|arithmetic|colours|living", url)
    }
    assert any("/made/explorers/" in url for url in own)
    assert sum(own.values()) <= MOST_ADDED


@pytest.mark.parametrize("kind", PAGES)
def test_without_scripts_a_figure_stands_there(browser: Browser, site: str, book: Path, kind: str):
    cell = parsed(book / f"{NOTEBOOKS}{PAGES[kind]}.html").select_one(f".tag_explorer-{kind}")
    assert len(cell.select_one("figure img")["alt"]) > 30
    assert cell.select_one("figcaption")
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{site}{NOTEBOOKS}{PAGES[kind]}.html")
        image = page.locator(f".tag_explorer-{kind} img").first
        expect(image).to_be_visible()
        # At its own proportions, with no room kept for an explorer.
        width, height = image.evaluate("one => [one.width, one.height]")
        own = image.evaluate("one => one.naturalWidth / one.naturalHeight")
        assert width / height == pytest.approx(own, rel=0.02)


def test_pages_opened_as_files_keep_the_figures(browser: Browser, book: Path):
    with browser.new_context() as context:
        page = context.new_page()
        page.goto((book / f"{NOTEBOOKS}{PAGES['classes']}.html").as_uri())
        page.wait_for_timeout(300)
        image = page.locator(".tag_explorer-classes img").first
        expect(image).to_be_visible()
        assert page.locator(".explorer").count() == 0


def test_a_missing_file_leaves_the_figure(browser: Browser, site: str):
    with browser.new_context() as context:
        page = context.new_page()
        page.route("**/made/explorers/**", lambda route: route.abort())
        page.goto(f"{site}{NOTEBOOKS}{PAGES['classes']}.html")
        cell = page.locator(".tag_explorer-classes").first
        cell.scroll_into_view_if_needed()
        page.wait_for_timeout(500)
        expect(cell.locator("img").first).to_be_visible()
        assert cell.locator(".explorer").count() == 0
