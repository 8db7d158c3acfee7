// Where an image comes from: drawn, dropped or chosen as a file, or picked from the data.
import { button, choice, element, labelled, pixelCanvas, toImageData } from "./draw.js";
import { covered, paintPad, toBase64 } from "./paint.js";

// A pad that holds an image of the model's size. `changed()` is called whenever it is another;
// `point()` names it as a question does.
export function imageSource(context, id, changed) {
  const { facts } = context;
  const [channels, height, width] = facts.shape;
  const state = { data: new Uint8Array(height * width * channels), example: null, label: null };
  const brush = { light: true, radius: Math.max(1, height / 20), colour: [255, 255, 255] };

  const pad = paintPad({
    height, width, id, label: "The image",
    dab: (x, y) => {
      state.example = null;
      for (let i = Math.max(0, Math.floor(y - brush.radius - 1)); i < Math.min(height, y + brush.radius + 1); i += 1) {
        for (let j = Math.max(0, Math.floor(x - brush.radius - 1)); j < Math.min(width, x + brush.radius + 1); j += 1) {
          const share = covered(x, y, i, j, brush.radius);
          for (let c = 0; c < channels; c += 1) {
            const at = (i * width + j) * channels + c;
            const wanted = brush.light ? brush.colour[c] : 0;
            const now = state.data[at];
            const next = Math.round(now + (wanted - now) * share);
            state.data[at] = brush.light && channels === 1 ? Math.max(now, next) : next;
          }
        }
      }
    },
    show: (ink) => ink.putImageData(toImageData({ shape: [height, width, channels], data: state.data }), 0, 0),
    changed: () => { where.textContent = "drawn"; changed(); },
  });
  const where = element("p", { class: "note", id: `${id}-where` }, facts.run ? "Draw here, drop an image file, or pick one below." : "Draw here, or drop an image file.");

  const set = (part, example, text) => {
    state.data = new Uint8Array(part.data);
    state.example = example;
    where.textContent = text;
    pad.draw();
    changed();
  };
  const clear = () => { state.data.fill(0); state.example = null; where.textContent = "empty"; pad.draw(); changed(); };

  const fit = choice([["crop", "crop"], ["pad", "pad"], ["stretch", "stretch"]], "crop", () => {});
  async function upload(file) {
    if (!file) return;
    try {
      if (file.size > 15e6) throw new Error("files of up to 15 MB are taken");
      const bytes = new Uint8Array(await file.arrayBuffer());
      const answer = await context.call("reconstruct", "upload", { fit: fit.value, file: bytes });
      if (answer !== null) { context.clear(); set(answer.parts[0], null, file.name); }
    } catch (error) {
      context.fail(error);
    }
  }
  const chosen = element("input", { type: "file", accept: "image/*", id: `${id}-file`, onchange: () => upload(chosen.files[0]) });
  pad.canvas.addEventListener("dragover", (event) => event.preventDefault());
  pad.canvas.addEventListener("drop", (event) => { event.preventDefault(); upload(event.dataTransfer.files[0]); });

  const colour = element("input", {
    type: "color", value: "#ffffff", "aria-label": "Colour of the brush", oninput: () => {
      brush.colour = [1, 3, 5].map((i) => parseInt(colour.value.slice(i, i + 2), 16));
    },
  });
  const eraser = button("Eraser", () => {
    brush.light = !brush.light;
    eraser.setAttribute("aria-pressed", String(!brush.light));
  }, { "aria-pressed": "false" });

  const strip = element("div", { class: "strip", id: `${id}-examples` });
  const browsing = { split: "test", first: 0 };
  async function browse() {
    try {
      const answer = await context.call("reconstruct", "browse", browsing);
      if (answer === null || !context.current()) return;
      strip.replaceChildren(...answer.parts.map((part, i) => {
        const name = answer.facts.examples[i];
        const text = answer.facts.labels.length ? `${name} (${answer.facts.labels[i]})` : name;
        return element("button", { type: "button", class: "pick", title: text, "aria-label": text, onclick: () => set(part, name, text) },
          pixelCanvas(part, text));
      }));
      next.disabled = browsing.first + 24 >= answer.facts.of;
      previous.disabled = browsing.first === 0;
      if (state.example === null && where.textContent.startsWith("Draw here") && answer.parts.length > 0) {
        set(answer.parts[0], answer.facts.examples[0], answer.facts.examples[0]);
      }
    } catch (error) {
      strip.replaceChildren(element("p", { class: "note" }, error.message));
    }
  }
  const turn = (by) => { browsing.first = Math.max(0, browsing.first + by); browse(); };
  const previous = button("◀", () => turn(-24), { "aria-label": "Previous examples" });
  const next = button("▶", () => turn(24), { "aria-label": "Next examples" });
  const split = choice([["test", "test data"], ["train", "training data"]], "test", (value) => {
    browsing.split = value;
    browsing.first = 0;
    browse();
  });
  const pick = element("details", { open: true }, element("summary", {}, "Pick from the data"),
    element("div", { class: "controls" }, labelled("From", split), previous, next), strip);

  pad.draw();
  if (facts.run) browse();
  return {
    node: element("div", {}, pad.canvas, where,
      element("div", { class: "controls" }, button("Clear", clear, { id: `${id}-clear` }), eraser, channels === 3 ? labelled("Colour", colour) : null,
        labelled("An image file", chosen), labelled("Fit", fit)),
      facts.run ? pick : null),
    point: () => (state.example !== null ? { example: state.example } : { pixels: toBase64(state.data) }),
    data: () => ({ shape: [height, width, channels], data: state.data }),
    isEmpty: () => state.example === null && state.data.every((value) => value === 0),
  };
}
