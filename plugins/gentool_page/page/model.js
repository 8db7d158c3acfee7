// The model that lies in the page: its tensors, its programs and its draws.
import { Memory } from "./memory.js";
import { Program } from "./program.js";
import { draw, keyOf } from "./noise.js";

const SPECIAL = Array.from("\x00\x08\t\n\x0b\x0c\r\x1a\x1b\x7f<>&-]", (c) => c.charCodeAt(0));

// Seven bits a character; one beyond ASCII is a special character and the seven bits after it.
export function fromText(text, size) {
  const bytes = new Uint8Array(size);
  let [at, held, bits] = [0, 0, 0];
  const take = (seven) => {
    held = (held << 7 | seven) & 0xffff;
    bits += 7;
    if (bits >= 8 && at < size) {
      bits -= 8;
      bytes[at] = held >> bits;
      at += 1;
    }
  };
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if (code < 128) { take(code); continue; }
    take(SPECIAL[(code - 128) >> 7]);
    take((code - 128) & 127);
  }
  return bytes;
}

// The container: uint32 length of the JSON | JSON | the tensors' bytes one after the other.
export function readContainer(bytes) {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const facts = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  let at = 4 + length;
  const stored = facts.tensors.map((one) => {
    const data = bytes.subarray(at, at + one.n * WIDTHS[one.type]);
    at += data.length;
    return { ...one, data };
  });
  return { facts, stored };
}

const WIDTHS = { f16: 2, f32: 4, i32: 4 };

// What a tensor holds: its bytes lie in planes, all first ones, then all second ones.
export function decodeTensor({ type, n, shift, data }) {
  const width = WIDTHS[type];
  const bytes = new Uint8Array(n * width);
  for (let plane = 0; plane < width; plane += 1) {
    for (let i = 0, from = plane * n; i < n; i += 1) bytes[i * width + plane] = data[from + i];
  }
  if (type === "f32") return new Float32Array(bytes.buffer);
  if (type === "i32") return new Int32Array(bytes.buffer);
  const halves = new Uint16Array(bytes.buffer);
  const [table, scale, values] = [halfTable(), 2 ** -shift, new Float32Array(n)];
  for (let i = 0; i < n; i += 1) values[i] = table[halves[i]] * scale;
  return values;
}

let halfNumbers = null;
function halfTable() {
  if (halfNumbers !== null) return halfNumbers;
  halfNumbers = new Float32Array(65536);
  for (let i = 0; i < 65536; i += 1) {
    const [exponent, fraction] = [(i >> 10) & 31, i & 1023];
    const size = exponent === 0 ? fraction * 2 ** -24
      : exponent === 31 ? (fraction ? NaN : Infinity) : (1024 + fraction) * 2 ** (exponent - 25);
    halfNumbers[i] = i >> 15 ? -size : size;
  }
  return halfNumbers;
}

export class PageModel {
  constructor({ facts, stored }, kernel) {
    this.facts = facts;
    this.kernel = kernel;
    const memory = new Memory();
    const decoded = new Map();
    const tensor = (i) => {
      if (!decoded.has(i)) decoded.set(i, decodeTensor(stored[i]));
      return decoded.get(i);
    };
    const shared = { tensor, length: (i) => stored[i].n, memory, kernel };
    this.programs = {};
    for (const [name, program] of Object.entries(facts.programs)) {
      this.programs[name] = new Program(program, shared);
    }
    memory.build(kernel.buffer);
    for (const program of Object.values(this.programs)) program.build();
    this.vectors = Object.fromEntries(Object.entries(facts.vectors || {}).map(([name, i]) => [name, tensor(i)]));
    decoded.clear();
  }

  get latents() { return this.programs.sampler.inputs[0].n; }

  // Row `row` of the latents that a seed stands for, as `gentool sample --seed` draws them.
  latent(seed, row = 0) {
    const { prior } = this.programs;
    this.facts.draws.forEach(({ kind, stream }, i) => draw(kind, keyOf(seed, stream), row, prior.inputs[i].data));
    return prior.run().slice();
  }

  // x of one z; `told` is a class, or the values of attributes. Read it before the next run.
  sample(z, told = null) { return this.apply("sampler", z, told); }

  // The latent of one x.
  encode(x, told = null) { return this.apply("encoder", x, told).slice(); }

  apply(name, values, told) {
    const program = this.programs[name];
    program.inputs[0].data.set(values);
    if (program.inputs.length > 1) {
      if (typeof told === "number") program.inputs[1].data[0] = told;
      else program.inputs[1].data.set(told);
    }
    return program.run();
  }

  // What sample number i is told where nobody says: the classes in turn, or attributes as digits
  // of a number that counts up, the first changing quickest, and continuous ones at their mean.
  inTurn(i) {
    const { conditional, condition } = this.facts.run;
    if (conditional) return i % conditional;
    if (!condition.length) return null;
    let place = 0;
    return condition.map((one) => (one.kind === "binary" ? Math.floor(i / 2 ** place++) % 2 : 0));
  }

  // Holds the programs against what torch computed at export; the largest error of each kind, in
  // units in which 1/255 is one shade of a picture.
  check() {
    const { cases } = this.facts.golden;
    const worst = { seed: 0, sample: 0, encode: 0 };
    for (const one of cases) {
      const read = (name) => this.vectors[one[name]];
      const told = one.told ?? null;
      worst.seed = Math.max(worst.seed, difference(this.latent(one.seed), read("z")));
      worst.sample = Math.max(worst.sample, difference(this.sample(read("z"), told), read("x")) / one.size);
      if (one.code) worst.encode = Math.max(worst.encode, difference(this.encode(read("x"), told), read("code")) / one.codeSize);
    }
    return worst;
  }
}

function difference(a, b) {
  let most = a.length === b.length ? 0 : Infinity;
  for (let i = 0; i < b.length; i += 1) {
    const gap = Math.abs(a[i] - b[i]);
    if (!(gap <= most)) most = Number.isNaN(gap) ? Infinity : gap;
  }
  return most;
}
