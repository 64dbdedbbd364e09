// The map grows as channels are added, those first that give most to the score.
import { classMap, largest, mean, upsample } from "../arithmetic.mjs";
import { colour } from "../colours.mjs";
import { element, written } from "./explorer.mjs";

const THUMBNAILS = 10;

/** Channels by what they give to the score, w_k F_k with F_k the mean over places, largest first. */
export function byContribution(features, weight) {
  const places = features.length / weight.length;
  const given = Array.from(weight, (w, k) =>
    w * mean(features.subarray(k * places, (k + 1) * places)),
  );
  const order = given.map((_, k) => k).sort((a, b) => given[b] - given[a]);
  return { given, order };
}

export function correlation(a, b) {
  const [middleA, middleB] = [mean(a), mean(b)];
  let [both, squareA, squareB] = [0, 0, 0];
  a.forEach((value, i) => {
    both += (value - middleA) * (b[i] - middleB);
    squareA += (value - middleA) ** 2;
    squareB += (b[i] - middleB) ** 2;
  });
  return both / Math.sqrt(squareA * squareB);
}

// From one by one to all, in steps that grow.
function counts(K) {
  const steps = [];
  for (let n = 0; n < K; n += n < 10 ? 1 : n < 50 ? 5 : n < 200 ? 25 : 100) steps.push(n);
  return [...steps, K];
}

export default function build(explorer) {
  const classes = explorer.choice("class", [], (m) => choose(Number(m)));
  let scene, map, ranked, steps, m;
  const slider = explorer.slider(
    "channels added",
    { min: 0, max: 1, step: 1, value: 1, text: (i) => (steps ? `${steps[i]} of ${scene.K}` : "") },
    () => draw(),
  );
  const [partial, full] = [explorer.panel(), explorer.panel()];
  const strip = element("div", { className: "explorer-thumbnails" });
  explorer.panels.after(strip);

  function choose(chosen) {
    m = chosen;
    map = classMap(scene.features, scene.weight[m]);
    ranked = byContribution(scene.features, scene.weight[m]);
    strip.replaceChildren(...ranked.order.slice(0, THUMBNAILS).map(thumbnail));
    draw();
  }

  function thumbnail(k) {
    const { H, W, features } = scene;
    const canvas = element("canvas", { width: W, height: H });
    const image = new ImageData(W, H);
    const own = features.subarray(k * H * W, (k + 1) * H * W);
    const top = largest(own) || 1;
    own.forEach((value, i) => image.data.set([...colour(value / top), 255], 4 * i));
    canvas.getContext("2d").putImageData(image, 0, 0);
    const says = `channel ${k}: gives ${written(ranked.given[k])}`;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", says);
    return element("div", { title: says }, canvas, element("span", { textContent: `+${written(ranked.given[k])}` }));
  }

  function draw() {
    const { H, W, size, picture, bias, logits, features, weight } = scene;
    const count = steps[slider.input.valueAsNumber];
    const added = ranked.order.slice(0, count);
    const sum = classMap(features, weight[m], added);
    const high = Math.max(largest(map), largest(sum));
    const name = scene.classes[m];
    partial.draw({
      picture, high, values: upsample(sum, H, W, size, size), title: `${count} channels`,
      alt: `Map of ${name} from ${count} channels`,
    });
    full.draw({
      picture, high, values: upsample(map, H, W, size, size), title: `all ${scene.K}`,
      alt: `Map of ${name} from all channels`,
    });
    const alike = count ? `; correlation with the whole map ${written(correlation(sum, map))}` : "";
    explorer.says(
      `${count} channels and the bias ${written(bias[m])} give ${written(mean(sum) + bias[m])}; ` +
        `the score of ${name} is ${written(logits[m])}${alike}.`,
    );
  }

  function show(opened) {
    scene = opened;
    steps = counts(scene.K);
    Object.assign(slider.input, { max: steps.length - 1, value: Math.min(5, steps.length - 1) });
    slider.tell();
    classes.offer(scene.classes.map((name, i) => [i, name]));
    choose(0);
  }
  return { groups: ["photos"], label: "Explorer: the map grows, channel by channel", show };
}
