// An endless GIF (CompuServe, GIF89a) of frames of bytes, 80 ms each.

const SMALLEST = 256;

// Grey is exact; colours become the nearest of 6 × 7 × 6.
const LEVELS = [6, 7, 6];

function palette(colour) {
  const table = new Uint8Array(768);
  for (let i = 0; i < 256; i += 1) {
    const parts = [Math.floor(i / 42), Math.floor(i / 6) % 7, i % 6];
    for (let c = 0; c < 3; c += 1) table[3 * i + c] = colour ? Math.min(255, Math.round(255 * parts[c] / (LEVELS[c] - 1))) : i;
  }
  return table;
}

function indexOf(data, at, colour) {
  if (!colour) return data[at];
  const [r, g, b] = LEVELS.map((n, c) => Math.round(data[at + c] / 255 * (n - 1)));
  return r * 42 + g * 6 + b;
}

// The pixels of a frame as numbers of the palette, each as a square of `factor` × `factor`.
function indices({ shape: [height, width, channels], data }, factor) {
  const found = new Uint8Array(height * width * factor * factor);
  for (let y = 0, to = 0; y < height * factor; y += 1) {
    const row = Math.floor(y / factor) * width;
    for (let x = 0; x < width * factor; x += 1, to += 1) {
      found[to] = indexOf(data, (row + Math.floor(x / factor)) * channels, channels === 3);
    }
  }
  return found;
}

// Lempel, Ziv and Welch with codes of 9 to 12 bits, in blocks of at most 255 bytes.
function compressed(pixels) {
  const out = [];
  let [held, bits, width, next] = [0, 0, 9, 258];
  const put = (code) => {
    held |= code << bits;
    bits += width;
    for (; bits >= 8; bits -= 8, held >>>= 8) out.push(held & 255);
  };
  let known = new Map();
  put(256);
  let prefix = pixels[0];
  for (let i = 1; i < pixels.length; i += 1) {
    const pair = prefix << 8 | pixels[i];
    if (known.has(pair)) { prefix = known.get(pair); continue; }
    put(prefix);
    known.set(pair, next);
    next += 1;
    if (next > 4095) {
      put(256);
      [known, width, next] = [new Map(), 9, 258];
    } else if (next > 1 << width) width += 1;
    prefix = pixels[i];
  }
  put(prefix);
  put(257);
  if (bits > 0) out.push(held & 255);
  const blocks = [8];
  for (let at = 0; at < out.length; at += 255) {
    const block = out.slice(at, at + 255);
    blocks.push(block.length, ...block);
  }
  blocks.push(0);
  return Uint8Array.from(blocks);
}

const pair = (n) => [n & 255, n >> 8];
const letters = (text) => Array.from(text, (c) => c.charCodeAt(0));

export function gif(frames) {
  const [height, width, channels] = frames[0].shape;
  const factor = Math.max(1, Math.ceil(SMALLEST / Math.max(height, width)));
  const [w, h] = [width * factor, height * factor];
  const parts = [
    Uint8Array.from([...letters("GIF89a"), ...pair(w), ...pair(h), 0xf7, 0, 0]), palette(channels === 3),
    Uint8Array.from([0x21, 0xff, 11, ...letters("NETSCAPE2.0"), 3, 1, 0, 0, 0]),
  ];
  for (const frame of frames) {
    parts.push(Uint8Array.from([0x21, 0xf9, 4, 0, 8, 0, 0, 0, 0x2c, 0, 0, 0, 0, ...pair(w), ...pair(h), 0]));
    parts.push(compressed(indices(frame, factor)));
  }
  parts.push(Uint8Array.of(0x3b));
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) { whole.set(part, at); at += part.length; }
  return whole;
}
