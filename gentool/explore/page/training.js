// Training: curves and the film of a run, live while it trains; two runs side by side.
import { button, choice, element, fileUrl, labelled, sharp, short, themeColour } from "./draw.js";
import { NewestQuestion } from "./backend.js";

export const trainingTab = { name: "training", title: "Training", open: openTraining };

const SPLIT_DASHES = { train: [], test: [6, 4] };
const RUN_COLOURS = ["#0b84f3", "#f28e2b"];
const LOOK_AGAIN = 2000;

function openTraining(panel, context) {
  const others = context.runs.map((facts, i) => [i, facts]).filter(([i, facts]) => i !== context.run && facts.run);
  const sides = [side(context, context.run, 0)];
  const state = { at: 0, seed: 0, playing: null, following: true };
  const charts = element("div", { class: "charts", id: "training-charts" });
  const film = element("div", { class: "columns even", id: "training-film" });
  const warnings = element("div", {});
  const where = element("output", { id: "training-step" });
  const scrubber = element("input", {
    type: "range", min: 0, max: 0, value: 0, id: "training-scrubber", "aria-label": "Step of the training",
    oninput: () => { state.at = Number(scrubber.value); state.following = state.at === Number(scrubber.max); showFrame(); },
  });
  const seed = element("input", {
    type: "number", min: 0, value: 0, id: "training-seed",
    oninput: () => { state.seed = Math.max(0, Math.floor(Number(seed.value)) || 0); showFrame(); },
  });
  const play = button("Play", () => {
    if (state.playing) { stop(); return; }
    if (state.at >= sides[0].frames.length - 1) state.at = -1;
    play.textContent = "Stop";
    state.playing = setInterval(() => {
      if (sides.some((one) => one.newest.busy)) return;
      state.at += 1;
      scrubber.value = state.at;
      showFrame();
      if (state.at >= sides[0].frames.length - 1) stop();
    }, 120);
  }, { id: "training-play" });
  const stop = () => { clearInterval(state.playing); state.playing = null; play.textContent = "Play"; };

  function showFrame() {
    const frame = sides[0].frames[state.at];
    if (!frame) { where.textContent = "nothing was made yet"; return; }
    where.textContent = frame.step === null ? "the model as it is" : `step ${frame.step.toLocaleString()}`;
    sides[0].show(frame, state.seed);
    if (sides[1]) sides[1].show(nearestFrame(sides[1].frames, frame), state.seed);
  }

  async function look() {
    try {
      const fresh = await Promise.all(sides.map((one) => one.look()));
      if (!context.current()) return;
      if (fresh.some(Boolean)) {
        scrubber.max = Math.max(0, sides[0].frames.length - 1);
        if (state.following && !state.playing) { state.at = Number(scrubber.max); scrubber.value = state.at; }
        showCharts(charts, sides, context);
        warnings.replaceChildren(...sides.flatMap((one) => one.warnings).map((text) => element("p", { class: "note warning" }, text)));
        if (!state.playing) showFrame();
      }
      context.clear();
    } catch (error) {
      context.fail(error);
    }
    if (context.current()) state.timer = setTimeout(look, LOOK_AGAIN);
  }
  const lookNow = () => { clearTimeout(state.timer); look(); };

  const beside = others.length > 0
    ? labelled("Beside", choice([["", "none"], ...others.map(([i, facts]) => [String(i), facts.name])], "", (value) => {
      sides.splice(1);
      if (value !== "") sides.push(side(context, Number(value), 1));
      film.replaceChildren(...sides.map((one) => one.node));
      lookNow();
      sides[0].version = "-";
    })) : null;
  film.append(sides[0].node);
  panel.append(
    element("div", { class: "controls" }, beside, labelled("Seed", seed), play,
      element("label", { class: "grow" }, "Step", scrubber), where),
    film, warnings, element("h2", {}, "Curves"), charts,
  );
  look();
  const redraw = () => { showCharts(charts, sides, context); sides.forEach((one) => one.redraw()); };
  window.addEventListener("resize", redraw);
  return () => { stop(); clearTimeout(state.timer); window.removeEventListener("resize", redraw); };
}

