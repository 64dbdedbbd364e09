// mean(map) + bias = logit: live, also with places switched off; and a head for which it fails.
import { classMap, largest, mean, upsample } from "../arithmetic.mjs";
import { element, written } from "./explorer.mjs";

/**
 * The score of one class the network's own way: the mean of each channel, with the places in `off`
 * as zero, then the weights, then the bias.
 */
export function scoreByPooling(features, weight, bias, off) {
  let score = bias;
  for (let k = 0; k < weight.length; k++) {
    let pooled = 0;
    for (let place = 0; place < off.length; place++)
      if (!off[place]) pooled += features[k * off.length + place];
    score += (weight[k] * pooled) / off.length;
  }
  return score;
}

export default function build(explorer) {
  let scene, off, row, column;
  const heads = explorer.choice("head", [], () => draw());
  const panel = explorer.panel();
  const sum = element("div", { className: "explorer-sum" });
  const reset = element("button", { type: "button", textContent: "all places on" });
  explorer.panels.append(element("div", { className: "explorer-panel" }, sum, reset));
  const settle = panel.pointable(
    "Arrow keys move, space switches a place off and on.",
    () => [scene.H, scene.W],
    (r, c, pressed) => {
      [row, column] = [r, c];
      const place = row * scene.W + column;
      if (pressed && own()) off[place] = off[place] ? 0 : 1;
      draw();
    },
  );
  reset.addEventListener("click", () => {
    off.fill(0);
    draw();
  });
  const own = () => heads.select.value === "0";

  function draw() {
    const head = scene.heads[Number(heads.select.value)];
    const { H, W, size } = scene;
    if (!own()) off.fill(0);
    const whole = own() ? classMap(scene.features, scene.weight[0]) : head.map;
    const map = whole.map((value, place) => (off[place] ? 0 : value));
    const gone = off.reduce((a, b) => a + b, 0);
    const score = gone ? scoreByPooling(scene.features, scene.weight[0], head.bias, off) : head.logit;
    const [middle, total] = [mean(map), mean(map) + head.bias];
    const share = Math.abs(total - score) / largest(whole.map(Math.abs));
    panel.draw({
      picture: scene.picture,
      values: upsample(map, H, W, size, size, "nearest"),
      high: Math.max(largest(whole), 0),
      place: { row, column, H, W },
      off: { off, H, W },
      title: `map of “${head.label}”`,
      alt: `Map of ${head.label}, ${gone} places switched off. ${panel.hint}`,
    });
    const lines = [
      ["mean of the map", written(middle, 3)],
      ["+ bias", written(head.bias, 3)],
      ["= sum", written(total, 3)],
      [gone ? "score of the places left" : "score (torch)", written(score, 3)],
      ["apart, of the map's size", share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`],
    ];
    sum.replaceChildren(
      ...lines.map(([label, value]) => element("div", {}, element("span", { textContent: label }), element("b", { textContent: value }))),
    );
    reset.disabled = !gone;
    const verdict =
      share < 0.005
        ? "The map is the score, spread over the places."
        : "The numbers do not add up: this map is not what the score is made of.";
    const how = own() ? "" : " Places can be switched off with lite0's own head.";
    explorer.says(`${verdict} ${written(total, 3)} against ${written(score, 3)}${gone ? `, with ${gone} of ${H * W} places off` : ""}.${how}`);
  }

  function show(opened) {
    scene = opened;
    off = new Uint8Array(scene.H * scene.W);
    [row, column] = [3, 3];
    settle(row, column);
    heads.offer(scene.heads.map(({ name }, i) => [i, name]), heads.select.value || "0");
    draw();
  }
  return { groups: ["photos"], label: "Explorer: mean of the map plus bias is the score", show };
}
