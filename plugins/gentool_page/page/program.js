// Runs a program: a list of steps over tensors whose shapes and places are fixed beforehand.
//
// Every step becomes a function without arguments that reads and writes the memory, so that a
// frame allocates nothing. Tensors that nobody reads any more give their place to later ones of the
// same size, which matters to programs of thousands of steps.
import { LOOPS, MAPS, PAIRS, REDUCTIONS, broadcast, eachOf, places, sizeOf, stridesOf } from "./elements.js";
import { conv, deconv, linear } from "./convolutions.js";

export class Program {
  // `tensor(i)` gives a stored tensor, `length(i)` its size; `memory` is shared by a page's programs,
  // `kernel` has the matrix products.
  constructor(facts, { tensor, length, memory, kernel }) {
    Object.assign(this, { tensor, length, memory, kernel, fills: [] });
    this.shapes = facts.inputs.concat(facts.steps.map((step) => step.shape));
    this.inputs = facts.inputs.map((shape) => memory.take(sizeOf(shape)));
    this.places = this.inputs.slice();
    this.owner = this.inputs.map((_, i) => i); // reshaped, a tensor stays where it was
    this.readers = countReaders(facts);
    this.free = new Map();
    this.steps = facts.steps.map((step, i) => this.plan(step, facts.inputs.length + i));
    this.output = this.places[facts.out];
    this.run = null;
  }

  // Once the memory is there: constants go to their places, and every step becomes a function.
  build() {
    for (const fill of this.fills) fill();
    const run = this.steps.map((make) => make && make()).filter(Boolean);
    this.run = () => {
      for (let i = 0; i < run.length; i += 1) run[i]();
      return this.output.data;
    };
    this.fills = this.steps = this.free = null;
  }

  plan(step, id) {
    const inputs = step.in.map((i) => this.places[i]);
    let make = null;
    if (step.op === "reshape") {
      this.places[id] = inputs[0];
      this.owner[id] = this.owner[step.in[0]];
      this.readers[this.owner[id]] += this.readers[id];
    } else {
      // A constant is put down once, before the first run, so nobody had its place before.
      const size = sizeOf(step.shape);
      this.places[id] = step.op === "const" ? this.memory.take(size) : this.claim(size);
      this.owner[id] = id;
      make = STEPS[step.op](this, step, inputs, this.places[id], step.in.map((i) => this.shapes[i]));
      if (step.op === "const") this.readers[id] = Infinity;
    }
    for (const i of step.in) this.leave(this.owner[i]);
    return make;
  }

  claim(n) {
    const waiting = this.free.get(n);
    return waiting && waiting.length > 0 ? waiting.pop() : this.memory.take(n);
  }

  leave(id) {
    this.readers[id] -= 1;
    if (this.readers[id] > 0 || id < this.inputs.length) return;
    const place = this.places[id];
    if (!this.free.has(place.n)) this.free.set(place.n, []);
    this.free.get(place.n).push(place);
  }

  // A stored tensor at a place of its own, its rows padded with zeros.
  constant(number, rows, columns, paddedRows = rows, paddedColumns = columns) {
    const place = this.memory.take(paddedRows * paddedColumns);
    this.fills.push(() => {
      const data = this.tensor(number);
      for (let i = 0; i < rows; i += 1) {
        place.data.set(data.subarray(i * columns, (i + 1) * columns), i * paddedColumns);
      }
    });
    return place;
  }
}

function countReaders(facts) {
  const readers = new Array(facts.inputs.length + facts.steps.length).fill(0);
  for (const step of facts.steps) for (const i of step.in) readers[i] += 1;
  readers[facts.out] = Infinity; // it is read after the run
  return readers;
}

