// The draws of `gentool sample`: Philox4x32-10 and Box–Muller, equal bit for bit.
//
// Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011); Box and Muller (1958).
// gentool/ops/philox.py says what the address of a draw is; every line of it is one rounding to
// float32, repeated here by Math.fround. A 64-bit number is a pair [high, low] of 32-bit ones.

const f = Math.fround;

export function wide(number) {
  return [Math.floor(number / 2 ** 32) >>> 0, number >>> 0];
}

function add64([ah, al], [bh, bl]) {
  const low = al + bl;
  return [(ah + bh + (low >= 2 ** 32 ? 1 : 0)) >>> 0, low >>> 0];
}

// The upper 32 bits of a product of two 32-bit numbers, by halves of 16.
function high32(a, b) {
  const [a1, a0, b1, b0] = [a >>> 16, a & 0xffff, b >>> 16, b & 0xffff];
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  const cross = a0 * b1 + (middle & 0xffff);
  return (a1 * b1 + Math.floor(middle / 65536) + Math.floor(cross / 65536)) >>> 0;
}

function multiply64([ah, al], [bh, bl]) {
  const high = high32(al, bl) + Math.imul(ah, bl) + Math.imul(al, bh);
  return [high >>> 0, Math.imul(al, bl) >>> 0];
}

// x ^ (x >> by), for by below 32.
function folded([high, low], by) {
  return [(high ^ (high >>> by)) >>> 0, (low ^ ((low >>> by) | (high << (32 - by)))) >>> 0];
}

// The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
function mix64(x) {
  x = multiply64(folded(x, 30), [0xbf58476d, 0x1ce4e5b9]);
  x = multiply64(folded(x, 27), [0x94d049bb, 0x133111eb]);
  return folded(x, 31);
}

export function keyOf(seed, stream) {
  return mix64(add64(mix64(add64(wide(seed), [0x9e3779b9, 0x7f4a7c15])), stream));
}

const words = new Uint32Array(4);

function philox(c0, c1, c2, c3, [k1, k0]) {
  for (let round = 0; round < 10; round += 1) {
    const [h0, l0] = [high32(c0, 0xd2511f53), Math.imul(c0, 0xd2511f53) >>> 0];
    const [h1, l1] = [high32(c2, 0xcd9e8d57), Math.imul(c2, 0xcd9e8d57) >>> 0];
    [c0, c1, c2, c3] = [(h1 ^ c1 ^ k0) >>> 0, l1, (h0 ^ c3 ^ k1) >>> 0, l0];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  words[0] = c0; words[1] = c1; words[2] = c2; words[3] = c3;
}

const LOG = [0.333333313, -0.250008196, 0.200012267, -0.166233569, 0.142017573, -0.131601825,
  0.12761578, -0.0763449892].map(f);
const SIN = [-0.166666552, 0.008332178, -0.000195172994].map(f);
const COS = [0.0416666456, -0.00138873677, 2.44384519e-05].map(f);
const LN2 = f(0.693147182);
const TURN = f(1.46291807e-09); // 2π / 2³²
const single = new Float32Array(1);
const bits = new Int32Array(single.buffer);

function horner(coefficients, x) {
  let value = coefficients[coefficients.length - 1];
  for (let i = coefficients.length - 2; i >= 0; i -= 1) value = f(f(value * x) + coefficients[i]);
  return value;
}

function normals(x0, x1, out, at) {
  single[0] = f(f(f(x0) * 2 ** -32) + 2 ** -33);
  const exponent = (bits[0] - 0x3f3504f3) >> 23;
  bits[0] -= exponent << 23;
  const m = f(single[0] - 1);
  let square = f(m * m);
  const tail = f(f(f(m * square) * horner(LOG, m)) - f(0.5 * square));
  const log = f(f(tail + m) + f(exponent * LN2));
  const radius = f(Math.sqrt(f(-2 * log)));

  const quarter = Math.floor((x1 + 2 ** 29) / 2 ** 30);
  const angle = f(f(x1 - quarter * 2 ** 30) * TURN);
  square = f(angle * angle);
  const sine = f(angle + f(f(angle * square) * horner(SIN, square)));
  const cosine = f(f(1 - f(0.5 * square)) + f(f(square * square) * horner(COS, square)));
  const odd = (quarter & 1) === 1;
  if (at < out.length) out[at] = radius * ((odd ? sine : cosine) * (1 - ((quarter + 1) & 2)));
  if (at + 1 < out.length) out[at + 1] = radius * ((odd ? cosine : sine) * (1 - (quarter & 2)));
}

// One row of a draw, float32, into `out`; step 0, as samples are drawn.
export function draw(kind, key, row, out) {
  const [rowHigh, rowLow] = wide(row);
  const high = (rowHigh & 0xffff) << 16 >>> 0;
  for (let at = 0; at < out.length; at += 4) {
    philox(at / 4, rowLow, 0, high, key);
    if (kind === "normal") {
      const [a, b, c, d] = words;
      normals(a, b, out, at);
      normals(c, d, out, at + 2);
    } else {
      for (let i = 0; i < 4 && at + i < out.length; i += 1) out[at + i] = (words[i] >>> 8) * 2 ** -24;
    }
  }
  return out;
}
