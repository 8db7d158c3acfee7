// Plane: a plane of the latent space; the picture follows the pointer.
import {
  CLASS_COLOURS, button, choice, classChoice, element, labelled, pixelCanvas, sharp, short, showPixels,
  themeColour, toImageData,
} from "./draw.js";
import { NewestQuestion } from "./backend.js";
import { pointOf } from "./points.js";

export const planeTab = { name: "plane", title: "Plane", open: openPlane };

const PLANE_NAMES = {
  latent: "the latent space itself", seeds: "seeds, endless",
  points: "through three points", principal: "principal directions",
};
const PLANE_VIEWS = { latent: 3, seeds: 2.5, principal: 3, points: 1.5 };

function openPlane(panel, context) {
  const { facts } = context;
  const kinds = (facts.latents === 2 ? ["latent"] : []).concat(["seeds"], facts.latents > 2 ? ["principal", "points"] : []);
  const state = {
    plane: kinds[0], x: 0, y: 0, centre: [0, 0], half: PLANE_VIEWS[kinds[0]], label: 0,
    tiles: null, tilesOf: null, scatter: null, point: null, points: [{ seed: 0 }, { seed: 1 }, { seed: 2 }],
  };
  const isImage = facts.kind === "image";
  const map = element("canvas", {
    class: "map", id: "plane-map", tabindex: 0, role: "application",
    "aria-label": "Plane of the latent space: drag, or move with the arrow keys; plus and minus zoom",
  });
  const picture = isImage ? pixelCanvas(null, "the sample at this point", { class: "pixels large", id: "plane-picture" })
    : element("canvas", { class: "map", id: "plane-picture", role: "img", "aria-label": "real and generated points" });
  const where = element("p", { class: "note", id: "plane-where" });
  const legend = element("div", { class: "legend" });

  const question = () => ({
    plane: state.plane, label: state.label, ...(state.plane === "points" ? { points: state.points } : {}),
  });
  const newest = new NewestQuestion(
    (asked) => context.call("plane", "at", asked),
    (answer, asked) => {
      state.point = answer.facts;
      if (isImage) showPixels(picture, answer.parts[0]);
      else drawOutput();
      where.textContent = describe(asked, answer.facts);
      context.command(answer.command);
      context.clear();
    },
    context.fail,
  );
  const background = new NewestQuestion(
    (asked) => context.call("plane", "tiles", asked),
    (answer, asked) => {
      state.tiles = isImage ? bitmapOf(answer.parts[0]) : answer.parts[0];
      state.tilesOf = asked;
      drawMap();
      if (!isImage) drawOutput();
    },
    context.fail,
  );

  let settle = 0;
  const moved = () => { drawMap(); newest.want({ ...question(), x: state.x, y: state.y }); };
  const viewed = () => {
    drawMap();
    clearTimeout(settle);
    settle = setTimeout(() => {
      const side = isImage ? Math.max(4, Math.min(14, Math.floor(560 / facts.shape[2]))) : 25;
      const [cx, cy] = state.centre;
      background.want({
        ...question(), side,
        left: cx - state.half, right: cx + state.half, bottom: cy - state.half, top: cy + state.half,
      });
    }, state.tiles ? 200 : 0);
  };
  const restart = () => {
    Object.assign(state, { x: 0, y: 0, centre: [0, 0], half: PLANE_VIEWS[state.plane], tiles: null, scatter: null });
    legend.replaceChildren();
    points.hidden = state.plane !== "points";
    snap.hidden = state.plane !== "seeds";
    moved();
    viewed();
    loadScatter();
  };

  async function loadScatter() {
    const encoded = facts.capabilities.includes("encode") && ["latent", "principal"].includes(state.plane);
    const known = facts.standalone ? facts.scatters.includes(isImage ? state.plane : "latent") : facts.run;
    if (!known || (isImage && !encoded)) return;
    const plane = state.plane;
    try {
      const answer = await context.call("plane", "scatter", { plane });
      if (answer === null || plane !== state.plane) return;
      state.scatter = answer;
      showLegend(legend, answer, isImage ? "encoded data" : "real data");
      drawMap();
      if (!isImage) drawOutput();
    } catch (error) {
      context.fail(error);
    }
  }

  function drawMap() {
    const { context: ink, width } = sharp(map);
    const place = (x, y) => [
      (x - state.centre[0] + state.half) / (2 * state.half) * width,
      (state.centre[1] + state.half - y) / (2 * state.half) * width,
    ];
    if (isImage && state.tiles) {
      const { left, right, bottom, top } = state.tilesOf;
      const [x0, y0] = place(left, top);
      const [x1, y1] = place(right, bottom);
      ink.imageSmoothingEnabled = false;
      ink.globalAlpha = state.scatter ? 0.35 : 1;
      ink.drawImage(state.tiles, x0, y0, x1 - x0, y1 - y0);
      ink.globalAlpha = 1;
    }
    drawAxes(ink, place, width, state);
    if (isImage && state.scatter) drawDots(ink, place, state.scatter, 3);
    const [x, y] = place(state.x, state.y);
    ink.lineWidth = 3;
    ink.strokeStyle = "#ffffff";
    ink.beginPath(); ink.arc(x, y, 8, 0, 7); ink.stroke();
    ink.strokeStyle = themeColour("--accent");
    ink.lineWidth = 2;
    ink.beginPath(); ink.arc(x, y, 10, 0, 7); ink.stroke();
  }

  // Of a model of points: the lattice of the plane where the generator puts it, over real points.
  function drawOutput() {
    const { context: ink, width } = sharp(picture);
    const frame = frameOf(state);
    const place = (x, y) => [(x - frame.x) / frame.size * width, width - (y - frame.y) / frame.size * width];
    if (state.scatter) drawDots(ink, place, state.scatter, 1.6);
    if (state.tiles) drawMesh(ink, place, state.tiles);
    if (state.point) {
      const [x, y] = place(state.point.x[0], state.point.x.length > 1 ? state.point.x[1] : 0);
      ink.fillStyle = themeColour("--accent");
      ink.beginPath(); ink.arc(x, y, 6, 0, 7); ink.fill();
    }
    picture.dataset.shown = Number(picture.dataset.shown || 0) + 1;
  }

  const zoom = (factor) => { state.half = Math.min(200, Math.max(0.02, state.half * factor)); viewed(); };
  const nudge = (dx, dy) => {
    state.x += dx; state.y += dy;
    for (const [axis, value] of [[0, state.x], [1, state.y]]) {
      if (Math.abs(value - state.centre[axis]) > state.half) { state.centre[axis] = value; viewed(); }
    }
    moved();
  };
  pointing(map, state, moved, viewed, zoom);
  map.addEventListener("keydown", (event) => {
    const step = state.half / (event.shiftKey ? 4 : 40);
    const keys = {
      ArrowLeft: () => nudge(-step, 0), ArrowRight: () => nudge(step, 0),
      ArrowUp: () => nudge(0, step), ArrowDown: () => nudge(0, -step),
      "+": () => zoom(0.8), "-": () => zoom(1.25), "=": () => zoom(0.8),
    };
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
  });

  const snap = button("Snap to seed", () => { state.x = Math.round(state.x); state.y = Math.round(state.y); moved(); });
  const points = element("div", { class: "controls" }, ...state.points.map((_, i) => {
    const input = element("input", {
      type: "text", value: `seed:${i}`, size: 12, onchange: () => {
        const point = pointOf(input.value);
        if (point === null) { context.fail(new Error("a point is seed:7, test:12, train:3 or z:0.5,-1")); return; }
        state.points[i] = point;
        restart();
      },
    });
    return labelled(`Point ${"ABC"[i]}`, input);
  }));
  const named = kinds.map((kind) => [kind, PLANE_NAMES[kind]]);
  panel.append(
    element("div", { class: "controls" },
      labelled("Plane", choice(named, state.plane, (value) => { state.plane = value; restart(); })),
      classChoice(facts, state, () => { moved(); viewed(); }),
      button("Zoom in", () => zoom(0.6)), button("Zoom out", () => zoom(1.6)),
      snap, button("Copy point", () => state.point && navigator.clipboard.writeText(state.point.point)),
      button("Home", restart)),
    points,
    element("div", { class: "columns" },
      element("div", {}, map, legend,
        element("p", { class: "note" }, "Drag to move the point; the wheel zooms; Shift and drag moves the plane.")),
      element("div", {}, picture, where)),
  );
  const redraw = () => { drawMap(); if (!isImage) drawOutput(); };
  window.addEventListener("resize", redraw);
  restart();
  return () => window.removeEventListener("resize", redraw);
}

