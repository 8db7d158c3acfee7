// Mix: two to four corners, and everything between them; also as a film.
import { button, choice, classChoice, element, labelled, pixelCanvas, save, sharp, showPixels, themeColour, toImageData } from "./draw.js";
import { NewestQuestion } from "./backend.js";
import { parsedPoint, pointField, randomSeed } from "./points.js";

export const mixTab = { name: "mix", title: "Mix", open: openMix };

function openMix(panel, context) {
  const { facts } = context;
  const state = { texts: ["seed:0", "seed:1", "seed:2", "seed:3"], z: [], count: 4, x: 0.5, y: 0.5, label: 0, sheet: null, film: null };
  const map = element("canvas", {
    class: "map", id: "mix-map", tabindex: 0, role: "application",
    "aria-label": "Everything between the corners: drag, or move with the arrow keys",
  });
  const picture = pixelCanvas(null, "the mixture", { class: "pixels large", id: "mix-picture" });
  const asked = () => ({ corners: state.z.slice(0, state.count), label: state.label });
  const newest = new NewestQuestion(
    (question) => context.call("mix", "at", question),
    (answer) => {
      if (state.film) return;
      showPixels(picture, answer.parts[0]);
      context.command(answer.command);
      context.clear();
    },
    context.fail,
  );
  const background = new NewestQuestion(
    (question) => context.call("mix", "tiles", question),
    (answer) => {
      const [part] = answer.parts;
      const sheet = document.createElement("canvas");
      [sheet.height, sheet.width] = part.shape;
      sheet.getContext("2d").putImageData(toImageData(part), 0, 0);
      state.sheet = sheet;
      drawSquare();
    },
    context.fail,
  );

  function drawSquare() {
    map.style.aspectRatio = state.count === 2 ? "6 / 1" : "1";
    const { context: ink, width, height } = sharp(map);
    ink.imageSmoothingEnabled = false;
    if (state.sheet) ink.drawImage(state.sheet, 0, 0, width, height);
    const x = 10 + state.x * (width - 20);
    const y = state.count === 2 ? height / 2 : 10 + state.y * (height - 20);
    for (const [colour, radius] of [["#ffffff", 8], [themeColour("--accent"), 10]]) {
      ink.strokeStyle = colour;
      ink.lineWidth = 3;
      ink.beginPath(); ink.arc(x, y, radius, 0, 7); ink.stroke();
    }
  }
  const moved = () => {
    stop();
    drawSquare();
    newest.want({ ...asked(), x: state.x, y: state.count === 2 ? 0 : state.y });
  };
  const changed = () => {
    if (state.z.length < 4) return;
    moved();
    const side = Math.max(4, Math.min(9, Math.floor(512 / facts.shape[2])));
    background.want({ ...asked(), side });
  };

  async function place(i, point, text) {
    try {
      const answer = await context.call("mix", "locate", { point, slot: `corner${i}` });
      if (answer === null) return;
      state.texts[i] = text;
      state.z[i] = answer.facts.z;
      changed();
    } catch (error) {
      context.fail(error);
    }
  }
  const fields = state.texts.map((text, i) =>
    pointField("ABCD"[i], text, (point, written) => place(i, point, written), context.fail, `mix-${"abcd"[i]}`));
  const showFields = () => fields.forEach((field, i) => { field.node.hidden = i >= state.count; });

  const position = (event) => {
    const box = map.getBoundingClientRect();
    const within = (value) => Math.min(1, Math.max(0, value));
    state.x = within((event.clientX - box.left - 10) / (box.width - 20));
    state.y = within((event.clientY - box.top - 10) / (box.height - 20));
    moved();
  };
  let held = false;
  map.addEventListener("pointerdown", (event) => {
    if (event.isTrusted) map.setPointerCapture(event.pointerId);
    held = true;
    position(event);
  });
  map.addEventListener("pointermove", (event) => { if (held) position(event); });
  for (const end of ["pointerup", "pointercancel"]) map.addEventListener(end, () => { held = false; });
  map.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!move) return;
    event.preventDefault();
    state.x = Math.min(1, Math.max(0, state.x + move[0] / 40));
    state.y = Math.min(1, Math.max(0, state.y + move[1] / 40));
    moved();
  });

  const steps = element("input", { type: "number", min: 2, max: 60, value: 20, id: "mix-steps" });
  async function makeFilm() {
    const answer = await context.call("mix", "film", { ...asked(), steps: Math.min(60, Math.max(2, Math.floor(Number(steps.value)) || 20)) });
    if (answer === null) return null;
    context.command(answer.command);
    return answer;
  }
  const play = button("Play", async () => {
    if (state.film) { stop(); moved(); return; }
    try {
      const answer = await makeFilm();
      if (answer === null || !context.current()) return;
      const frames = answer.parts.slice(1);
      let at = 0;
      play.textContent = "Stop";
      state.film = setInterval(() => { showPixels(picture, frames[at % frames.length]); at += 1; }, 80);
    } catch (error) {
      context.fail(error);
    }
  }, { id: "mix-play" });
  const stop = () => { clearInterval(state.film); state.film = null; play.textContent = "Play"; };

  panel.append(
    element("div", { class: "controls" },
      labelled("Corners", choice([["2", "two"], ["3", "three"], ["4", "four"]], "4", (value) => {
        state.count = Number(value);
        state.sheet = null;
        showFields();
        changed();
      })),
      ...fields.map((field) => field.node), classChoice(facts, state, changed),
      button("Shuffle", () => fields.forEach((field, i) => {
        field.set(`seed:${randomSeed()}`);
        place(i, parsedPoint(field.input.value), field.input.value);
      }), { id: "mix-shuffle" })),
    element("div", { class: "columns" }, element("div", {}, map,
      element("p", { class: "note" }, "A is the upper left corner, B the upper right, C below, D the lower right.")),
    element("div", {}, picture, element("div", { class: "controls below" },
      labelled("Steps a side", steps), play,
      button("Download GIF", async () => {
        try {
          const answer = await makeFilm();
          if (answer !== null) save(answer.parts[0]);
        } catch (error) { context.fail(error); }
      }, { id: "mix-gif" })))),
  );
  showFields();
  state.texts.forEach((text, i) => place(i, parsedPoint(text), text));
  window.addEventListener("resize", drawSquare);
  return () => { stop(); window.removeEventListener("resize", drawSquare); };
}
