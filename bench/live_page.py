"""The live page: in which precision its network is stored, and how long it takes in a browser.

Precision: on 200 pictures that nothing was calibrated on, square crops of the bundled photographs
and pictures of the sticker world. For each way to store the weights: bytes as they are, and as they
are served (gzip); how often the top class is torch's, where torch's first class leads by more than
0.1 logit; how often the five highest are; how well the map of torch's top class correlates with
torch's; onnxruntime's time for one picture on one thread.

Browser: with Chromium, on the pages that `make book` has built (another folder: its path as the
argument). Each time is the median of several, in milliseconds.
"""

import gzip
import io
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from playwright.sync_api import Page
from torch import Tensor

from camlib import cam, lab, networks, onnx_export, photos

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/book"))
from page_rules import find_browser, launched, served

PICTURES = 200
MARGIN = 0.1


def pictures(transform) -> Tensor:
    """(200, 3, 224, 224): half of them crops of photographs, half pictures of the lab."""
    random = np.random.default_rng(7)
    inputs = []
    for i in range(PICTURES // 2):
        photo = photos.load(photos.NAMES[i % len(photos.NAMES)]).image
        side = int(min(photo.size) * random.uniform(0.4, 1))
        x, y = (int(random.integers(0, full - side + 1)) for full in photo.size)
        inputs.append(transform(photo.crop((x, y, x + side, y + side))))
    world = lab.StickerWorld("test", size=224, length=PICTURES - len(inputs))
    inputs += [transform(world[i][0]) for i in range(len(world))]
    return torch.stack(inputs)


def candidates(network) -> dict[str, bytes]:
    """Ways to store the weights, by name, as ONNX files."""
    exact = onnx_export.model(network).SerializeToString(deterministic=True)
    weights = onnx_export.convolution_weights(onnx.load_from_string(exact))
    shapes = {tensor.name: tensor.dims for tensor in onnx.load_from_string(exact).graph.initializer}
    pointwise = [name for name in weights if list(shapes[name][2:]) == [1, 1]]
    half = dict.fromkeys(weights, "float16")
    ways = {
        "float32": {},
        "float16": half,
        "int8": dict.fromkeys(weights, "int8"),
        "int8, depthwise in float16": half | dict.fromkeys(pointwise, "int8"),
        "float16, last 10 1x1 in int8": half | dict.fromkeys(pointwise[-10:], "int8"),
        "float16, last 5 1x1 in int8": half | dict.fromkeys(pointwise[-5:], "int8"),
        "float16, last 2 in int8": half | dict.fromkeys(pointwise[-2:], "int8"),
        "float16, classifier in int8": half | dict.fromkeys(pointwise[-1:], "int8"),
    }
    made = {}
    for name, precisions in ways.items():
        model = onnx.load_from_string(exact)
        onnx_export.pack(model, precisions)
        made[name] = model.SerializeToString(deterministic=True)
    return made


def compare(file: bytes, images: Tensor, logits: Tensor, maps: Tensor) -> dict[str, float]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    order = logits.sort(dim=1, descending=True)
    top = order.indices[:, 0]
    clear = order.values[:, 0] - order.values[:, 1] > MARGIN
    same, same_five, correlations, seconds = [], [], [], []
    for i, image in enumerate(images):
        start = time.perf_counter()
        scores, every = session.run(["logits", "maps"], {"images": image[None].numpy()})
        seconds.append(time.perf_counter() - start)
        five = scores[0].argsort()[::-1][:5]
        if clear[i]:
            same.append(five[0] == int(top[i]))
        same_five.append(set(five.tolist()) == set(order.indices[i, :5].tolist()))
        correlations.append(np.corrcoef(every[0, top[i]].ravel(), maps[i].ravel())[0, 1])
    return {
        "top": float(np.mean(same)),
        "clear": len(same),
        "five": float(np.mean(same_five)),
        "worst": min(correlations),
        "median": statistics.median(correlations),
        "ms": 1000 * statistics.median(seconds),
    }


def precisions() -> None:
    torch.set_num_threads(1)
    network = networks.create("lite0")
    images = pictures(network.transform)
    results = [cam.class_activation_maps(network, image[None]) for image in images]
    logits = torch.cat([result.logits for result in results])
    maps = torch.cat([result.maps[:, 0] for result in results])
    print(
        f"{'weights':30}{'MB':>7}{'gzip':>7}{'top':>8}{'of':>5}{'five':>8}{'map, worst':>12}"
        f"{'median':>9}{'ms':>6}"
    )
    for name, file in candidates(network).items():
        row = compare(file, images, logits, maps)
        packed = len(gzip.compress(file, 9, mtime=0))
        print(
            f"{name:30}{len(file) / 1e6:7.2f}{packed / 1e6:7.2f}{row['top']:8.1%}{row['clear']:5}"
            f"{row['five']:8.1%}{row['worst']:12.5f}{row['median']:9.5f}{row['ms']:6.0f}"
        )


STATE = "const { state } = await import(new URL('../_static/live.mjs', location));"
FRAMES = """() => new Promise(done => {
    const times = [];
    const act = i => {
        if (i == 15) return done(times);
        const start = performance.now();
        ACT
        times.push(performance.now() - start);
        requestAnimationFrame(() => act(i + 1));
    };
    act(0);
})"""
ACTS = {
    "another class": "document.querySelectorAll('.live-five button')[i % 5].click();",
    "another threshold": """const slider = document.querySelector('.live-threshold');
        slider.value = 0.05 + 0.05 * i;
        slider.dispatchEvent(new Event('input'));""",
}


def in_the_browser(folder: Path) -> None:
    executable = find_browser()
    if executable is None:
        print("No times in the browser: there is none. Install chromium, or set CHROMIUM to one.")
        return
    with served(folder) as site, launched(executable) as browser:
        starts, firsts = [], []
        for _ in range(5):
            page = browser.new_page()
            page.goto(f"{site}book/live.html")
            page.click(".live-load")
            page.wait_for_selector(".live[data-mapped=coffee]")
            start, run = page.evaluate(
                f"async () => {{ {STATE} return [state.started, state.maps.milliseconds]; }}"
            )
            starts.append(start)
            firsts.append(start + run)
        print(f"{'files there to network ready':40}{statistics.median(starts):7.0f}")
        print(f"{'files there to first maps':40}{statistics.median(firsts):7.0f}")
        photo = photos.load("china").image
        for side in (640, 4000, 8000):
            content = jpeg(photo.resize((side, side * 3 // 4)))
            total, run = zip(*(timed(page, f"{side}.jpg", content) for _ in range(7)), strict=True)
            what = f"photo of {side * side * 3 / 4e6:.1f} megapixels to its maps"
            print(f"{what:40}{statistics.median(total):7.0f}, network {statistics.median(run):.0f}")
        for name, act in ACTS.items():
            times = page.evaluate(FRAMES.replace("ACT", act))
            print(f"{name:40}{statistics.median(times):7.1f}, longest {max(times):.1f}")


def jpeg(image) -> bytes:
    file = io.BytesIO()
    image.save(file, "jpeg", quality=85)
    return file.getvalue()


def timed(page: Page, name: str, content: bytes) -> tuple[float, float]:
    """Milliseconds from the choice of a photo to its maps, and of these in the network."""
    page.evaluate(
        """() => {
            const place = document.querySelector('.live');
            place.dataset.mapped = '';
            globalThis.measured = new Promise(done => {
                document.querySelector('.live-file').addEventListener('change', () => {
                    const start = performance.now();
                    const seen = new MutationObserver(() => {
                        if (!place.dataset.mapped) return;
                        seen.disconnect();
                        done(performance.now() - start);
                    });
                    seen.observe(place, { attributeFilter: ['data-mapped'] });
                }, { once: true });
            });
        }"""
    )
    page.set_input_files(".live-file", {"name": name, "mimeType": "image/jpeg", "buffer": content})
    total = page.evaluate("globalThis.measured")
    run = page.evaluate(f"async () => {{ {STATE} return state.maps.milliseconds; }}")
    return total, run


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "_build/html")
    precisions()
    if (folder / "book/live.html").exists():
        in_the_browser(folder)
    else:
        print(f"No times in the browser: there is no page in {folder}. Run: make book")


if __name__ == "__main__":
    main()
