// Restore: an image is spoiled, and its restorations arrive one by one.
import { button, choice, element, labelled, pixelCanvas, save, short, showPixels, toImageData } from "./draw.js";
import { covered, paintPad, toBase64 } from "./paint.js";
import { imageSource } from "./sources.js";

export const restoreTab = { name: "restore", title: "Restore", open: openRestore };

const RESTORATIONS = 8;

function openRestore(panel, context) {
  const { facts } = context;
  const [channels, height, width] = facts.shape;
  const state = { spoilt: "painted", label: "", running: false, answer: null, hole: new Uint8Array(height * width), radius: Math.max(1, height / 10) };
  // A hole to begin with, so that Restore does something at once.
  for (let i = 0; i < height; i += 1) for (let j = 0; j < width; j += 1) if (i >= height * 0.55) state.hole[i * width + j] = 255;

  const source = imageSource(context, "restore-image", () => pad.draw());
  const pad = paintPad({
    height, width, id: "restore-pad", label: "The hole",
    dab: (x, y) => {
      for (let i = 0; i < height; i += 1) {
        for (let j = 0; j < width; j += 1) {
          if (covered(x, y, i, j, state.radius) > 0.5) state.hole[i * width + j] = state.erase ? 0 : 255;
        }
      }
    },
    show: (ink) => {
      const image = toImageData(source.data());
      for (let k = 0; k < state.hole.length; k += 1) {
        if (state.spoilt === "painted" && state.hole[k]) image.data.set([196, 92, 108], 4 * k);
      }
      ink.putImageData(image, 0, 0);
    },
    changed: () => {},
  });

  const result = element("div", { class: "card", id: "restore-result", "aria-live": "polite" });
  const warmup = element("input", { type: "number", min: 0, max: 5000, value: 150, id: "restore-warmup" });
  const draws = element("input", { type: "number", min: 1, max: 5000, value: 100, id: "restore-draws" });
  const seed = element("input", { type: "number", min: 0, value: 0, id: "restore-seed" });

  function question() {
    const [kind, argument] = state.spoilt.split("=");
    const asked = { point: source.point(), spoilt: kind, samples: RESTORATIONS };
    if (kind === "painted") asked.hole = toBase64(state.hole);
    if (kind === "hole") asked.where = argument;
    if (kind === "scale") asked.factor = Number(argument);
    if (state.label !== "") asked.label = Number(state.label);
    for (const [name, input] of [["warmup", warmup], ["draws", draws], ["seed", seed]]) asked[name] = Math.floor(Number(input.value));
    return asked;
  }

  async function restoreNow() {
    if (state.running) { context.cancel("restore", "run"); return; }
    const shown = arrivals(result);
    state.running = true;
    state.answer = null;
    go.textContent = "Stop";
    context.clear();
    try {
      const answer = await context.call("restore", "run", question(), (one) => {
        if (one.facts.done) { shown.finish(one); state.answer = one; } else shown.arrive(one);
      });
      if (answer === null) shown.stopped();
      else context.command(answer.command);
    } catch (error) {
      context.fail(error);
      result.replaceChildren();
    }
    state.running = false;
    go.textContent = "Restore";
  }
  const go = button("Restore", restoreNow, { class: "main", id: "restore-go" });
  const saveFile = (name) => {
    const part = state.answer && state.answer.parts.find((one) => one.name === name);
    if (part) save(part);
    else context.fail(new Error("restore first; the files are made with it"));
  };
  const kinds = [
    ["painted", "a painted hole"], ["hole=center", "the middle is missing"], ["hole=left", "the left half is missing"],
    ["hole=right", "the right half is missing"], ["hole=top", "the upper half is missing"], ["hole=bottom", "the lower half is missing"],
    ["hole=random:0.5", "every second pixel is missing"],
    ...[2, 4, 8].filter((k) => height % k === 0 && width % k === 0).map((k) => [`scale=${k}`, `×${k} smaller`]),
    ...(channels === 3 ? [["grey", "grey"]] : []),
  ];
  const eraser = button("Unpaint", () => {
    state.erase = !state.erase;
    eraser.setAttribute("aria-pressed", String(state.erase));
  }, { "aria-pressed": "false" });
  const size = element("input", { type: "range", min: 0.5, max: height / 4, step: 0.5, value: state.radius, oninput: () => { state.radius = Number(size.value); } });
  panel.append(
    element("div", { class: "controls" },
      labelled("What happened to it", choice(kinds, "painted", (value) => { state.spoilt = value; pad.draw(); })),
      facts.conditional ? labelled("Class", choice([["", "not told"], ...facts.classes.map((name, i) => [String(i), name])], "", (value) => { state.label = value; })) : null,
      labelled("Warm-up", warmup), labelled("Draws", draws), labelled("Seed", seed), go),
    element("div", { class: "columns even" },
      element("div", {}, pad.canvas,
        element("div", { class: "controls below" }, labelled("Brush", size), eraser,
          button("Clear hole", () => { state.hole.fill(0); pad.draw(); }, { id: "restore-clear" })),
        element("details", { open: true }, element("summary", {}, "The image"), source.node)),
      element("div", {}, result, element("div", { class: "controls below" },
        button("Save picture", () => saveFile("restored.png")), button("Save image", () => saveFile("drawn.png"), { title: "as drawn.png, for the terminal's line" }),
        button("Save hole", () => saveFile("hole.png"), { title: "as hole.png, for the terminal's line" })))),
  );
  result.append(element("p", { class: "note" }, "Paint over what is to be missing, and press Restore."));
  pad.draw();
  return () => context.cancel("restore", "run");
}

