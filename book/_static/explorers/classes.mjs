// Which class? Switch the class of the map; point at a place and see which classes vote there.
import { classMap, largest, upsample } from "../arithmetic.mjs";
import { element, percent, written } from "./explorer.mjs";

export default function build(explorer) {
  const panel = explorer.panel();
  const list = element("fieldset", { className: "explorer-classes-list" });
  const legend = element("legend");
  explorer.panels.append(list);
  let scene, maps, chosen, row, column;
  const settle = panel.pointable("Arrow keys move the place.", () => [scene.H, scene.W], (r, c) => {
    [row, column] = [r, c];
    draw();
  });

  function draw() {
    const { classes, probabilities, H, W, size } = scene;
    const map = maps[chosen];
    const votes = maps.map((one) => one[row * W + column]);
    const scale = largest(votes.map(Math.abs));
    panel.draw({
      picture: scene.picture,
      values: upsample(map, H, W, size, size),
      high: largest(map),
      place: { row, column, H, W },
      title: `map of ${classes[chosen]}`,
      alt: `Map of ${classes[chosen]} over the picture. ${panel.hint}`,
    });
    legend.textContent = `class, probability; vote at row ${row}, column ${column}`;
    votes.forEach((vote, m) => {
      const { bar, number } = rows[m];
      number.textContent = written(vote, 1);
      bar.style.width = `${(50 * Math.abs(vote)) / scale}%`;
      bar.style.marginLeft = vote < 0 ? `${50 - (50 * Math.abs(vote)) / scale}%` : "50%";
      bar.classList.toggle("explorer-negative", vote < 0);
    });
    const first = votes.indexOf(largest(votes));
    explorer.says(
      `${classes[chosen]}: probability ${percent(probabilities[chosen])}. At row ${row}, column ` +
        `${column}, counted from 0, its map is ${written(map[row * W + column], 1)}; of the ` +
        `classes listed, ${classes[first]} is highest there, ${written(votes[first], 1)}.`,
    );
  }

  let rows = [];
  function show(opened) {
    scene = opened;
    maps = scene.weight.map((weight) => classMap(scene.features, weight));
    chosen = 0;
    const peak = maps[0].indexOf(largest(maps[0]));
    [row, column] = [Math.floor(peak / scene.W), peak % scene.W];
    settle(row, column);
    rows = scene.classes.map((name, m) => {
      const input = element("input", { type: "radio", name: `class-of-${list.id}`, checked: m === 0 });
      const bar = element("span", { className: "explorer-vote" });
      const number = element("span", { className: "explorer-number" });
      input.addEventListener("change", () => {
        chosen = m;
        draw();
      });
      const label = element(
        "label",
        {},
        input,
        element("span", { className: "explorer-name", textContent: name }),
        element("span", { className: "explorer-number", textContent: percent(scene.probabilities[m]) }),
        element("span", { className: "explorer-votes" }, bar),
        number,
      );
      return { label, bar, number };
    });
    list.replaceChildren(legend, ...rows.map(({ label }) => label));
    draw();
  }
  list.id = `classes-${Math.random().toString(36).slice(2)}`;
  return { groups: ["photos"], label: "Explorer: which class, and where", show };
}
