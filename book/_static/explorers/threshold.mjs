// From map to box: the threshold, the regions above it, the box and its IoU with the truth.
import { above, classMap, iou, largest, regions, upsample } from "../arithmetic.mjs";
import { element, percent, written } from "./explorer.mjs";

const SHARES = Array.from({ length: 20 }, (_, i) => i / 20);

/** The boxes of a map at a share of its maximum: of its largest region, or of all. */
export function boxesAt(map, size, share, all) {
  const found = regions(above(map, share), size, size).map(({ box }) => box);
  return all ? found : found.slice(0, 1);
}

/** The best IoU of any box with any true one; null where there is no truth. */
export function bestIou(boxes, truth) {
  if (!truth.length) return null;
  return Math.max(0, ...boxes.flatMap((box) => truth.map((one) => iou(box, one))));
}

export default function build(explorer) {
  let scene, map, truth, curve, m;
  let all = false;
  const classes = explorer.choice("class", [], (chosen) => choose(Number(chosen)));
  const slider = explorer.slider(
    "threshold",
    { min: 0, max: 0.95, step: 0.01, value: 0.2, text: (v) => `${percent(v)} of the maximum` },
    () => draw(),
  );
  explorer.radio("boxes", [["one", "largest region"], ["all", "all regions"]], (value) => {
    all = value === "all";
    measure();
    draw();
  });
  const panel = explorer.panel();
  const plot = element("canvas", { className: "explorer-curve", width: 448, height: 448, attributes: { role: "img" } });
  explorer.panels.append(element("div", { className: "explorer-panel" },
    element("div", { className: "explorer-title", textContent: "IoU at every threshold" }), plot));

  // The curve is drawn in the page's ink and at its size, which change.
  const again = () => scene && draw();
  new ResizeObserver(again).observe(plot);
  new MutationObserver(again).observe(document.documentElement, { attributeFilter: ["data-theme"] });

  function choose(chosen) {
    m = chosen;
    const { H, W, size } = scene;
    map = upsample(classMap(scene.features, scene.weight[m]), H, W, size, size);
    truth = scene.boxes[m];
    measure();
    draw();
  }

  function measure() {
    curve = SHARES.map((share) => bestIou(boxesAt(map, scene.size, share, all), truth));
  }

  function draw() {
    const share = slider.input.valueAsNumber;
    const boxes = boxesAt(map, scene.size, share, all);
    const overlap = bestIou(boxes, truth);
    const name = scene.classes[m];
    panel.draw({
      picture: scene.picture,
      values: map,
      high: largest(map),
      boxes: [...truth.map((box) => ({ box, truth: true })), ...boxes.map((box) => ({ box }))],
      title: `map of ${name}`,
      alt: `Map of ${name} with ${boxes.length} of our boxes and ${truth.length} true ones`,
    });
    drawCurve(share, overlap);
    const kept = above(map, share).reduce((a, b) => a + b, 0) / map.length;
    const size = boxes.length === 1 ? `, box (${boxes[0].join(", ")})` : "";
    const worth =
      overlap === null
        ? `No box of ${name} is drawn in this picture, so there is no IoU.`
        : `IoU with the truth ${written(overlap)}: ${overlap >= 0.5 ? "found" : "missed"} at the usual 0.5.`;
    explorer.says(
      `Above ${percent(share)} of the maximum: ${percent(kept)} of the picture, ` +
        `${boxes.length} ${boxes.length === 1 ? "box" : "boxes"}${size}. ${worth}`,
    );
  }

  function drawCurve(share, overlap) {
    const context = plot.getContext("2d");
    const unit = plot.width / (plot.clientWidth || 320); // canvas pixels for one on the page
    const [left, top] = [34 * unit, 9 * unit];
    const [width, height] = [plot.width - left - 10 * unit, plot.height - top - 46 * unit];
    const at = (x, y) => [left + x * width, top + (1 - y) * height];
    const ink = getComputedStyle(plot).color;
    context.clearRect(0, 0, plot.width, plot.height);
    Object.assign(context, { font: `${13 * unit}px sans-serif`, fillStyle: ink, strokeStyle: ink, lineWidth: unit });
    for (const [tick, align] of [[0, "left"], [0.5, "center"], [1, "right"]]) {
      context.globalAlpha = 0.4;
      context.beginPath();
      context.moveTo(...at(0, tick));
      context.lineTo(...at(1, tick));
      context.stroke();
      context.globalAlpha = 1;
      Object.assign(context, { textAlign: "right", textBaseline: "middle" });
      context.fillText(`${tick}`, left - 6 * unit, at(0, tick)[1]);
      Object.assign(context, { textAlign: align, textBaseline: "top" });
      context.fillText(`${100 * tick}`, at(tick, 0)[0], top + height + 6 * unit);
    }
    context.textAlign = "center";
    context.fillText("threshold, % of max.", left + width / 2, top + height + 26 * unit);
    if (overlap === null) {
      context.fillText("no true box of this class", ...at(0.5, 0.6));
      plot.setAttribute("aria-label", "No curve: no true box of this class is drawn");
      return;
    }
    context.lineWidth = 3 * unit;
    context.beginPath();
    curve.forEach((value, i) => context.lineTo(...at(SHARES[i], value)));
    context.stroke();
    context.beginPath();
    context.arc(...at(share, overlap), 6 * unit, 0, 2 * Math.PI);
    Object.assign(context, { fillStyle: "#56b4e9", strokeStyle: "#000", lineWidth: 1.5 * unit });
    context.fill();
    context.stroke();
    const best = largest(curve);
    plot.setAttribute(
      "aria-label",
      `IoU against threshold: highest, ${written(best)}, at ${percent(SHARES[curve.indexOf(best)])}; now ${written(overlap)}`,
    );
  }

  function show(opened) {
    scene = opened;
    classes.offer(scene.classes.map((name, i) => [i, scene.boxes[i].length ? name : `${name} (no true box)`]));
    choose(0);
  }
  return { groups: ["photos", "lab"], label: "Explorer: from threshold to box", show };
}
