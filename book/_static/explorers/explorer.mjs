// The frame that all explorers share: choice of the picture, panels, controls, a live read-out.
import { bytesOf, halves } from "../arithmetic.mjs";
import { colour, overlay } from "../colours.mjs";

const DATA = new URL("../made/explorers/", import.meta.url);
const files = new Map(); // name -> promise of the file's content, for all explorers of a page

function load(name) {
  if (!files.has(name)) {
    const loading = fetch(new URL(`${name}.json`, DATA)).then((answer) => {
      if (!answer.ok) throw new Error(`${answer.status} for ${answer.url}`);
      return answer.json();
    });
    loading.catch(() => files.delete(name)); // so that the next try asks again
    files.set(name, loading);
  }
  return files.get(name);
}

/**
 * A scene or comparison as camlib.export writes it, unpacked: `features` (K, H * W) with K, H, W;
 * `weight[m]`, K values; `maps[method]` {H, W, values: one map for each class}; `picture` ImageData.
 */
export async function scene(name) {
  const data = await load(name);
  const unpacked = { ...data, picture: await decoded(data.picture, data.size) };
  if (data.features) {
    const [K, H, W] = data.shape;
    const weight = halves(bytesOf(data.weight));
    Object.assign(unpacked, {
      K, H, W,
      features: halves(bytesOf(data.features)),
      weight: data.classes.map((_, m) => weight.subarray(m * K, (m + 1) * K)),
      heads: data.heads.map((head) => ({ ...head, map: halves(bytesOf(head.map)) })),
    });
  }
  if (data.maps)
    unpacked.maps = Object.fromEntries(
      Object.entries(data.maps).map(([method, { shape: [M, H, W], values }]) => {
        const all = halves(bytesOf(values));
        const one = (m) => all.subarray(m * H * W, (m + 1) * H * W);
        return [method, { H, W, values: Array.from({ length: M }, (_, m) => one(m)) }];
      }),
    );
  return unpacked;
}

async function decoded(address, size) {
  const image = new Image();
  image.src = address;
  await image.decode();
  const canvas = new OffscreenCanvas(size, size);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, size, size);
}