function describe(asked, facts) {
  const at = `x ${asked.x.toFixed(3)}, y ${asked.y.toFixed(3)}`;
  if (facts.x) return `${at} → ${facts.x.map(short).join(", ")}`;
  return facts.seed !== null && facts.seed !== undefined ? `${at}: seed ${facts.seed}` : at;
}

function bitmapOf(part) {
  const canvas = document.createElement("canvas");
  [canvas.height, canvas.width] = part.shape;
  canvas.getContext("2d").putImageData(toImageData(part), 0, 0);
  return canvas;
}

function pointing(map, state, moved, viewed, zoom) {
  let held = null;
  const position = (event) => {
    const box = map.getBoundingClientRect();
    return [
      state.centre[0] - state.half + (event.clientX - box.left) / box.width * 2 * state.half,
      state.centre[1] + state.half - (event.clientY - box.top) / box.height * 2 * state.half,
    ];
  };
  map.addEventListener("pointerdown", (event) => {
    map.setPointerCapture(event.pointerId);
    held = event.shiftKey || event.button === 1 ? position(event) : "point";
    if (held === "point") { [state.x, state.y] = position(event); moved(); }
  });
  map.addEventListener("pointermove", (event) => {
    if (held === null) return;
    const [x, y] = position(event);
    if (held === "point") { state.x = x; state.y = y; moved(); return; }
    state.centre[0] += held[0] - x;
    state.centre[1] += held[1] - y;
    viewed();
  });
  for (const end of ["pointerup", "pointercancel"]) map.addEventListener(end, () => { held = null; });
  map.addEventListener("wheel", (event) => {
    event.preventDefault();
    const [x, y] = position(event);
    const factor = event.deltaY > 0 ? 1.15 : 1 / 1.15;
    state.centre = [x + (state.centre[0] - x) * factor, y + (state.centre[1] - y) * factor];
    zoom(factor);
  }, { passive: false });
}