// One run: its curves, its frames, and a place where a frame is shown.
function side(context, run, index) {
  const name = context.runs[run].name;
  const picture = element("img", { class: "picture", alt: `what ${name} makes`, id: `training-picture-${index}` });
  const canvas = element("canvas", { class: "map", id: `training-points-${index}`, role: "img", "aria-label": `points of ${name}`, hidden: true });
  const note = element("p", { class: "note", hidden: true },
    "A picture that the run kept; of one trained with --keep-history 100, a line in the terminal makes each again, from any seed.");
  const scale = element("p", { class: "note" });
  const made = {
    name, run, version: "-", series: {}, warnings: [], frames: [], last: null,
    node: element("figure", {}, picture, canvas, element("figcaption", {}, name, scale, note)),
    async look() {
      const curves = await context.call("training", "curves", { run, version: made.version, slot: `side${index}` });
      if (curves === null || curves.facts.same) return false;
      Object.assign(made, { version: curves.facts.version, series: curves.facts.series, warnings: curves.facts.warnings });
      const frames = await context.call("training", "frames", { run, slot: `side${index}` });
      if (frames !== null) made.frames = frames.facts.frames;
      return true;
    },
    show(frame, seed) { if (frame) made.newest.want({ run, ...frame, seed, slot: `side${index}` }); },
    redraw() { if (made.last) drawPoints(canvas, made.last); },
  };
  made.newest = new NewestQuestion(
    (question) => context.call("training", "frame", question),
    (answer) => {
      const file = answer.parts[0].kind === "file";
      picture.hidden = !file;
      canvas.hidden = file;
      if (file) {
        if (picture.src) URL.revokeObjectURL(picture.src);
        picture.src = fileUrl(answer.parts[0]);
        picture.dataset.shown = Number(picture.dataset.shown || 0) + 1;
      } else {
        made.last = answer;
        drawPoints(canvas, answer);
        const { label, ends } = answer.facts;
        scale.textContent = label ? `${label}: from ${short(ends[0])}, blue, to ${short(ends[1])}, green` : "";
      }
      if (index === 0) context.command(answer.command);
      note.hidden = answer.command !== "";
    },
    context.fail,
  );
  return made;
}

function nearestFrame(frames, wanted) {
  if (wanted.step === null) return frames[frames.length - 1];
  let best = frames[frames.length - 1];
  for (const one of frames) {
    if (one.step !== null && (best.step === null || Math.abs(one.step - wanted.step) < Math.abs(best.step - wanted.step))) best = one;
  }
  return best;
}

function drawPoints(canvas, answer) {
  const { context: ink, width } = sharp(canvas);
  const [fake, real, field, begin, along] = answer.parts;
  const extent = answer.facts.landscape ? answer.facts.extent : extentOf(real.data.length ? real : fake);
  const [left, right, bottom, top] = extent;
  const size = Math.max(right - left, top - bottom);
  const place = (x, y) => [
    (x - (left + right - size) / 2) / size * width, width - (y - (bottom + top - size) / 2) / size * width,
  ];
  if (field) {
    const [x0, y0] = place(left, top);
    const [x1, y1] = place(right, bottom);
    ink.imageSmoothingEnabled = true;
    ink.drawImage(landscapeImage(field, answer.facts.ends), x0, y0, x1 - x0, y1 - y0);
  }
  const dots = (part, colour, radius) => {
    const d = part.shape[1];
    ink.fillStyle = colour;
    for (let i = 0; i < part.shape[0]; i += 1) {
      const [x, y] = place(part.data[i * d], d > 1 ? part.data[i * d + 1] : 0);
      ink.beginPath(); ink.arc(x, y, radius, 0, 7); ink.fill();
    }
  };
  dots(real, "#9aa5b1", 1.6);
  dots(fake, "#d1495b", 1.6);
  if (along) drawArrows(ink, place, begin, along, width);
  canvas.dataset.shown = Number(canvas.dataset.shown || 0) + 1;
}

// The longest arrow is a twelfth of the picture; where the score is level there is none.
function drawArrows(ink, place, begin, along, width) {
  let most = 1e-12;
  for (let i = 0; i < along.shape[0]; i += 1) most = Math.max(most, Math.hypot(along.data[2 * i], along.data[2 * i + 1]));
  ink.strokeStyle = themeColour("--ink");
  ink.lineWidth = 1;
  ink.beginPath();
  for (let i = 0; i < along.shape[0]; i += 1) {
    const [x, y] = place(begin.data[2 * i], begin.data[2 * i + 1]);
    const dx = along.data[2 * i] / most * width / 12;
    const dy = -along.data[2 * i + 1] / most * width / 12;
    if (Math.hypot(dx, dy) < 1) continue;
    ink.moveTo(x, y);
    ink.lineTo(x + dx, y + dy);
    ink.lineTo(x + 0.75 * dx - 0.15 * dy, y + 0.75 * dy + 0.15 * dx);
    ink.moveTo(x + dx, y + dy);
    ink.lineTo(x + 0.75 * dx + 0.15 * dy, y + 0.75 * dy - 0.15 * dx);
  }
  ink.stroke();
}

