// The live page: the reader's photo, the real network, and its maps, all in this browser.
//
// The worker (live_worker.mjs) reads pictures and runs the network; this file shows what comes back.
// One run gives the maps of all classes, so another class or threshold needs no run.

import { boxFromMap, largest, mean, softmax, upsample } from "./arithmetic.mjs";
import { colour } from "./colours.mjs";
import { boxInPhoto } from "./resample.mjs";

const MATCHES = 12; // classes that the search lists
const SHARP = 672; // side of the square as it is drawn and saved, pixels
const NEEDED = {
  WebAssembly: () => typeof WebAssembly === "object",
  "web workers": () => typeof Worker === "function",
  DecompressionStream: () => typeof DecompressionStream === "function",
  OffscreenCanvas: () => typeof OffscreenCanvas === "function",
  createImageBitmap: () => typeof createImageBitmap === "function",
};

/** What is on the page. For the picture shown: see `seen` and `mapped` of the worker. */
export const state = {
  network: "none", // none, loading, ready
  started: null, // milliseconds from the files to a network that can run
  picture: null, // {id, name, credit, book, square, whole, width, height}
  maps: null, // {id, logits, probabilities, ranks, maps, H, W, milliseconds}
  chosen: null, // index of the class shown
  heatmap: null, // its map at the size of the square
  box: null, // (x0, y0, x1, y1) in the square, or null
};

const MARKUP = `
<div class="live-bar">
  <button type="button" class="live-load live-main"></button>
  <progress class="live-progress" max="1" value="0" aria-label="Download of the network" hidden></progress>
</div>
<div class="live-bar">
  <button type="button" class="live-choose">Choose a photo</button>
  <button type="button" class="live-camera">Take a photo</button>
  <span class="live-hint">or drop or paste one anywhere on this page, or start with one of the book's:</span>
  <input type="file" accept="image/*" class="live-file" aria-label="A photo of yours" hidden>
  <input type="file" accept="image/*" capture="environment" class="live-shot" aria-label="A photo from the camera" hidden>
</div>
<div class="live-photos" role="group" aria-label="Photographs of the book"></div>
<p class="live-status" role="status"></p>
<p class="live-refusal" role="alert"></p>
<div class="live-result" hidden>
  <figure class="live-square">
    <p class="live-title"></p>
    <div class="live-stack" role="img">
      <canvas class="live-photo" width="${SHARP}" height="${SHARP}"></canvas>
      <canvas class="live-map"></canvas>
      <div class="live-box" hidden></div>
    </div>
    <div class="live-scale" hidden><span>0</span><canvas width="256" height="1"></canvas><output></output></div>
  </figure>
  <div class="live-panel" hidden>
    <p id="live-five">The five highest classes:</p>
    <ol class="live-five" aria-labelledby="live-five"></ol>
    <div class="live-search">
      <label for="live-search">Any other of the <span class="live-count"></span> classes</label>
      <input id="live-search" type="text" role="combobox" aria-autocomplete="list" aria-expanded="false"
        aria-controls="live-matches" autocomplete="off" autocapitalize="none" spellcheck="false"
        placeholder="for instance: tabby">
      <ul id="live-matches" role="listbox" aria-label="Classes" hidden></ul>
    </div>
    <label>Map over photo: <output class="live-opacity-value"></output>
      <input type="range" class="live-opacity" min="0" max="1" step="0.05" value="0.65"></label>
    <label>Threshold of the box: <output class="live-threshold-value"></output>
      <input type="range" class="live-threshold" min="0" max="0.95" step="0.01" value="0.2"></label>
    <button type="button" class="live-save">Save map and box as PNG</button>
  </div>
  <dl class="live-read"></dl>
  <figure class="live-whole">
    <canvas role="img"></canvas>
    <figcaption></figcaption>
  </figure>
</div>`;

const percent = (share) =>
  share >= 0.9995 ? "> 99.9 %" : share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
const signed = (value, digits) => value.toFixed(digits).replace("-", "−");

for (const place of document.querySelectorAll(".live")) start(place);