function drawAxes(ink, place, width, state) {
  ink.strokeStyle = themeColour("--rule");
  ink.lineWidth = 1;
  ink.fillStyle = themeColour("--pale");
  ink.font = "11px system-ui, sans-serif";
  const raw = state.half / 2.5;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = state.plane === "seeds" ? Math.max(1, Math.round(raw)) : unit * (raw / unit >= 5 ? 5 : raw / unit >= 2 ? 2 : 1);
  const digits = Math.max(0, -Math.floor(Math.log10(step)));
  for (const axis of [0, 1]) {
    const low = state.centre[axis] - state.half;
    for (let v = Math.ceil(low / step) * step; v <= low + 2 * state.half; v += step) {
      const [x, y] = axis === 0 ? place(v, 0) : place(0, v);
      ink.beginPath();
      if (axis === 0) { ink.moveTo(x, 0); ink.lineTo(x, width); } else { ink.moveTo(0, y); ink.lineTo(width, y); }
      ink.globalAlpha = Math.abs(v) < step / 2 ? 1 : 0.45;
      ink.stroke();
      ink.globalAlpha = 1;
      if (axis === 0) ink.fillText(v.toFixed(digits), x + 3, width - 4);
      else ink.fillText(v.toFixed(digits), 3, y - 3);
    }
  }
}

function drawDots(ink, place, scatter, radius) {
  const [positions, labels] = scatter.parts;
  const named = scatter.facts.classes.length > 0 && !scatter.facts.real;
  for (let i = 0; i < labels.data.length; i += 1) {
    const d = positions.shape[1];
    const [x, y] = place(positions.data[i * d], d > 1 ? positions.data[i * d + 1] : 0);
    ink.fillStyle = named ? CLASS_COLOURS[labels.data[i] % CLASS_COLOURS.length] : "#9aa5b1";
    ink.beginPath(); ink.arc(x, y, radius, 0, 7); ink.fill();
  }
}

function drawMesh(ink, place, part) {
  const [rows, columns, d] = part.shape;
  const at = (i, j) => {
    const k = (i * columns + j) * d;
    return place(part.data[k], d > 1 ? part.data[k + 1] : 0);
  };
  ink.strokeStyle = "#d1495b";
  ink.lineWidth = 0.8;
  ink.beginPath();
  for (let i = 0; i < rows; i += 1) {
    for (let j = 0; j < columns; j += 1) {
      const [x, y] = at(i, j);
      if (j + 1 < columns) { ink.moveTo(x, y); ink.lineTo(...at(i, j + 1)); }
      if (i + 1 < rows) { ink.moveTo(x, y); ink.lineTo(...at(i + 1, j)); }
    }
  }
  ink.stroke();
}

function frameOf(state) {
  const seen = [];
  const add = (part) => {
    const d = part.shape[part.shape.length - 1];
    for (let i = 0; i < part.data.length; i += d) seen.push([part.data[i], d > 1 ? part.data[i + 1] : 0]);
  };
  if (state.scatter) add(state.scatter.parts[0]);
  else if (state.tiles) add(state.tiles);
  if (seen.length === 0) return { x: -2, y: -2, size: 4 };
  const xs = seen.map((p) => p[0]);
  const ys = seen.map((p) => p[1]);
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const size = 1.3 * Math.max(right - left, high - low, 1e-6);
  return { x: (left + right - size) / 2, y: (low + high - size) / 2, size };
}

function showLegend(legend, answer, text) {
  const { classes, real } = answer.facts;
  const entries = classes.length > 0 && !real
    ? classes.slice(0, 30).map((name, i) => [CLASS_COLOURS[i % CLASS_COLOURS.length], name])
    : [["#9aa5b1", text]];
  legend.replaceChildren(...entries.map(([colour, name]) => {
    const dot = element("i");
    dot.style.background = colour;
    return element("span", {}, dot, name);
  }));
}
