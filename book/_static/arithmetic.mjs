// The book's arithmetic in the reader's browser: what camlib does with tensors, on typed arrays.
// A map or image plane of height H and width W is a Float32Array of H * W values, row by row.

/** Bytes of a base64 text. */
export function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/** Float32Array of the IEEE half-precision numbers in `bytes` (little endian). */
export function halves(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = new Float32Array(bytes.byteLength / 2);
  for (let i = 0; i < values.length; i++) {
    const half = view.getUint16(2 * i, true);
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    let size;
    if (exponent === 0) size = fraction * 2 ** -24;
    else if (exponent === 31) size = fraction ? NaN : Infinity;
    else size = (1 + fraction / 1024) * 2 ** (exponent - 15);
    values[i] = half & 0x8000 ? -size : size;
  }
  return values;
}

/**
 * Equation 2, M_c(x, y) = sum_k w_k^c f_k(x, y), over the channels in `channels` (all of them
 * without). features: (K, places); weight: the K weights of one class.
 */
export function classMap(features, weight, channels = weight.keys()) {
  const places = features.length / weight.length;
  const map = new Float64Array(places);
  for (const k of channels)
    for (let place = 0; place < places; place++)
      map[place] += weight[k] * features[k * places + place];
  return Float32Array.from(map);
}

export function mean(values) {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

export function largest(values) {
  return values.reduce((a, b) => Math.max(a, b), -Infinity);
}

export function smallest(values) {
  return values.reduce((a, b) => Math.min(a, b), Infinity);
}

export function softmax(scores) {
  const top = largest(scores);
  const powers = Float64Array.from(scores, (score) => Math.exp(score - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

// For each pixel of `to` cells spread over `from` cells: the two cells it lies between, and how
// far it is on the way to the second (half-pixel centres; beyond the outer centres: the outer cell).
function between(from, to) {
  return Array.from({ length: to }, (_, i) => {
    const at = Math.max(((i + 0.5) * from) / to - 0.5, 0);
    const low = Math.min(Math.floor(at), from - 1);
    return [low, Math.min(low + 1, from - 1), at - low];
  });
}

/** A map (H, W) at the size (height, width): `cam.upsample`, or with mode "nearest" without it. */
export function upsample(map, H, W, height, width, mode = "bilinear") {
  const rows = between(H, height);
  const columns = between(W, width);
  const larger = new Float32Array(height * width);
  for (let y = 0; y < height; y++) {
    if (mode === "nearest") {
      const row = Math.floor((y * H) / height) * W;
      for (let x = 0; x < width; x++)
        larger[y * width + x] = map[row + Math.floor((x * W) / width)];
      continue;
    }
    const [top, bottom, down] = rows[y];
    for (let x = 0; x < width; x++) {
      const [left, right, along] = columns[x];
      const above = map[top * W + left] * (1 - along) + map[top * W + right] * along;
      const below = map[bottom * W + left] * (1 - along) + map[bottom * W + right] * along;
      larger[y * width + x] = above * (1 - down) + below * down;
    }
  }
  return larger;
}

/** 1 where a pixel is above the share of the maximum: `boxes.above`; nowhere if nothing is > 0. */
export function above(map, threshold) {
  const top = largest(map);
  const level = Math.fround(threshold * top);
  return Uint8Array.from(map, (value) => (top > 0 && (value > level || value === top) ? 1 : 0));
}

/** The 8-connected regions of a mask (H, W), largest first: {box, pixels}, pixels as indices. */
export function regions(mask, H, W) {
  const seen = new Uint8Array(mask.length);
  const found = [];
  for (let start = 0; start < mask.length; start++) {
    if (!mask[start] || seen[start]) continue;
    const pixels = [start];
    seen[start] = 1;
    let [x0, y0, x1, y1] = [W, H, 0, 0];
    for (let i = 0; i < pixels.length; i++) {
      const x = pixels[i] % W;
      const y = (pixels[i] - x) / W;
      [x0, y0, x1, y1] = [Math.min(x0, x), Math.min(y0, y), Math.max(x1, x + 1), Math.max(y1, y + 1)];
      for (let v = Math.max(y - 1, 0); v <= Math.min(y + 1, H - 1); v++)
        for (let u = Math.max(x - 1, 0); u <= Math.min(x + 1, W - 1); u++) {
          const next = v * W + u;
          if (mask[next] && !seen[next]) {
            seen[next] = 1;
            pixels.push(next);
          }
        }
    }
    found.push({ box: [x0, y0, x1, y1], pixels });
  }
  return found.sort((a, b) => b.pixels.length - a.pixels.length);
}

/** `boxes.box_from_map`: half-open (x0, y0, x1, y1) around the largest region, or null. */
export function boxFromMap(map, H, W, threshold = 0.2) {
  return regions(above(map, threshold), H, W)[0]?.box ?? null;
}

/** Intersection over union of two half-open boxes; 0 where one of them is null. */
export function iou(a, b) {
  if (!a || !b) return 0;
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  const overlap = Math.max(width, 0) * Math.max(height, 0);
  const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
  return overlap / (area(a) + area(b) - overlap);
}
