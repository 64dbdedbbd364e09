// What a network is given of a picture: Pillow's bicubic resize and torchvision's centre crop, to
// the byte. Only the square that the crop keeps is computed, in strips of rows, so that a large
// photo needs little memory.

const BITS = 22; // of Pillow's fixed-point weights
const STRIP = 128; // rows read at once

// Keys' cubic with a = -1/2, Pillow's BICUBIC.
function cubic(x) {
  const t = Math.abs(x);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  if (t < 2) return ((-0.5 * t + 2.5) * t - 4) * t + 2;
  return 0;
}

// Half to even, as Python rounds.
function rounded(x) {
  const low = Math.floor(x);
  if (x - low !== 0.5) return Math.round(x);
  return low % 2 === 0 ? low : low + 1;
}

/**
 * Where the network's square lies: the whole picture is resized to columns x rows, its shorter side
 * to `shorter` pixels, and the square of `size` pixels is cut out of it at (left, top).
 */
export function geometry(width, height, shorter, size) {
  const scaled = (side, other) =>
    side <= other ? shorter : Math.floor((shorter * side) / other);
  const columns = scaled(width, height);
  const rows = scaled(height, width);
  return {
    columns,
    rows,
    left: rounded((columns - size) / 2),
    top: rounded((rows - size) / 2),
  };
}

/** A box (x0, y0, x1, y1) of that square in pixels of the picture: `Transform.box_in_photo`. */
export function boxInPhoto(box, width, height, shorter, size) {
  const { columns, rows, left, top } = geometry(width, height, shorter, size);
  return box.map((at, i) =>
    i % 2 ? ((at + top) * height) / rows : ((at + left) * width) / columns,
  );
}

// For outputs first ... first + count - 1 of `to`, made from `from` pixels: where the pixels that
// an output mixes start, how many they are, and their weights in fixed point (Pillow's
// precompute_coeffs and normalize_coeffs_8bpc).
function weights(from, to, first, count) {
  const scale = from / to;
  const wide = Math.max(scale, 1); // the filter grows with the reduction: antialiasing
  const support = 2 * wide;
  const most = Math.ceil(support) * 2 + 1;
  const starts = new Int32Array(count);
  const lengths = new Int32Array(count);
  const values = new Int32Array(count * most);
  for (let i = 0; i < count; i++) {
    const centre = (first + i + 0.5) * scale;
    const start = Math.max(Math.trunc(centre - support + 0.5), 0);
    const end = Math.min(Math.trunc(centre + support + 0.5), from);
    const exact = [];
    for (let x = start; x < end; x++) exact.push(cubic((x - centre + 0.5) / wide));
    const sum = exact.reduce((a, b) => a + b, 0);
    starts[i] = start;
    lengths[i] = end - start;
    exact.forEach((value, x) => {
      const fixed = (value / sum) * 2 ** BITS;
      values[i * most + x] = Math.trunc(fixed + (fixed < 0 ? -0.5 : 0.5));
    });
  }
  return { starts, lengths, values, most, end: starts[count - 1] + lengths[count - 1] };
}

function clipped(sum) {
  const value = sum >> BITS;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/**
 * The square (size, size) that the network is given, RGBA bytes.
 *
 * read(x, y, width, height): RGBA bytes of that part of the picture, row by row, opaque.
 */
export function squareOf(read, width, height, shorter, size) {
  const { columns, rows, left, top } = geometry(width, height, shorter, size);
  const across = weights(width, columns, left, size);
  const down = weights(height, rows, top, size);
  const [x0, y0] = [across.starts[0], down.starts[0]];
  const span = across.end - x0;
  // First across, rounded to bytes, then down: Pillow's order.
  const middle = new Uint8Array((down.end - y0) * size * 3);
  for (let y = y0; y < down.end; y += STRIP) {
    const count = Math.min(STRIP, down.end - y);
    const strip = read(x0, y, span, count);
    for (let row = 0; row < count; row++)
      for (let i = 0; i < size; i++) {
        let r = 1 << (BITS - 1);
        let g = r;
        let b = r;
        let at = 4 * (row * span + across.starts[i] - x0);
        const first = i * across.most;
        for (let k = first; k < first + across.lengths[i]; k++, at += 4) {
          const weight = across.values[k];
          r += weight * strip[at];
          g += weight * strip[at + 1];
          b += weight * strip[at + 2];
        }
        const to = 3 * ((y - y0 + row) * size + i);
        middle[to] = clipped(r);
        middle[to + 1] = clipped(g);
        middle[to + 2] = clipped(b);
      }
  }
  const square = new Uint8ClampedArray(size * size * 4).fill(255);
  for (let j = 0; j < size; j++)
    for (let i = 0; i < 3 * size; i++) {
      let sum = 1 << (BITS - 1);
      let at = 3 * size * (down.starts[j] - y0) + i;
      const first = j * down.most;
      for (let k = first; k < first + down.lengths[j]; k++, at += 3 * size)
        sum += down.values[k] * middle[at];
      square[4 * (j * size + Math.floor(i / 3)) + (i % 3)] = clipped(sum);
    }
  return square;
}
