// One pair of maps, drawn in several ways: interpolation and the colour scale.
import { classMap, largest, smallest, upsample } from "../arithmetic.mjs";
import { written } from "./explorer.mjs";

export default function build(explorer) {
  let scene, maps;
  let [mode, scale] = ["bilinear", "own"];
  const pair = [0, 1];
  const classes = ["left", "right"].map((side, i) =>
    explorer.choice(side, [], (m) => {
      pair[i] = Number(m);
      draw();
    }),
  );
  explorer.radio("upsampling", [["bilinear", "bilinear"], ["nearest", "nearest"]], (value) => {
    mode = value;
    draw();
  });
  const kinds = [["own", "each to its maximum"], ["shared", "one for both"], ["signed", "with negative values"]];
  explorer.radio("colour scale", kinds, (value) => {
    scale = value;
    draw();
  });
  const panels = [explorer.panel(), explorer.panel()];

  function draw() {
    const { H, W, size, picture, classes: names } = scene;
    const shown = pair.map((m) => maps[m]);
    const both = Math.max(...shown.map((map) => largest(map.map(scale === "signed" ? Math.abs : (v) => v))));
    panels.forEach((panel, i) => {
      const high = scale === "own" ? largest(shown[i]) : both;
      panel.draw({
        picture,
        values: upsample(shown[i], H, W, size, size, mode),
        low: scale === "signed" ? -high : 0,
        high: Math.max(high, 0),
        signed: scale === "signed",
        title: names[pair[i]],
      });
    });
    explorer.says(
      pair
        .map((m, i) => {
          const below = shown[i].filter((value) => value < 0).length;
          return `${names[m]}: from ${written(smallest(shown[i]), 1)} to ${written(largest(shown[i]), 1)}, ${below} of ${H * W} places negative`;
        })
        .join("; ") + ".",
    );
  }

  function show(opened) {
    scene = opened;
    maps = scene.weight.map((weight) => classMap(scene.features, weight));
    [pair[0], pair[1]] = [0, scene.classes.length - 1];
    classes.forEach((choice, i) => choice.offer(scene.classes.map((name, m) => [m, name]), pair[i]));
    draw();
  }
  return { groups: ["photos"], label: "Explorer: upsampling and colour scale", show };
}
