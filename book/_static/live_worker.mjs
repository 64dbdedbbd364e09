// Beside the page: reads pictures, loads the network, runs it. Nothing here waits on the page, and
// the page waits on nothing here. Messages in and out are objects with one of these keys:
//
//   in   setup: page.json; base: address of its folder
//        picture: Blob; name, id           -> seen or refused, then mapped if there is a network
//        load: true                        -> progress ..., then loaded or failed
//   out  seen: RGBA bytes of the square; whole: ImageBitmap; width, height, id
//        mapped: logits (C); maps (C * H * W), H, W, milliseconds, id
//        refused: a sentence; id
//        kept: whether all files are in the browser's store
//        progress: bytes of `of`; loaded: milliseconds; failed: a sentence

import { squareOf } from "./resample.mjs";

const CACHE = "camlib-live";
const LARGEST_SHOWN = 1024; // pixels of the longer side of the picture as the page draws it

let page, base, ort, session;
let last = null; // {id, square} of the last picture that could be read

/** A reason that is told to the reader. */
class Refusal extends Error {}

addEventListener("message", async ({ data }) => {
  try {
    if (data.setup) {
      [page, base] = [data.setup, data.base];
      postMessage({ kept: await allKept() });
    }
    if (data.picture) await take(data);
    if (data.load) await load();
  } catch (error) {
    const why = error instanceof Refusal ? error.message : `Something went wrong: ${error.message}`;
    postMessage(data.load ? { failed: why } : { refused: why, id: data.id });
  }
});

// pictures

async function take({ picture, name, id }) {
  await refuseWhatIsNoPhoto(picture, name);
  let bitmap;
  try {
    // As Pillow reads it: upright, and without a change of colours.
    bitmap = await createImageBitmap(picture, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
    });
  } catch {
    throw new Refusal(
      `${name} cannot be decoded: it may be damaged or cut off, or larger than this browser ` +
        `can hold (the file has ${megabytes(picture.size)}). Save it again, or smaller, as JPEG.`,
    );
  }
  const { width, height } = bitmap;
  if (Math.max(width, height) > 50 * Math.min(width, height))
    throw new Refusal(
      `${name} has ${width} × ${height} pixels. The network is given a square, so that the sides ` +
        "may differ by a factor of 50 at most: cut the picture first.",
    );
  const { shorter, size } = page.transform;
  const square = squareOf(reader(bitmap), width, height, shorter, size);
  const reduced = Math.min(LARGEST_SHOWN / Math.max(width, height), 1);
  const whole = await createImageBitmap(bitmap, {
    resizeWidth: Math.max(Math.round(width * reduced), 1),
    resizeHeight: Math.max(Math.round(height * reduced), 1),
    resizeQuality: "high",
  });
  bitmap.close();
  last = { id, square };
  postMessage({ seen: square, whole, width, height, id }, [whole]);
  if (session) await run();
}

async function refuseWhatIsNoPhoto(picture, name) {
  if (!picture.size) throw new Refusal(`${name} is empty: it has 0 bytes.`);
  const head = new Uint8Array(await picture.slice(0, 512).arrayBuffer());
  const text = String.fromCharCode(...head);
  if (/^\s*(\xef\xbb\xbf)?\s*<(\?xml|!--|!doctype svg|svg)/i.test(text) && /svg/i.test(text + picture.type))
    throw new Refusal(
      `${name} is a drawing (SVG), which has no pixels of its own: export it as PNG or JPEG.`,
    );
  if (/^....ftyp(hei|hev|mif1|msf1)/s.test(text)) {
    // Safari reads these; where the browser cannot, say what to do about it.
    try {
      (await createImageBitmap(picture)).close();
    } catch {
      throw new Refusal(
        `${name} is a HEIC photo, which this browser cannot read: export it as JPEG.`,
      );
    }
    return;
  }
  const known = /^(\xff\xd8\xff|\x89PNG\r\n|GIF8|RIFF....WEBP|BM|....ftypavi[fs]|\0\0[\x01\x02]\0)/s;
  if (!known.test(text))
    throw new Refusal(
      `${name} is not a picture this page can read: give it a JPEG, PNG, WebP, GIF, BMP or AVIF ` +
        "file. The content of the file counts, not its name.",
    );
}

// Reads parts of a bitmap, laid on white where it is transparent.
function reader(bitmap) {
  let canvas, context;
  return (x, y, width, height) => {
    if (canvas?.width !== width || canvas.height !== height) {
      canvas = new OffscreenCanvas(width, height);
      context = canvas.getContext("2d", { willReadFrequently: true });
    }
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, x, y, width, height, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  };
}

// the network