async function start(place) {
  const missing = Object.keys(NEEDED).filter((name) => !NEEDED[name]());
  if (missing.length) {
    const words = document.createElement("p");
    words.textContent =
      `This browser lacks what the network needs (${missing.join(", ")}). A current version of ` +
      "Firefox, Chrome, Edge or Safari has it.";
    place.prepend(words);
    return;
  }
  const base = new URL("made/live/", import.meta.url).href;
  let page;
  try {
    const answer = await fetch(new URL("page.json", base));
    if (!answer.ok) throw new Error(String(answer.status));
    page = await answer.json();
  } catch {
    return; // the files are not there: what stands in the page stays
  }
  place.innerHTML = MARKUP;
  place.classList.add("live-app");
  new Live(place, page, base);
}

class Live {
  constructor(place, page, base) {
    this.place = place;
    this.page = page;
    this.base = base;
    this.size = page.transform.size;
    this.asked = 0; // pictures asked for; an answer about another than the last is dropped
    this.names = page.classes;
    this.startWorker();
    this.listen();
    this.showPhotos();
    this.showLoadButton();
    this.one(".live-count").textContent = page.classes.length;
    const scale = this.one(".live-scale canvas").getContext("2d");
    for (let i = 0; i < 256; i++) {
      scale.fillStyle = `rgb(${colour((i + 0.5) / 256)})`;
      scale.fillRect(i, 0, 1, 1);
    }
  }

  one(selector) {
    return this.place.querySelector(selector);
  }

  tell(words) {
    this.one(".live-status").textContent = words;
  }

  refuse(words) {
    this.one(".live-refusal").textContent = words;
  }

  // the worker

  startWorker() {
    this.worker = new Worker(new URL("live_worker.mjs", import.meta.url), { type: "module" });
    this.worker.postMessage({ setup: this.page, base: this.base });
    this.worker.onmessage = ({ data }) => this.hear(data);
    this.worker.onerror = (event) => {
      event.preventDefault();
      // Out of memory, mostly. What is on the page stays.
      this.worker.terminate();
      state.network = "none";
      this.startWorker();
      this.showLoadButton();
      this.refuse("The network stopped, perhaps for lack of memory. Load it again.");
    };
  }

  hear(data) {
    if (data.progress !== undefined) {
      this.one(".live-progress").value = data.progress / data.of;
      this.tell(`Loading the network: ${mega(data.progress)} of ${mega(data.of)} MB.`);
    } else if (data.kept !== undefined) {
      this.kept = data.kept;
      this.showLoadButton();
    } else if (data.loaded !== undefined) {
      state.network = "ready";
      state.started = data.loaded;
      this.showLoadButton();
      // The button that was pressed is gone.
      if (document.activeElement === document.body)
        this.one(".live-choose").focus({ preventScroll: true });
      this.tell("The network is loaded. For photos of yours, no connection is needed any more.");
      if (!state.picture && !this.asked) this.takeBookPhoto(this.page.photos[0]);
    } else if (data.failed) {
      state.network = "none";
      this.kept = false;
      this.showLoadButton("Try again");
      this.tell("");
      this.refuse(data.failed);
    } else if (data.id !== this.asked) {
      data.whole?.close();
    } else if (data.refused) {
      this.tell("");
      this.refuse(data.refused + (state.picture ? " The last picture is still here." : ""));
    } else if (data.seen) {
      this.show(data);
    } else if (data.mapped) {
      this.showMaps(data);
    }
  }

  load() {
    state.network = "loading";
    this.refuse("");
    this.showLoadButton();
    this.worker.postMessage({ load: true });
  }

  showLoadButton(words) {
    const bytes = Object.values(this.page.files).reduce((sum, { packed }) => sum + packed, 0);
    const button = this.one(".live-load");
    const loading = state.network === "loading";
    button.textContent = this.kept
      ? "Start the network (it is in this browser)"
      : `${words ?? "Load the network"} (${mega(bytes)} MB)`;
    button.disabled = loading;
    button.hidden = state.network === "ready";
    this.one(".live-progress").hidden = !loading;
    this.place.dataset.network = state.network;
  }

  // pictures

