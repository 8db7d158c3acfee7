// The Mix tab: gentool/explore/tabs/mix.py says what lies between the corners.
import { inSlices, line, literal, locate as place, pictureOf, sentence, sheetOf, toPixels } from "./answers.js";
import { gif } from "./gif.js";

const PARALLEL = 1e-6;

function linear(a, b, t) {
  return Float32Array.from(a, (v, i) => v + t * (b[i] - v));
}

// The great circle from a to b (Shoemake 1985); gentool/latent/paths.py has the same cases.
export function slerp(a, b, t) {
  const norm = (v) => Math.sqrt(v.reduce((sum, x) => sum + x * x, 0));
  const [p, q] = [norm(a), norm(b)];
  if (p === 0 || q === 0) return linear(a, b, t);
  const [u, v] = [Float64Array.from(a, (x) => x / p), Float64Array.from(b, (x) => x / q)];
  const omega = 2 * Math.atan2(norm(u.map((x, i) => x - v[i])), norm(u.map((x, i) => x + v[i])));
  if (omega < PARALLEL) return linear(a, b, t);
  if (Math.PI - omega < PARALLEL) return a.length === 1 ? linear(a, b, t) : opposite(u, p, q, t, norm);
  const [w, x] = [Math.sin((1 - t) * omega) / Math.sin(omega), Math.sin(t * omega) / Math.sin(omega)];
  return Float32Array.from(a, (value, i) => w * value + x * b[i]);
}

// Between opposite points through a fixed place that is perpendicular to both.
function opposite(u, p, q, t, norm) {
  let least = 0;
  for (let i = 1; i < u.length; i += 1) if (Math.abs(u[i]) < Math.abs(u[least])) least = i;
  const side = u.map((x, i) => (i === least ? 1 : 0) - u[least] * x);
  const [length, size] = [norm(side), (1 - t) * p + t * q];
  return Float32Array.from(u, (x, i) => size * (Math.cos(Math.PI * t) * x + Math.sin(Math.PI * t) * side[i] / length));
}

function pathOf(model) {
  return model.facts.run.prior === "uniform" ? linear : slerp;
}

function cornersOf(question) {
  if (!(question.corners.length >= 2 && question.corners.length <= 4)) throw sentence("two to four corners are mixed");
  return question.corners.map((z) => Float32Array.from(z));
}

// The latent at (x, y) of the square whose upper left is A.
function between(model, ends, x, y) {
  const path = pathOf(model);
  const step = (a, b, t) => (t === 0 ? a : t === 1 ? b : path(a, b, t));
  const above = step(ends[0], ends[1], x);
  if (ends.length === 2) return above;
  return step(above, ends.length === 4 ? step(ends[2], ends[3], x) : ends[2], y);
}

export function locate(model, question) {
  const { z, text } = place(model, question.point);
  return { facts: { z: Array.from(z), text }, parts: [], command: "" };
}

export function at(model, question) {
  return pictureOf(model, between(model, cornersOf(question), question.x, question.y || 0), question.label);
}

export async function tiles(model, question, { isNewest }) {
  const [ends, { side }] = [cornersOf(question), question];
  const rows = ends.length === 2 ? 1 : side;
  const sheet = sheetOf(model, rows, side);
  const whole = await inSlices(rows * side, (i) => {
    const [row, column] = [Math.floor(i / side), i % side];
    sheet.place(i, between(model, ends, column / (side - 1), row / Math.max(1, rows - 1)), question.label);
  }, isNewest);
  return whole ? { facts: { rows, side }, parts: [sheet.part], command: "" } : null;
}

export async function film(model, question, { isNewest }) {
  const [ends, { steps }] = [cornersOf(question), question];
  const { run } = model.facts;
  const frames = [];
  const whole = await inSlices(ends.length * (steps - 1), (i) => {
    const [leg, t] = [Math.floor(i / (steps - 1)), i % (steps - 1) / (steps - 1)];
    const z = t === 0 ? ends[leg] : pathOf(model)(ends[leg], ends[(leg + 1) % ends.length], t);
    frames.push(toPixels(model.sample(z, run.conditional ? question.label || 0 : model.inTurn(i)), run.shape));
  }, isNewest);
  if (!whole) return null;
  const words = ["--loop", "--steps", steps, ...(run.conditional ? ["--class", question.label || 0] : [])];
  const command = line("interpolate", run.word, ...ends.map(literal), ...words, "--out", "film.gif");
  const file = { kind: "file", type: "image/gif", name: "film.gif", data: gif(frames) };
  return { facts: { frames: frames.length }, parts: [file, ...frames], command };
}