async function load() {
  if (!session) {
    const raw = await files();
    const start = performance.now();
    const script = URL.createObjectURL(new Blob([raw.script], { type: "text/javascript" }));
    try {
      ort = await import(script);
    } finally {
      URL.revokeObjectURL(script);
    }
    // More threads would need headers that static hosts do not send.
    Object.assign(ort.env.wasm, { numThreads: 1, wasmBinary: raw.runtime.buffer });
    session = await ort.InferenceSession.create(raw.network, { executionProviders: ["wasm"] });
    ort.env.wasm.wasmBinary = undefined; // 14 MB that are not needed any more
    postMessage({ loaded: performance.now() - start });
  }
  if (last) await run();
}

// One after the other; of pictures that came while another was running, the last.
let running = Promise.resolve();

function run() {
  const { id, square } = last;
  return (running = running.then(() => (id === last.id ? mapsOf(id, square) : undefined)));
}

async function mapsOf(id, square) {
  const { size, mean, std } = page.transform;
  const input = new Float32Array(3 * size * size);
  for (let c = 0; c < 3; c++)
    for (let i = 0; i < size * size; i++)
      input[c * size * size + i] = (square[4 * i + c] / 255 - mean[c]) / std[c];
  const start = performance.now();
  const { logits, maps } = await session.run({
    images: new ort.Tensor("float32", input, [1, 3, size, size]),
  });
  const milliseconds = performance.now() - start;
  const [, , H, W] = maps.dims;
  postMessage({ mapped: logits.data, maps: maps.data, H, W, milliseconds, id });
}

// The files by name, unpacked. From the browser's store where they are in it; otherwise loaded, and
// stored once all of them have arrived whole.
async function files() {
  const wanted = Object.entries(page.files);
  const of = wanted.reduce((sum, [, { packed }]) => sum + packed, 0);
  const store = await openStore();
  const arrived = {};
  let bytes = 0;
  for (const [name, about] of wanted) {
    const address = new URL(about.file, base).href;
    const kept = await store?.match(address).catch(() => undefined);
    if (kept) {
      const raw = await unpacked(await kept.arrayBuffer()).catch(() => null);
      if (raw && (await whole(raw, about))) {
        bytes += about.packed;
        postMessage({ progress: bytes, of });
        arrived[name] = { raw };
        continue;
      }
      await store.delete(address);
    }
    const packed = await fetched(address, (count) => {
      postMessage({ progress: Math.min(bytes + count, of), of });
    });
    bytes += about.packed;
    const raw = await unpacked(packed).catch(() => null);
    if (!raw || !(await whole(raw, about)))
      throw new Refusal(
        `The download did not arrive whole (${about.file}). Nothing of it was kept: try again.`,
      );
    arrived[name] = { raw, packed, address };
  }
  await keep(store, Object.values(arrived), wanted);
  return Object.fromEntries(Object.entries(arrived).map(([name, { raw }]) => [name, raw]));
}

async function allKept() {
  try {
    const found = Object.values(page.files).map(({ file }) =>
      caches.match(new URL(file, base).href, { cacheName: CACHE }),
    );
    return (await Promise.all(found)).every(Boolean);
  } catch {
    return false;
  }
}

async function openStore() {
  try {
    return await caches.open(CACHE);
  } catch {
    return null; // none in a private window of some browsers, nor on a page without https
  }
}

async function keep(store, arrived, wanted) {
  if (!store) return;
  try {
    for (const { packed, address } of arrived)
      if (packed) await store.put(address, new Response(packed));
    const current = new Set(wanted.map(([, { file }]) => new URL(file, base).href));
    for (const { url } of await store.keys()) if (!current.has(url)) await store.delete(url);
  } catch {
    // No room: the next visit loads again.
  }
}

async function fetched(address, progress) {
  let response;
  const parts = [];
  let count = 0;
  try {
    response = await fetch(address);
    if (response.ok)
      for (const reader = response.body.getReader(); ; ) {
        const { done, value } = await reader.read();
        if (done) break;
        parts.push(value);
        count += value.length;
        progress(count);
      }
  } catch {
    throw new Refusal(
      "The download was interrupted. Nothing of it was kept: check the connection and try again.",
    );
  }
  if (!response.ok)
    throw new Refusal(
      `The server answered ${response.status} for ${address}: the book's files on it are not ` +
        "complete. Try again later, or build the book on your machine.",
    );
  return new Blob(parts).arrayBuffer();
}

// Unpacks gzip; a host may have done so on the way.
async function unpacked(buffer) {
  const bytes = new Uint8Array(buffer);
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function whole(raw, { size, sha256 }) {
  if (raw.length !== size) return false;
  if (!globalThis.crypto?.subtle) return true; // on a page without https
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", raw));
  return sha256 === Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
