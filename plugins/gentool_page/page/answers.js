// What answers of several tabs share: pixels, the terminal's lines, points, and work in slices.

// Nobody's pointer waits longer than this for long work.
const SLICE_MS = 12;

export const sentence = (text) => new Error(text);

// Floats of one image as bytes, row after row, channels together: rounded half to even as NumPy is.
export function toPixels(x, [channels, height, width]) {
  const data = new Uint8Array(x.length);
  const each = height * width;
  for (let c = 0; c < channels; c += 1) {
    for (let i = 0; i < each; i += 1) data[i * channels + c] = shade(x[c * each + i]);
  }
  return { kind: "pixels", shape: [height, width, channels], data };
}

function shade(value) {
  const v = 255 * (value > 1 ? 1 : value > 0 ? value : 0); // NaN is 0
  const below = Math.floor(v);
  const rest = v - below;
  if (rest !== 0.5) return Math.round(v);
  return below % 2 === 0 ? below : below + 1;
}

export const floats = (data, shape) => ({ kind: "floats", shape, data });

// The shortest digits that give the same float32 again.
export function digits(value) {
  const single = Math.fround(value);
  for (let n = 1; n < 9; n += 1) {
    const text = Number(single.toPrecision(n));
    if (Math.fround(text) === single) return String(text);
  }
  return String(Number(single.toPrecision(9)));
}

export const literal = (z) => `z:${Array.from(z, digits).join(",")}`;

const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\"'\"'")}'`);

export function line(verb, ...words) {
  return ["gentool", verb, ...words.map((word) => quoted(String(word)))].join(" ");
}

const breath = new MessageChannel();
const waiting = [];
breath.port1.onmessage = () => waiting.shift()();
const pause = () => new Promise((go) => { waiting.push(go); breath.port2.postMessage(0); });

// Calls work(i) for each i below n, in slices. False: a newer question took its place.
export async function inSlices(n, work, isNewest) {
  let since = performance.now();
  for (let i = 0; i < n; i += 1) {
    if (performance.now() - since > SLICE_MS) {
      await pause();
      if (!isNewest()) return false;
      since = performance.now();
    }
    work(i);
  }
  return true;
}

// A page's point as a latent, and how it is written.
export function locate(model, point) {
  if (point.seed !== undefined) return { z: model.latent(point.seed), text: `seed:${point.seed}` };
  if (point.z !== undefined) {
    if (point.z.length !== model.latents) throw sentence(`a latent of this model has ${model.latents} numbers, not ${point.z.length}`);
    return { z: Float32Array.from(point.z), text: literal(point.z) };
  }
  if (point.pixels !== undefined) {
    const z = encodePixels(model, point.pixels, point.label).z;
    return { z, text: literal(z) };
  }
  throw sentence("examples of the data are not in this page; a point is seed:7 or z:0.5,-1");
}

// Bytes of an image in base64 as the model sees it.
export function readPixels(model, text) {
  const [channels, height, width] = model.facts.run.shape;
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const each = height * width;
  if (bytes.length !== channels * each) throw sentence(`the image holds ${bytes.length} values, not ${channels * each}`);
  const x = new Float32Array(bytes.length);
  for (let c = 0; c < channels; c += 1) for (let i = 0; i < each; i += 1) x[c * each + i] = bytes[i * channels + c] / 255;
  return x;
}

// The latent of an image; of a class-conditional model the class that reconstructs it best.
export function encodePixels(model, text, label) {
  if (!model.programs.encoder) throw sentence("this model has no encoder; finding a latent by search needs gentool");
  const x = readPixels(model, text);
  const classes = model.facts.run.conditional;
  const tried = classes && label === undefined ? [...Array(classes).keys()] : [classes ? label : null];
  let best = null;
  for (const told of tried) {
    const z = model.encode(x, told);
    const again = model.sample(z, told).slice();
    const error = again.reduce((sum, v, i) => sum + (v - x[i]) ** 2, 0) / x.length;
    if (best === null || error < best.error) best = { x, z, again, error, label: told };
  }
  return best;
}

// One latent's picture, with the line that draws it.
export function pictureOf(model, z, label, seed = null) {
  const { facts: { run } } = model;
  const told = run.conditional ? label || 0 : model.inTurn(0);
  const x = model.sample(z, told);
  const words = seed !== null ? ["--n", 1, "--seed", seed] : ["--z", literal(z)];
  if (run.conditional) words.push("--class", label || 0);
  const image = run.kind === "image";
  const command = line("sample", run.word, ...words, "--out", image ? "picture.png" : "point.npz");
  const facts = { z: Array.from(z), point: literal(z) };
  if (!image) facts.x = Array.from(x);
  return { facts, parts: [image ? toPixels(x, run.shape) : floats(x.slice(), [1, x.length])], command };
}

// Pictures side by side without gaps; of points, where they land: float32 (rows, columns, d).
export function sheetOf(model, rows, columns) {
  const { kind, shape, conditional } = model.facts.run;
  const image = kind === "image";
  const [channels, height, width] = image ? shape : [shape[0], 1, 1];
  const size = rows * columns * channels * height * width;
  const data = image ? new Uint8Array(size) : new Float32Array(size);
  const place = (i, z, label) => {
    const x = model.sample(z, conditional ? label || 0 : model.inTurn(i));
    if (!image) { data.set(x, i * channels); return; }
    const tile = toPixels(x, shape).data;
    const [row, column, each] = [Math.floor(i / columns), i % columns, width * channels];
    for (let y = 0; y < height; y += 1) {
      data.set(tile.subarray(y * each, (y + 1) * each), ((row * height + y) * columns + column) * each);
    }
  };
  const part = image ? { kind: "pixels", shape: [rows * height, columns * width, channels], data }
    : floats(data, [rows, columns, channels]);
  return { place, part };
}
