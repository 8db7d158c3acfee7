// A pad to paint on with a pointer, or with the arrow keys and the space bar.
import { element } from "./draw.js";

// `dab(x, y)` marks a place in the picture's own pixels; `show(context)` draws it all; `ended` is
// called when a stroke is done, `changed` after each part of it.
export function paintPad({ height, width, id, label, dab, show, changed, began = () => {} }) {
  const canvas = element("canvas", {
    class: "pixels large pad", id, tabindex: 0, role: "application", height, width,
    "aria-label": `${label}: paint with the pointer, or move with the arrow keys and paint with the space bar`,
  });
  const cursor = { x: Math.floor(width / 2), y: Math.floor(height / 2), seen: false };
  let last = null;

  const draw = () => {
    const ink = canvas.getContext("2d");
    show(ink);
    if (cursor.seen) {
      ink.strokeStyle = "#e15759";
      ink.strokeRect(cursor.x - 0.5, cursor.y - 0.5, 2, 2);
    }
    canvas.dataset.shown = Number(canvas.dataset.shown || 0) + 1;
  };
  const position = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width * width, (event.clientY - box.top) / box.height * height];
  };
  const stroke = (to) => {
    const from = last || to;
    const steps = Math.max(1, Math.ceil(2 * Math.hypot(to[0] - from[0], to[1] - from[1])));
    for (let i = 1; i <= steps; i += 1) {
      dab(from[0] + (to[0] - from[0]) * i / steps, from[1] + (to[1] - from[1]) * i / steps);
    }
    last = to;
    draw();
    changed();
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.isTrusted) canvas.setPointerCapture(event.pointerId);
    last = null;
    cursor.seen = false;
    began();
    stroke(position(event));
  });
  canvas.addEventListener("pointermove", (event) => { if (last !== null) stroke(position(event)); });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { last = null; });
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!move && event.key !== " ") return;
    event.preventDefault();
    if (move) {
      cursor.x = Math.min(width - 1, Math.max(0, cursor.x + move[0]));
      cursor.y = Math.min(height - 1, Math.max(0, cursor.y + move[1]));
      cursor.seen = true;
      draw();
    } else {
      dab(cursor.x + 0.5, cursor.y + 0.5);
      draw();
      changed();
    }
  });
  canvas.addEventListener("blur", () => { if (cursor.seen) { cursor.seen = false; draw(); } });
  return { canvas, draw };
}

// How much of a pixel a round brush covers, 1 in its middle, with a soft edge of a pixel.
export function covered(x, y, i, j, radius) {
  return Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(j + 0.5 - x, i + 0.5 - y)));
}

export function toBase64(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
}