// The places of the restorations, filled as the chains run.
function arrivals(result) {
  const places = [];
  const place = (caption) => {
    const canvas = pixelCanvas(null, caption);
    const node = element("figure", {}, canvas, element("figcaption", {}, caption));
    return { canvas, node };
  };
  const given = place("given");
  const mean = place("mean");
  const spread = place("spread");
  const strip = element("div", { class: "strip", id: "restore-arrivals" });
  const status = element("p", { class: "note", id: "restore-status" }, "Starting…");
  const bar = element("progress", { max: 1, value: 0, "aria-label": "Progress" });
  let count = 0;
  result.classList.add("running");
  result.replaceChildren(element("div", { class: "strip large" }, given.node, mean.node, spread.node),
    bar, status, element("h3", {}, "Restorations"), strip);
  const put = (k, part) => {
    if (!places[k]) {
      places[k] = place(`${k + 1}`);
      strip.append(places[k].node);
    }
    showPixels(places[k].canvas, part);
  };
  return {
    arrive(answer) {
      const { step, of } = answer.facts;
      bar.value = step / of;
      if (step === 0) { showPixels(given.canvas, answer.parts[0]); return; }
      status.textContent = `step ${step} of ${of}`;
      showPixels(mean.canvas, answer.parts[0]);
      showPixels(spread.canvas, answer.parts[1]);
      const chains = answer.parts.slice(2);
      put(count % RESTORATIONS, chains[count % chains.length]);
      count += 1;
    },
    finish(answer) {
      const found = answer.facts;
      bar.remove();
      result.classList.remove("running");
      showPixels(given.canvas, answer.parts[0]);
      showPixels(mean.canvas, answer.parts[1]);
      showPixels(spread.canvas, answer.parts[2]);
      answer.parts.slice(3, 3 + found.samples).forEach((part, k) => put(k, part));
      status.textContent = `${found.likelihood}; spread from 0 to ${short(found.hottest)}`;
      result.append(
        element("table", {}, element("tbody", {}, ...[
          ["mean squared error of the mean", short(found.error)], ["deviation a value", short(found.deviation)],
          ["R-hat", short(found.rhat)], ["effective draws", short(found.effective)], ["acceptance", short(found.acceptance)],
        ].map(([name, value]) => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, value))))),
        ...found.notes.map((note) => element("p", { class: "note" }, note)));
      result.dataset.shown = Number(result.dataset.shown || 0) + 1;
    },
    stopped() {
      bar.remove();
      result.classList.remove("running");
      status.textContent = "stopped; these are where the chains were";
    },
  };
}
