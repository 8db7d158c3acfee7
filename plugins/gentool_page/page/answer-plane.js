// The Plane tab: gentool/explore/tabs/plane.py says what the planes are.
import { floats, inSlices, locate, pictureOf, sentence, sheetOf } from "./answers.js";

// From a question to a function of (x, y) that gives a latent.
function planeOf(model, question) {
  const flat = model.latents === 2;
  const kind = question.plane || (flat ? "latent" : "seeds");
  if (kind === "latent" && flat) return (x, y) => Float32Array.of(x, y);
  if (kind === "seeds") return (x, y) => blended(model, x, y);
  if (kind === "points") {
    const [a, b, c] = question.points.map((point) => locate(model, point).z);
    return (x, y) => Float32Array.from(a, (v, i) => v + x * (b[i] - v) + y * (c[i] - v));
  }
  const kept = model.facts.kept.planes[kind];
  if (!kept) throw sentence("this plane is not in this page: it needs the data that the model was trained on");
  const [centre, across, down] = [kept.centre, kept.across, kept.down].map((name) => model.vectors[name]);
  return (x, y) => Float32Array.from(centre, (v, i) => v + x * across[i] + y * down[i]);
}

// The seed at (i, j): 0 in the middle, and round it, so that all are small and none twice.
export function spiral(i, j) {
  const r = Math.max(Math.abs(i), Math.abs(j));
  if (r === 0) return 0;
  const start = (2 * r - 1) ** 2;
  if (i === r && j > -r) return start + j + r - 1;
  if (j === r) return start + 2 * r + r - 1 - i;
  if (i === -r) return start + 4 * r + r - 1 - j;
  return start + 6 * r + i + r - 1;
}

const seeds = new Map();
function seedAt(model, i, j) {
  const number = spiral(i, j);
  if (seeds.size > 4096) seeds.clear();
  if (!seeds.has(number)) seeds.set(number, model.latent(number));
  return seeds.get(number);
}

function blended(model, x, y) {
  const [i, j] = [Math.floor(x), Math.floor(y)];
  const [u, v] = [x - i, y - j];
  const corners = [[i, j, (1 - u) * (1 - v)], [i + 1, j, u * (1 - v)], [i, j + 1, (1 - u) * v], [i + 1, j + 1, u * v]]
    .filter(([, , w]) => w > 0);
  if (corners.length === 1) return seedAt(model, corners[0][0], corners[0][1]);
  const length = model.facts.run.prior === "gaussian" ? Math.sqrt(corners.reduce((sum, [, , w]) => sum + w * w, 0)) : 1;
  const z = new Float64Array(model.latents);
  for (const [a, b, w] of corners) seedAt(model, a, b).forEach((value, k) => { z[k] += w * value; });
  return Float32Array.from(z, (value) => value / length);
}

export function at(model, question) {
  const { x, y } = question;
  const z = planeOf(model, question)(x, y);
  const seed = question.plane === "seeds" && Number.isInteger(x) && Number.isInteger(y) ? spiral(x, y) : null;
  const answer = pictureOf(model, z, question.label, seed);
  return { ...answer, facts: { ...answer.facts, seed } };
}

export async function tiles(model, question, { isNewest }) {
  const { side, left, right, bottom, top } = question;
  const [plane, sheet] = [planeOf(model, question), sheetOf(model, side, side)];
  const whole = await inSlices(side * side, (i) => {
    const [row, column] = [Math.floor(i / side), i % side];
    const [x, y] = [left + (column + 0.5) / side * (right - left), top + (row + 0.5) / side * (bottom - top)];
    sheet.place(i, plane(x, y), question.label);
  }, isNewest);
  return whole ? { facts: { side }, parts: [sheet.part], command: "" } : null;
}

export function scatter(model, question) {
  const kept = model.facts.kept.scatter[model.facts.run.kind === "points" ? "latent" : question.plane];
  if (!kept) throw sentence("only encoded data lies in this plane");
  const parts = [floats(model.vectors[kept.positions], kept.shape), floats(model.vectors[kept.labels], [kept.shape[0]])];
  return { facts: kept.facts, parts, command: "" };
}