/** An element with properties, attributes (in `attributes`) and children. */
export function element(tag, { attributes = {}, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** A number for a read-out, with a minus sign that is read as one. */
export function written(value, digits = 2) {
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? `\u2212${text}` : text;
}

export function percent(share) {
  return share > 0 && share < 0.01 ? "< 1 %" : `${Math.round(100 * share)} %`;
}

let identifiers = 0;

/**
 * One explorer. `build(explorer)` makes the panels and controls of a kind, once, and returns
 * {groups, show}: which lists of the index its pictures come from, and what to do with a new one.
 */
export class Explorer {
  constructor(build, kind) {
    this.panels = element("div", { className: "explorer-panels" });
    this.controls = element("div", { className: "explorer-controls" });
    this.status = element("p", { className: "explorer-says", attributes: { role: "status" } });
    this.credit = element("p", { className: "explorer-credit" });
    this.root = element(
      "div",
      { className: `explorer explorer-${kind}`, attributes: { role: "group" } },
      this.controls,
      this.panels,
      this.status,
      this.credit,
    );
    this.pictures = this.choice("picture", [], (name) => this.open(name));
    this.kind = build(this);
  }

  /** Loads the list of pictures and the first of them. */
  async start() {
    const index = await load("index");
    const listed = this.kind.groups.flatMap((group) => index[group]);
    this.pictures.offer(listed.map(({ name, title }) => [name, title]));
    this.root.setAttribute("aria-label", this.kind.label);
    await this.open(listed[0].name);
  }

  async open(name) {
    this.wanted = name;
    let opened;
    try {
      opened = await scene(name);
    } catch (error) {
      if (!this.scene) throw error;
      this.says("The picture could not be loaded. Choose it again when you are online.");
      return;
    }
    if (this.wanted !== name) return; // the reader has chosen another one meanwhile
    this.scene = opened;
    this.credit.textContent = opened.credit;
    this.kind.show(opened);
  }

  says(text) {
    this.status.textContent = text;
  }

  /** A drop-down list. `offer([[value, text], ...])` fills it; `onChange` hears of every choice. */
  choice(label, options, onChange, parent = this.controls) {
    const select = element("select", { id: `explorer-${identifiers++}` });
    const offer = (pairs, value) => {
      select.replaceChildren(
        ...pairs.map(([key, text]) => element("option", { value: key, textContent: text })),
      );
      if (value !== undefined) select.value = value;
    };
    offer(options);
    select.addEventListener("change", () => onChange(select.value));
    const name = element("label", { htmlFor: select.id, textContent: label });
    parent.append(element("div", { className: "explorer-choice" }, name, select));
    return { offer, select };
  }

  /** Some options side by side, of which one is on. */
  radio(label, options, onChange, parent = this.controls) {
    const name = `explorer-${identifiers++}`;
    const group = element("fieldset", { className: "explorer-radio" });
    group.append(element("legend", { textContent: label }));
    for (const [value, text] of options) {
      const input = element("input", { type: "radio", name, value, checked: value === options[0][0] });
      input.addEventListener("change", () => onChange(value));
      group.append(element("label", {}, input, ` ${text}`));
    }
    parent.append(group);
    return group;
  }

  /** A slider whose value stands beside it; `text(value)` writes it, also for screen readers. */
  slider(label, { min, max, step, value, text }, onInput, parent = this.controls) {
    const id = `explorer-${identifiers++}`;
    const input = element("input", { type: "range", id, min, max, step, value });
    const shown = element("output");
    const name = element("label", { htmlFor: id, textContent: label });
    const tell = () => {
      shown.textContent = text(input.valueAsNumber);
      input.setAttribute("aria-valuetext", shown.textContent);
    };
    input.addEventListener("input", () => {
      tell();
      onInput(input.valueAsNumber);
    });
    tell();
    const head = element("div", {}, name, " ", shown);
    parent.append(element("div", { className: "explorer-slider" }, head, input));
    return { input, tell };
  }

  /** A picture with a map, a title and a legend. */
  panel() {
    const panel = new Panel();
    this.panels.append(panel.root);
    return panel;
  }
}

const SHARP = 448; // pixels of a canvas: lines stay thin on a phone's fine screen

class Panel {
  constructor() {
    this.canvas = element("canvas", { width: SHARP, height: SHARP, attributes: { role: "img" } });
    this.title = element("div", { className: "explorer-title" });
    this.bar = element("div", { className: "explorer-bar" });
    this.low = element("span");
    this.high = element("span");
    this.root = element(
      "div",
      { className: "explorer-panel" },
      this.title,
      this.canvas,
      element("div", { className: "explorer-legend" }, this.low, this.bar, this.high),
    );
  }

  /**
   * picture: ImageData. values: the map at its size. low, high, signed, opacity: as for `overlay`.
   * boxes: [{box, truth}]. place: {row, column, H, W} gets a frame. off: places drawn black.
   */
  draw({ picture, values, low = 0, high, signed, opacity, boxes = [], place, off, title, alt }) {
    const context = this.canvas.getContext("2d");
    const small = new OffscreenCanvas(picture.width, picture.height);
    const shown = overlay(picture, values, { low, high, signed, opacity });
    small.getContext("2d").putImageData(shown, 0, 0);
    const scale = SHARP / picture.width;
    context.imageSmoothingEnabled = picture.width >= 200; // the lab's pixels stay pixels
    context.drawImage(small, 0, 0, SHARP, SHARP);
    if (off) this.#black(context, off);
    for (const { box, truth } of boxes) this.#box(context, box.map((v) => v * scale), truth);
    if (place) this.#frame(context, place);
    this.title.textContent = title;
    this.canvas.setAttribute("aria-label", alt ?? title);
    this.low.textContent = written(low, high < 2 ? 2 : 0);
    this.high.textContent = written(high, high < 2 ? 2 : 0);
    const stops = Array.from({ length: 9 }, (_, i) => `rgb(${colour(i / 8, signed).join(" ")})`);
    this.bar.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  }

  #box(context, [x0, y0, x1, y1], truth) {
    const strokes = truth ? [["#000", 6, []], ["#fff", 3, [12, 9]]] : [["#000", 6, []], ["#56b4e9", 3, []]];
    for (const [style, width, dashes] of strokes) {
      Object.assign(context, { strokeStyle: style, lineWidth: width });
      context.setLineDash(dashes);
      context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    }
    context.setLineDash([]);
  }

  #frame(context, { row, column, H, W }) {
    const [high, wide] = [SHARP / H, SHARP / W];
    for (const [style, width] of [["#000", 7], ["#fff", 3]]) {
      Object.assign(context, { strokeStyle: style, lineWidth: width });
      context.strokeRect(column * wide + 3, row * high + 3, wide - 6, high - 6);
    }
  }

  #black(context, { off, H, W }) {
    context.fillStyle = "#000";
    for (let place = 0; place < off.length; place++)
      if (off[place])
        context.fillRect(
          ((place % W) * SHARP) / W, (Math.floor(place / W) * SHARP) / H, SHARP / W, SHARP / H,
        );
  }

  /**
   * Lets a reader point at places, by pointer or arrow keys. `size()` gives [H, W];
   * `onMove(row, column, pressed)` hears of each; `pressed` is true for a click, Enter and space.
   */
  pointable(label, size, onMove) {
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-roledescription", "map");
    this.canvas.classList.add("explorer-pointable");
    this.hint = label;
    let [row, column] = [0, 0];
    const move = (r, c, pressed) => {
      const [H, W] = size();
      row = Math.min(Math.max(r, 0), H - 1);
      column = Math.min(Math.max(c, 0), W - 1);
      onMove(row, column, pressed);
    };
    this.canvas.addEventListener("click", ({ offsetX, offsetY }) => {
      const [H, W] = size();
      const { clientWidth, clientHeight } = this.canvas;
      move(Math.floor((offsetY * H) / clientHeight), Math.floor((offsetX * W) / clientWidth), true);
    });
    this.canvas.addEventListener("keydown", (event) => {
      const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      const step = steps[event.key] ?? ([" ", "Enter"].includes(event.key) ? [0, 0] : null);
      if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      event.stopPropagation(); // left and right turn the pages elsewhere
      move(row + step[0], column + step[1], step[0] === 0 && step[1] === 0);
    });
    return (r, c) => ([row, column] = [r, c]);
  }
}
