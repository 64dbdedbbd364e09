// Two methods side by side on the same picture and class, with their boxes.
import { largest, upsample } from "../arithmetic.mjs";
import { percent, written } from "./explorer.mjs";
import { bestIou, boxesAt } from "./threshold.mjs";

export default function build(explorer) {
  let scene;
  let m = 0;
  const classes = explorer.choice("class", [], (chosen) => {
    m = Number(chosen);
    draw();
  });
  const methods = ["left", "right"].map((side) => explorer.choice(side, [], () => draw()));
  const slider = explorer.slider(
    "threshold",
    { min: 0, max: 0.95, step: 0.01, value: 0.2, text: (v) => `${percent(v)} of the maximum` },
    () => draw(),
  );
  const panels = [explorer.panel(), explorer.panel()];

  function draw() {
    const { size, picture } = scene;
    const truth = scene.boxes[m];
    const told = methods.map(({ select }, i) => {
      const { H, W, values } = scene.maps[select.value];
      const map = upsample(values[m], H, W, size, size);
      const boxes = boxesAt(map, size, slider.input.valueAsNumber, false);
      panels[i].draw({
        picture,
        values: map,
        high: Math.max(largest(map), 0),
        boxes: [...truth.map((box) => ({ box, truth: true })), ...boxes.map((box) => ({ box }))],
        title: select.value,
        alt: `${select.value}: map of ${scene.classes[m]}`,
      });
      const overlap = bestIou(boxes, truth);
      return `${select.value}: ${overlap === null ? "no true box of this class" : `IoU ${written(overlap)}`}`;
    });
    explorer.says(`${told.join("; ")}. Each map has its own colour scale and its own maximum.`);
  }

  function show(opened) {
    scene = opened;
    const names = Object.keys(scene.maps);
    methods.forEach(({ offer, select }, i) => offer(names.map((name) => [name, name]), select.value || names[i]));
    m = 0;
    classes.offer(scene.classes.map((name, i) => [i, scene.boxes[i].length ? `${name} (true)` : name]));
    draw();
  }
  return { groups: ["comparisons"], label: "Explorer: methods side by side", show };
}