  listen() {
    const on = (selector, event, act) => this.one(selector).addEventListener(event, act);
    on(".live-load", "click", () => this.load());
    on(".live-choose", "click", () => this.one(".live-file").click());
    on(".live-camera", "click", () => this.one(".live-shot").click());
    for (const input of [".live-file", ".live-shot"])
      on(input, "change", ({ target }) => {
        this.takeFiles(target.files);
        target.value = ""; // so that the same file can be chosen again
      });
    // A camera that the button can open: on phones and tablets.
    this.one(".live-camera").hidden = !matchMedia("(pointer: coarse)").matches;

    addEventListener("dragover", (event) => {
      event.preventDefault();
      this.place.classList.add("live-over");
    });
    addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) this.place.classList.remove("live-over");
    });
    addEventListener("drop", (event) => {
      event.preventDefault(); // or the browser would leave the page for the picture
      this.place.classList.remove("live-over");
      const { files } = event.dataTransfer;
      if (files.length) this.takeFiles(files);
      else
        this.refuse(
          "What you dropped is no file. From another web page, save the picture first: this " +
            "page asks no other one for anything.",
        );
    });
    addEventListener("paste", (event) => {
      const files = [...event.clipboardData.files];
      if (files.length) this.takeFiles(files);
      else if (!event.target.closest?.("input"))
        this.refuse("The clipboard holds no picture. Copy one, or choose a file.");
    });

    on(".live-opacity", "input", () => this.fade());
    on(".live-threshold", "input", () => this.showBox());
    on(".live-save", "click", () => this.save());
    this.listenToSearch();
  }

  takeFiles(files) {
    if (!files.length) return; // the choice was called off
    const name = files[0].name || "The picture";
    this.refuse(files.length > 1 ? `Of the ${files.length} files, the first is taken, ${name}.` : "");
    this.take(files[0], name);
  }

  async takeBookPhoto(photo) {
    const id = ++this.asked;
    this.refuse("");
    let blob;
    try {
      const answer = await fetch(new URL(photo.file, this.base));
      if (!answer.ok) throw new Error();
      blob = await answer.blob();
    } catch {
      if (id === this.asked)
        this.refuse(`The photograph ${photo.name} could not be loaded: is there a connection?`);
      return;
    }
    if (id === this.asked)
      this.take(blob, photo.name, photo);
  }

  take(picture, name, photo = null) {
    const credit = photo ? `Photograph: ${photo.credit}. Licence: ${photo.licence}.` : "";
    this.pending = { name, credit, book: photo?.name };
    this.worker.postMessage({ picture, name, id: ++this.asked });
  }

  showPhotos() {
    const group = this.one(".live-photos");
    for (const photo of this.page.photos) {
      const button = document.createElement("button");
      button.type = "button";
      const image = new Image(64, 64);
      image.alt = photo.alt;
      image.src = new URL(photo.thumbnail, this.base).href;
      button.append(image, photo.name);
      button.dataset.photo = photo.name;
      button.addEventListener("click", () => this.takeBookPhoto(photo));
      group.append(button);
    }
  }

  // The square that the network is given, sharp, and the whole picture with the square in it.
  show({ id, seen, whole, width, height }) {
    state.picture?.whole.close();
    state.picture = { id, ...this.pending, square: seen, whole, width, height };
    state.maps = state.heatmap = state.box = null;
    this.place.dataset.mapped = "";
    this.one(".live-result").hidden = false;
    this.one(".live-panel").hidden = this.one(".live-scale").hidden = true;
    this.one(".live-box").hidden = true;
    this.one(".live-map").hidden = true;
    this.one(".live-title").textContent = this.one(".live-read").textContent = "";

    const [x0, y0, x1, y1] = this.inPhoto([0, 0, this.size, this.size]);
    this.one(".live-stack").setAttribute("aria-label", "The square that the network is given");
    this.drawSquare(this.one(".live-photo").getContext("2d"), SHARP);
    this.one(".live-photo").style.filter = "";

    const canvas = this.one(".live-whole canvas");
    [canvas.width, canvas.height] = [whole.width, whole.height];
    const context = canvas.getContext("2d");
    context.fillStyle = "white"; // under transparent pictures, as the network gets them
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(whole, 0, 0);
    const scale = whole.width / width;
    const side = [x0, y0, x1 - x0, y1 - y0].map((value) => value * scale);
    context.fillStyle = "rgb(255 255 255 / 65%)";
    context.beginPath();
    context.rect(0, 0, canvas.width, canvas.height);
    context.rect(...side);
    context.fill("evenodd");
    const thin = Math.max(canvas.width, canvas.height) / 200;
    for (const [style, line] of [["black", 2 * thin], ["white", thin]]) {
      context.strokeStyle = style;
      context.lineWidth = line;
      context.strokeRect(...side);
    }
    const share = Math.round((100 * (x1 - x0) * (y1 - y0)) / (width * height));
    const most =
      width > height ? ", most of it left and right" : height > width ? ", most of it above and below" : "";
    canvas.setAttribute("aria-label", "The whole picture, with the square marked");
    this.one(".live-whole figcaption").textContent =
      `The whole picture, ${width} × ${height} pixels. The network is given the marked square, ` +
      `${share} % of it, at ${this.size} × ${this.size} pixels; what is pale is cut off${most}. ` +
      state.picture.credit;
    for (const button of this.place.querySelectorAll("[data-photo]"))
      button.setAttribute("aria-pressed", String(button.dataset.photo === state.picture.book));
    if (state.network === "ready") this.tell("Computing the maps of all classes.");
    else if (state.network === "none")
      this.tell("The picture is ready. Load the network to see its map.");
  }

  inPhoto(box) {
    const { width, height } = state.picture;
    return boxInPhoto(box, width, height, this.page.transform.shorter, this.size);
  }

  drawSquare(context, side) {
    const { whole, width } = state.picture;
    const scale = whole.width / width;
    const [x0, y0, x1, y1] = this.inPhoto([0, 0, this.size, this.size]).map((v) => v * scale);
    context.fillStyle = "white";
    context.fillRect(0, 0, side, side);
    context.imageSmoothingQuality = "high";
    context.drawImage(whole, x0, y0, x1 - x0, y1 - y0, 0, 0, side, side);
  }

  // maps

  showMaps({ id, mapped, maps, H, W, milliseconds }) {
    const probabilities = softmax(mapped);
    const order = Array.from(mapped.keys()).sort((a, b) => mapped[b] - mapped[a]);
    const ranks = new Int32Array(order.length);
    order.forEach((c, rank) => (ranks[c] = rank + 1));
    state.maps = { id, logits: mapped, probabilities, order, ranks, maps, H, W, milliseconds };
    const five = this.one(".live-five");
    five.replaceChildren(
      ...order.slice(0, 5).map((c) => {
        const item = document.createElement("li");
        item.append(this.classButton(c));
        return item;
      }),
    );
    this.one(".live-panel").hidden = this.one(".live-scale").hidden = false;
    this.one("#live-search").value = "";
    this.choose(order[0]);
    this.place.dataset.mapped = state.picture.name;
    this.tell(
      `${this.names[order[0]]}, ${percent(probabilities[order[0]])}. ` +
        `The maps of all ${order.length} classes took ${Math.round(milliseconds)} ms.`,
    );
  }

  classButton(c) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.class = c;
    const share = state.maps.probabilities[c];
    button.style.setProperty("--share", share);
    const [name, value] = ["span", "span"].map((tag) => document.createElement(tag));
    name.textContent = this.names[c];
    value.textContent = percent(share);
    button.append(name, value);
    button.addEventListener("click", () => this.choose(c));
    return button;
  }

  /** Show the map of class c. */
  choose(c) {
    const { maps, H, W } = state.maps;
    const map = maps.subarray(c * H * W, (c + 1) * H * W);
    state.chosen = c;
    state.heatmap = upsample(map, H, W, this.size, this.size);
    const canvas = this.one(".live-map");
    this.one(".live-title").textContent = `Map for ${this.names[c]}`;
    const top = Math.max(largest(map), 0);
    this.paint(canvas, state.heatmap, top || 1);
    canvas.hidden = false;
    this.one(".live-scale output").textContent = signed(top, 1);
    for (const button of this.place.querySelectorAll(".live-five button"))
      button.setAttribute("aria-pressed", String(Number(button.dataset.class) === c));
    this.fade();
    this.showBox();
  }

  // From zero, dark, to the map's own maximum.
  paint(canvas, values, top) {
    canvas.width = canvas.height = this.size;
    const image = new ImageData(this.size, this.size);
    for (let i = 0; i < values.length; i++) {
      const [red, green, blue] = colour(values[i] / top);
      image.data[4 * i] = red;
      image.data[4 * i + 1] = green;
      image.data[4 * i + 2] = blue;
      image.data[4 * i + 3] = 255;
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
  }

  fade() {
    const opacity = Number(this.one(".live-opacity").value);
    this.one(".live-opacity-value").textContent = `${Math.round(100 * opacity)} %`;
    this.one(".live-map").style.opacity = opacity;
    this.one(".live-photo").style.filter = opacity && state.heatmap ? "grayscale(1)" : "";
  }

  showBox() {
    const threshold = Number(this.one(".live-threshold").value);
    this.one(".live-threshold-value").textContent = `${Math.round(100 * threshold)} % of the maximum`;
    if (!state.heatmap) return;
    state.box = boxFromMap(state.heatmap, this.size, this.size, threshold);
    const drawn = this.one(".live-box");
    drawn.hidden = !state.box;
    if (state.box) {
      const [x0, y0, x1, y1] = state.box.map((at) => `${(100 * at) / this.size}%`);
      Object.assign(drawn.style, {
        left: x0,
        top: y0,
        right: `calc(100% - ${x1})`,
        bottom: `calc(100% - ${y1})`,
      });
    }
    this.readOut(threshold);
  }

  readOut(threshold) {
    const { logits, probabilities, ranks, maps, H, W } = state.maps;
    const c = state.chosen;
    const map = maps.subarray(c * H * W, (c + 1) * H * W);
    const average = mean(map);
    const bias = this.page.bias[c];
    const name = this.names[c];
    const ordinal = `${ranks[c]} of ${logits.length}`;
    const place = state.box
      ? `${state.box.join(", ")} in the square; ` +
        `${this.inPhoto(state.box).map(Math.round).join(", ")} in the whole picture`
      : "none: no place speaks for this class, its map is nowhere above zero";
    const lines = [
      ["Class", `${name}, ${percent(probabilities[c])}, rank ${ordinal}`],
      [
        "Score",
        `mean of the map ${signed(average, 3)} + bias ${signed(bias, 3)} = ` +
          `${signed(average + bias, 3)}; logit of the network ${signed(logits[c], 3)}`,
      ],
      [`Map, ${H} × ${W}`, `from ${signed(Math.min(...map), 1)} to ${signed(largest(map), 1)}`],
      ["Box (x0, y0, x1, y1)", place],
    ];
    this.one(".live-read").replaceChildren(
      ...lines.flatMap((line) =>
        line.map((words, i) => {
          const part = document.createElement(i ? "dd" : "dt");
          part.textContent = words;
          return part;
        }),
      ),
    );
    const box = state.box ? `, with the box at ${Math.round(100 * threshold)} %` : "; there is no box";
    this.one(".live-stack").setAttribute("aria-label", `The map for ${name} over the photo${box}`);
  }

  // search

  listenToSearch() {
    const input = this.one("#live-search");
    const list = this.one("#live-matches");
    let at = -1; // the option that the arrow keys are on
    const close = () => {
      list.hidden = true;
      input.setAttribute("aria-expanded", "false");
      input.removeAttribute("aria-activedescendant");
      at = -1;
    };
    const move = (to) => {
      const options = list.querySelectorAll("[role=option]");
      if (!options.length) return;
      at = (to + options.length) % options.length;
      options.forEach((option, i) => option.setAttribute("aria-selected", String(i === at)));
      options[at].scrollIntoView({ block: "nearest" });
      input.setAttribute("aria-activedescendant", options[at].id);
    };
    const pick = (c) => {
      input.value = this.names[c];
      close();
      this.choose(c);
      const { probabilities, ranks } = state.maps;
      this.tell(`${this.names[c]}, ${percent(probabilities[c])}, rank ${ranks[c]}.`);
    };
    const open = () => {
      close();
      const matches = this.matches(input.value);
      if (!input.value.trim()) return;
      list.replaceChildren(
        ...matches.map((c, i) => {
          const option = document.createElement("li");
          option.setAttribute("role", "option");
          option.setAttribute("aria-selected", "false");
          option.id = `live-match-${i}`;
          option.dataset.class = c;
          const [name, value] = ["span", "span"].map((tag) => document.createElement(tag));
          name.textContent = this.names[c];
          value.textContent = percent(state.maps.probabilities[c]);
          option.append(name, value);
          option.addEventListener("pointerdown", (event) => event.preventDefault()); // keep focus
          option.addEventListener("click", () => pick(c));
          return option;
        }),
      );
      list.hidden = !matches.length;
      input.setAttribute("aria-expanded", String(matches.length > 0));
      this.tell(
        matches.length ? `${matches.length} classes listed.` : `No class is called “${input.value}”.`,
      );
    };
    input.addEventListener("input", open);
    input.addEventListener("focus", () => input.select());
    input.addEventListener("blur", close);
    input.addEventListener("keydown", (event) => {
      if (event.key === "Escape") close();
      else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        if (list.hidden) open();
        move(event.key === "ArrowDown" ? at + 1 : Math.max(at, 0) - 1);
      } else if (event.key === "Enter" && !list.hidden) {
        event.preventDefault();
        pick(Number(list.children[Math.max(at, 0)].dataset.class));
      }
    });
  }

  /** Classes whose name holds the words typed: first those that start with them. */
  matches(typed) {
    const words = typed.trim().toLowerCase();
    const lower = this.names.map((name) => name.toLowerCase());
    const rank = (name) => (name.startsWith(words) ? 0 : name.includes(` ${words}`) ? 1 : 2);
    return [...lower.keys()]
      .filter((c) => lower[c].includes(words))
      .sort((a, b) => rank(lower[a]) - rank(lower[b]) || lower[a].length - lower[b].length)
      .slice(0, MATCHES);
  }

  // saving

  save() {
    const strip = 48;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [SHARP, SHARP + strip];
    const context = canvas.getContext("2d");
    const opacity = Number(this.one(".live-opacity").value);
    this.drawSquare(context, SHARP);
    if (opacity) grey(context);
    context.globalAlpha = opacity;
    context.drawImage(this.one(".live-map"), 0, 0, SHARP, SHARP);
    context.globalAlpha = 1;
    if (state.box) {
      const scale = SHARP / this.size;
      const [x0, y0, x1, y1] = state.box.map((at) => at * scale);
      for (const [style, line] of [["black", 5], ["white", 2.5]]) {
        context.strokeStyle = style;
        context.lineWidth = line;
        context.strokeRect(x0, y0, x1 - x0, y1 - y0);
      }
    }
    context.fillStyle = "white";
    context.fillRect(0, SHARP, SHARP, strip);
    context.fillStyle = "black";
    context.font = "15px sans-serif";
    const share = percent(state.maps.probabilities[state.chosen]);
    const threshold = this.one(".live-threshold-value").textContent;
    context.fillText(
      `Map for ${this.names[state.chosen]} (${share}), box at ${threshold}. EfficientNet-Lite0.`,
      10,
      SHARP + 19,
      SHARP - 20,
    );
    context.font = "12px sans-serif";
    context.fillText(state.picture.credit, 10, SHARP + 39, SHARP - 20);
    canvas.toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      const stem = state.picture.name.replace(/\.[^.]*$/, "") || "photo";
      link.download = `${stem}-${plainName(this.names[state.chosen])}.png`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
      this.tell(`Saved as ${link.download}.`);
    }, "image/png");
  }
}

function mega(bytes) {
  return (bytes / 1e6).toFixed(1);
}

function plainName(name) {
  return name.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
}

// Not by the canvas's filter, which not all browsers have.
function grey(context) {
  const image = context.getImageData(0, 0, context.canvas.width, context.canvas.height);
  for (let i = 0; i < image.data.length; i += 4) {
    const [red, green, blue] = image.data.subarray(i, i + 3);
    image.data.fill(0.299 * red + 0.587 * green + 0.114 * blue, i, i + 3);
  }
  context.putImageData(image, 0, 0);
}