function landscapeImage(field, [low, high]) {
  const [rows, columns] = field.shape;
  const canvas = document.createElement("canvas");
  canvas.width = columns;
  canvas.height = rows;
  const image = new ImageData(columns, rows);
  for (let i = 0; i < rows; i += 1) {
    for (let j = 0; j < columns; j += 1) {
      const t = Math.min(1, Math.max(0, (field.data[i * columns + j] - low) / (high - low || 1)));
      const at = 4 * ((rows - 1 - i) * columns + j);
      // From blue, less real, over pale to green, more real.
      image.data[at] = t < 0.5 ? 70 + 330 * t : 235 - 290 * (t - 0.5);
      image.data[at + 1] = t < 0.5 ? 110 + 240 * t : 230 - 100 * (t - 0.5);
      image.data[at + 2] = t < 0.5 ? 190 + 80 * t : 230 - 260 * (t - 0.5);
      image.data[at + 3] = 170;
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function extentOf(part) {
  const d = part.shape[1];
  const found = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < part.shape[0]; i += 1) {
    const [x, y] = [part.data[i * d], d > 1 ? part.data[i * d + 1] : 0];
    found[0] = Math.min(found[0], x); found[1] = Math.max(found[1], x);
    found[2] = Math.min(found[2], y); found[3] = Math.max(found[3], y);
  }
  const margin = 0.2 * Math.max(found[1] - found[0], found[3] - found[2], 1e-6);
  return [found[0] - margin, found[1] + margin, found[2] - margin, found[3] + margin];
}

function showCharts(charts, sides, context) {
  const names = [...new Set(sides.flatMap((one) => Object.keys(one.series)))];
  charts.replaceChildren();
  if (names.length === 0) charts.append(element("p", { class: "note" }, "no curve yet"));
  for (const name of names) {
    const canvas = element("canvas", { class: "chart", role: "img", "aria-label": `${name} over the steps` });
    const lines = sides.flatMap((one, i) => Object.entries(one.series[name] || {}).map(([split, pair]) => ({
      split, pair, colour: RUN_COLOURS[i], text: sides.length > 1 ? `${one.name}, ${split}` : split,
    })));
    const newest = lines.map((line) => `${line.text} ${short(line.pair[1][line.pair[1].length - 1])}`).join("; ");
    charts.append(element("figure", {}, element("figcaption", {}, element("b", {}, name), ` ${newest}`), canvas));
    drawChart(canvas, lines);
  }
  if (context.current()) charts.dataset.shown = Number(charts.dataset.shown || 0) + 1;
}

function drawChart(canvas, lines) {
  const { context: ink, width, height } = sharp(canvas);
  const finite = lines.flatMap((line) => line.pair[1].filter((value) => value !== null));
  const steps = lines.flatMap((line) => line.pair[0]);
  if (finite.length === 0) return;
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const last = Math.max(...steps, 1);
  const [margin, room] = [46, height - 22];
  const place = (step, value) => [
    margin + step / last * (width - margin - 6), 6 + (high - value) / (high - low || 1) * (room - 8),
  ];
  ink.fillStyle = themeColour("--pale");
  ink.font = "11px system-ui, sans-serif";
  ink.textAlign = "right";
  ink.fillText(short(high), margin - 4, 14);
  ink.fillText(short(low), margin - 4, room);
  ink.fillText(last.toLocaleString(), width - 6, height - 6);
  ink.textAlign = "left";
  ink.fillText("0", margin, height - 6);
  ink.strokeStyle = themeColour("--rule");
  ink.strokeRect(margin, 4, width - margin - 4, room - 2);
  for (const { pair, split, colour } of lines) {
    ink.strokeStyle = colour;
    ink.lineWidth = 1.5;
    ink.setLineDash(SPLIT_DASHES[split] || [2, 3]);
    ink.beginPath();
    let drawing = false;
    pair[1].forEach((value, i) => {
      if (value === null) { drawing = false; return; }
      const [x, y] = place(pair[0][i], value);
      if (drawing) ink.lineTo(x, y); else ink.moveTo(x, y);
      drawing = true;
    });
    if (pair[1].length === 1) ink.arc(...place(pair[0][0], pair[1][0]), 2, 0, 7);
    ink.stroke();
  }
  ink.setLineDash([]);
}
