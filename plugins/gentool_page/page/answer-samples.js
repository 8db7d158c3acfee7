// The Samples tab: the picture that `gentool sample` writes.
import { inSlices, line, sentence, toPixels } from "./answers.js";
import { newCanvas, png } from "./canvas.js";
import { toImageData } from "./draw.js";

const MOST = 400;
const MOST_POINTS = 10000;
const PAD = 2;
const SMALLEST = 256;

export async function grid(model, question, { isNewest }) {
  const { run } = model.facts;
  const images = run.kind === "image";
  const { labels, columns, cells } = arrange(model, question.class ?? null, question.n);
  const n = cells.length;
  if (!(n >= 1 && n <= (images ? MOST : MOST_POINTS))) throw sentence("that many samples are too many for this page");
  const sheet = images ? new Sheet(run.shape, columns, cells) : new Scatter(n);
  const whole = await inSlices(n, (i) => {
    sheet.place(i, model.sample(model.latent(question.seed, i), labels(i)));
  }, isNewest);
  if (!whole) return null;
  const words = ["--n", n, "--seed", question.seed];
  if (question.class !== undefined) words.push("--class", question.class);
  const part = { kind: "file", type: "image/png", name: "samples.png", data: await png(sheet.canvas()) };
  const command = line("sample", run.word, ...words, "--out", "samples.png");
  return { facts: { n, columns: columns || 0, cells }, parts: [part], command };
}

// Which classes are drawn, and where they lie: with all of them one row a class.
function arrange(model, wanted, n) {
  const { conditional } = model.facts.run;
  const inOrder = [...Array(n).keys()];
  if (!conditional) return { labels: (i) => model.inTurn(i), columns: null, cells: inOrder };
  if (wanted !== null && wanted !== "all") return { labels: () => Number(wanted), columns: null, cells: inOrder };
  const columns = Math.ceil(n / conditional);
  const owners = [];
  const cells = [];
  for (let label = 0; label < conditional; label += 1) {
    const own = Math.floor(n / conditional) + (label < n % conditional ? 1 : 0);
    for (let i = 0; i < own; i += 1) { owners.push(label); cells.push(label * columns + i); }
  }
  return { labels: (i) => owners[i], columns, cells };
}

// Images laid out row by row with black between and around them.
class Sheet {
  constructor(shape, columns, cells) {
    const [, height, width] = shape;
    this.shape = shape;
    this.cells = cells;
    this.columns = columns || Math.max(1, Math.ceil(Math.sqrt(cells.length)));
    const rows = Math.max(1, Math.ceil((Math.max(...cells) + 1) / this.columns));
    this.small = newCanvas(this.columns * (width + PAD) + PAD, rows * (height + PAD) + PAD);
    this.ink = this.small.getContext("2d");
    this.ink.fillRect(0, 0, this.small.width, this.small.height);
  }

  place(i, x) {
    const [, height, width] = this.shape;
    const [row, column] = [Math.floor(this.cells[i] / this.columns), this.cells[i] % this.columns];
    this.ink.putImageData(toImageData(toPixels(x, this.shape)), PAD + column * (width + PAD), PAD + row * (height + PAD));
  }

  canvas() {
    const factor = Math.max(1, Math.ceil(SMALLEST / Math.max(this.small.width, this.small.height)));
    const large = newCanvas(this.small.width * factor, this.small.height * factor);
    const ink = large.getContext("2d");
    ink.imageSmoothingEnabled = false;
    ink.drawImage(this.small, 0, 0, large.width, large.height);
    return large;
  }
}

// Points by their first two coordinates; of one coordinate a histogram.
class Scatter {
  constructor(n) {
    this.points = new Array(n);
  }

  place(i, x) {
    this.points[i] = [x[0], x.length > 1 ? x[1] : null];
  }

  canvas() {
    const side = 550;
    const canvas = newCanvas(side, side);
    const ink = canvas.getContext("2d");
    ink.fillStyle = "#ffffff";
    ink.fillRect(0, 0, side, side);
    ink.fillStyle = "#d1495b";
    if (this.points[0][1] === null) this.histogram(ink, side);
    else this.dots(ink, side);
    return canvas;
  }

  dots(ink, side) {
    const ends = [0, 1].map((d) => this.points.reduce(([low, high], p) => [Math.min(low, p[d]), Math.max(high, p[d])], [Infinity, -Infinity]));
    const half = 0.6 * (Math.max(...ends.map(([low, high]) => high - low)) || 1);
    for (const point of this.points) {
      const [x, y] = ends.map(([low, high], d) => (point[d] - (low + high) / 2 + half) / (2 * half) * side);
      ink.beginPath();
      ink.arc(x, side - y, 1.5, 0, 7);
      ink.fill();
    }
  }

  histogram(ink, side) {
    const xs = this.points.map(([x]) => x);
    const [low, high] = xs.reduce(([a, b], x) => [Math.min(a, x), Math.max(b, x)], [Infinity, -Infinity]);
    const bins = new Array(80).fill(0);
    for (const x of xs) bins[Math.min(79, Math.floor((x - low) / (high - low || 1) * 80))] += 1;
    const most = Math.max(...bins);
    bins.forEach((count, i) => {
      const height = count / most * (side - 20);
      ink.fillRect(i * side / 80, side - height, side / 80 - 1, height);
    });
  }
}
