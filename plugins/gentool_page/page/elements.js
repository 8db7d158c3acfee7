// Operations element by element, with broadcasting.

// erf x = 2/√π Σ (−1)ⁱ x²ⁱ⁺¹ / (i! (2i + 1)); beyond 4 it is 1 to float32.
export function erf(x) {
  const size = Math.abs(x);
  if (size > 4) return Math.sign(x);
  let sum = size;
  let term = size;
  for (let i = 1; i < 80 && Math.abs(term) > 1e-12; i += 1) {
    term *= -size * size / i;
    sum += term / (2 * i + 1);
  }
  return Math.sign(x) * sum * 2 / Math.sqrt(Math.PI);
}

function even(x) {
  const below = Math.floor(x);
  const rest = x - below;
  if (rest !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

export const PAIRS = {
  add: (x, y) => x + y, sub: (x, y) => x - y, mul: (x, y) => x * y, div: (x, y) => x / y,
  maximum: Math.max, minimum: Math.min, pow: Math.pow, fmod: (x, y) => x % y,
  eq: (x, y) => (x === y ? 1 : 0), ne: (x, y) => (x !== y ? 1 : 0),
  lt: (x, y) => (x < y ? 1 : 0), le: (x, y) => (x <= y ? 1 : 0),
  gt: (x, y) => (x > y ? 1 : 0), ge: (x, y) => (x >= y ? 1 : 0),
  logical_and: (x, y) => (x && y ? 1 : 0), logical_or: (x, y) => (x || y ? 1 : 0),
};

export const MAPS = {
  relu: (x) => (x > 0 ? x : 0), tanh: Math.tanh, sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  sin: Math.sin, cos: Math.cos, exp: Math.exp, log: Math.log, sqrt: Math.sqrt, neg: (x) => -x,
  rsqrt: (x) => 1 / Math.sqrt(x), abs: Math.abs, reciprocal: (x) => 1 / x, log1p: Math.log1p,
  expm1: Math.expm1, floor: Math.floor, ceil: Math.ceil, round: even, trunc: Math.trunc,
  sign: Math.sign, erf, logical_not: (x) => (x ? 0 : 1),
  leaky_relu: (x, a) => (x > 0 ? x : a * x), elu: (x, a) => (x > 0 ? x : a * Math.expm1(x)),
  gelu: (x) => x / 2 * (1 + erf(x * Math.SQRT1_2)),
  clamp: (x, a, b) => (x < a ? a : x > b ? b : x),
};
for (const [name, pair] of Object.entries(PAIRS)) {
  MAPS[name] = pair;
  MAPS[`r${name}`] = (x, a) => pair(a, x);
}

export function eachOf(x, y, a, b, f) {
  for (let i = 0; i < y.length; i += 1) y[i] = f(x[i], a, b);
}

// Where calling a function would take longer than what it does.
export const LOOPS = {
  relu(x, y) { for (let i = 0; i < y.length; i += 1) y[i] = x[i] > 0 ? x[i] : 0; },
  leaky_relu(x, y, a) { for (let i = 0; i < y.length; i += 1) y[i] = x[i] > 0 ? x[i] : a * x[i]; },
  mul(x, y, a) { for (let i = 0; i < y.length; i += 1) y[i] = x[i] * a; },
  add(x, y, a) { for (let i = 0; i < y.length; i += 1) y[i] = x[i] + a; },
};

export const REDUCTIONS = {
  sum: [0, (s, x) => s + x], prod: [1, (s, x) => s * x], mean: [0, (s, x) => s + x],
  amax: [-Infinity, Math.max], amin: [Infinity, Math.min], any: [0, (s, x) => (s || x ? 1 : 0)],
};

export function stridesOf(shape) {
  const strides = new Array(shape.length);
  for (let d = shape.length - 1, step = 1; d >= 0; d -= 1) {
    strides[d] = step;
    step *= shape[d];
  }
  return strides;
}

export const sizeOf = (shape) => shape.reduce((n, d) => n * d, 1);

// Where each element of `shape`, in order, lies with these strides.
export function places(shape, strides, offset = 0) {
  const found = new Int32Array(sizeOf(shape));
  const at = new Array(shape.length).fill(0);
  for (let i = 0, place = offset; i < found.length; i += 1) {
    found[i] = place;
    for (let d = shape.length - 1; d >= 0; d -= 1) {
      at[d] += 1;
      place += strides[d];
      if (at[d] < shape[d]) break;
      place -= strides[d] * shape[d];
      at[d] = 0;
    }
  }
  return found;
}

// Where an element of `shape` reads from a tensor of the shape `from`; null where it is the same.
export function broadcast(from, shape) {
  if (from.length === shape.length && from.every((n, d) => n === shape[d])) return null;
  const own = stridesOf(from);
  const missing = shape.length - from.length;
  return places(shape, shape.map((n, d) => (d < missing || from[d - missing] === 1 ? 0 : own[d - missing])));
}