const STEPS = {
  linear, conv, deconv,

  const(program, step, _, out) {
    program.fills.push(() => out.data.set(program.tensor(step.data)));
    return null;
  },

  affine(program, step, [x], out) {
    const channels = step.shape[1];
    const [s, t] = [program.constant(step.s, 1, channels), program.constant(step.t, 1, channels)];
    const each = sizeOf(step.shape.slice(2));
    return () => {
      const [from, to, scale, shift] = [x.data, out.data, s.data, t.data];
      return () => {
        for (let i = 0, c = 0; i < to.length; c = c + 1 === channels ? 0 : c + 1) {
          const [a, b] = [scale[c], shift[c]];
          for (const end = i + each; i < end; i += 1) to[i] = from[i] * a + b;
        }
      };
    };
  },

  map(program, step, [x], out) {
    const [f, loop] = [MAPS[step.f], LOOPS[step.f] || eachOf];
    const a = step.a ?? (step.f === "clamp" ? -Infinity : 0);
    const b = step.b ?? Infinity;
    return () => {
      const [from, to] = [x.data, out.data];
      return () => loop(from, to, a, b, f);
    };
  },

  zip(program, step, [x, y], out, [left, right]) {
    const [p, q, pair] = [broadcast(left, step.shape), broadcast(right, step.shape), PAIRS[step.f]];
    return () => {
      const [a, b, to] = [x.data, y.data, out.data];
      if (p === null && q === null && step.f === "add") return () => { for (let i = 0; i < to.length; i += 1) to[i] = a[i] + b[i]; };
      return () => { for (let i = 0; i < to.length; i += 1) to[i] = pair(a[p ? p[i] : i], b[q ? q[i] : i]); };
    };
  },

  where(program, step, inputs, out, shapes) {
    const [p, q, r] = shapes.map((shape) => broadcast(shape, step.shape) || places(step.shape, stridesOf(step.shape)));
    return () => {
      const [c, a, b] = inputs.map((place) => place.data);
      const to = out.data;
      return () => { for (let i = 0; i < to.length; i += 1) to[i] = c[p[i]] ? a[q[i]] : b[r[i]]; };
    };
  },

  strided(program, step, [x], out) {
    const at = places(step.shape, step.strides, step.offset);
    return () => {
      const [from, to] = [x.data, out.data];
      return () => { for (let i = 0; i < to.length; i += 1) to[i] = from[at[i]]; };
    };
  },

  take(program, step, [x], out) {
    const fill = step.fill ?? 0;
    return () => {
      const [from, to, at] = [x.data, out.data, program.tensor(step.at)];
      return () => { for (let i = 0; i < to.length; i += 1) to[i] = at[i] < 0 ? fill : from[at[i]]; };
    };
  },

  concat(program, step, inputs, out, shapes) {
    const rows = sizeOf(step.shape.slice(0, step.dim));
    const widths = shapes.map((shape) => sizeOf(shape.slice(step.dim)));
    return () => {
      const parts = inputs.map((place) => place.data);
      const to = out.data;
      return () => {
        for (let row = 0, at = 0; row < rows; row += 1) {
          for (let p = 0; p < parts.length; p += 1) {
            const from = parts[p];
            const end = at + widths[p];
            for (let i = row * widths[p]; at < end; i += 1, at += 1) to[at] = from[i];
          }
        }
      };
    };
  },

  rows(program, step, [x], out) {
    const width = step.shape[step.shape.length - 1];
    return () => {
      const [indices, to, table] = [x.data, out.data, program.tensor(step.w)];
      return () => {
        for (let i = 0; i < indices.length; i += 1) {
          for (let j = 0; j < width; j += 1) to[i * width + j] = table[indices[i] * width + j];
        }
      };
    };
  },

  reduce(program, step, [x], out, [shape]) {
    const strides = stridesOf(shape);
    const kept = shape.map((_, d) => d).filter((d) => !step.dims.includes(d));
    const starts = places(kept.map((d) => shape[d]), kept.map((d) => strides[d]));
    const inner = places(step.dims.map((d) => shape[d]), step.dims.map((d) => strides[d]));
    if (step.f.startsWith("arg")) return () => argument(x.data, out.data, starts, inner, step.f === "argmin" ? -1 : 1);
    const [first, join] = REDUCTIONS[step.f];
    const factor = step.f === "mean" ? 1 / inner.length : 1;
    return () => {
      const [from, to] = [x.data, out.data];
      return () => {
        for (let i = 0; i < to.length; i += 1) {
          let sum = first;
          for (let j = 0; j < inner.length; j += 1) sum = join(sum, from[starts[i] + inner[j]]);
          to[i] = sum * factor;
        }
      };
    };
  },

  bmm(program, step, [x, y], out, [left, right]) {
    const [m, k, n] = [left[left.length - 2], left[left.length - 1], right[right.length - 1]];
    const count = sizeOf(left) / (m * k);
    return () => {
      const [a, b, to] = [x.data, y.data, out.data];
      return () => {
        for (let t = 0, at = 0; t < count; t += 1) {
          for (let i = 0; i < m; i += 1) {
            for (let j = 0; j < n; j += 1, at += 1) {
              let sum = 0;
              for (let l = 0; l < k; l += 1) sum += a[(t * m + i) * k + l] * b[(t * k + l) * n + j];
              to[at] = sum;
            }
          }
        }
      };
    };
  },
};

function argument(from, to, starts, inner, sign) {
  return () => {
    for (let i = 0; i < to.length; i += 1) {
      let best = 0;
      for (let j = 1; j < inner.length; j += 1) {
        if (sign * from[starts[i] + inner[j]] > sign * from[starts[i] + inner[best]]) best = j;
      }
      to[i] = best;
    }
  };
}

export const KNOWN = { steps: [...Object.keys(STEPS), "reshape"], maps: Object.keys(MAPS) };
