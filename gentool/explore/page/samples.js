// Samples: grids by seed and class; a click shows the nearest training images.
import { button, choice, element, figure, fileUrl, labelled, save, short } from "./draw.js";
import { NewestQuestion } from "./backend.js";

export const samplesTab = { name: "samples", title: "Samples", open: openSamples };

function openSamples(panel, context) {
  const { facts } = context;
  const images = facts.kind === "image";
  const state = { seed: 0, n: images ? 64 : 2500, class: null };
  const picture = element("img", { class: "picture", alt: "samples", id: "grid" });
  const near = element("div", { class: "card", "aria-live": "polite" });
  let shown = null;

  const newest = new NewestQuestion(
    (question) => context.call("samples", "grid", question),
    (answer) => {
      shown = answer;
      if (picture.src) URL.revokeObjectURL(picture.src);
      picture.src = fileUrl(answer.parts[0]);
      picture.dataset.shown = Number(picture.dataset.shown || 0) + 1;
      context.command(answer.command);
      context.clear();
    },
    context.fail,
  );
  const ask = () => newest.want(question());
  const question = () => ({ seed: state.seed, n: state.n, ...(state.class === null ? {} : { class: state.class }) });

  const seed = element("input", {
    type: "number", min: 0, value: 0, id: "seed",
    oninput: () => { if (seed.value !== "") { state.seed = Math.max(0, Math.floor(Number(seed.value))); ask(); } },
  });
  const step = (by) => { seed.value = Math.max(0, state.seed + by); state.seed = Number(seed.value); ask(); };
  const sizes = (images ? [1, 16, 64, 100, 256] : [250, 1000, 2500, 10000]).map((n) => [String(n), n.toLocaleString()]);
  const controls = element("div", { class: "controls" },
    labelled("Seed", seed),
    button("◀", () => step(-1), { "aria-label": "Previous seed" }),
    button("▶", () => step(1), { "aria-label": "Next seed" }),
    labelled("How many", choice(sizes, String(state.n), (value) => { state.n = Number(value); ask(); })),
    facts.conditional
      ? labelled("Class", choice([["all", "all, one row each"], ...facts.classes.map((name, i) => [String(i), name])],
        "all", (value) => { state.class = value; ask(); }))
      : null,
    button("Save picture", () => shown && save(shown.parts[0])),
  );

  if (images && facts.run) {
    picture.style.cursor = "pointer";
    picture.addEventListener("click", async (event) => {
      const index = cellAt(event, picture, shown, facts.shape);
      if (index === null) return;
      near.replaceChildren(element("p", { class: "note" }, "Searching the training images…"));
      try {
        const answer = await context.call("samples", "neighbours", { ...question(), index });
        if (answer !== null) showNeighbours(near, answer);
      } catch (error) {
        near.replaceChildren();
        context.fail(error);
      }
    });
    near.append(element("p", { class: "note" }, "Click a sample to see the training images nearest to it."));
  }
  panel.append(controls, element("div", { class: "columns" }, element("div", {}, picture), images && facts.run ? near : null));
  ask();
}

// Which sample a click fell on: the picture is a sheet of cells with two pixels between them.
function cellAt(event, picture, shown, shape) {
  const [, height, width] = shape;
  const { n, cells } = shown.facts;
  const last = Math.max(...cells) + 1;
  const columns = shown.facts.columns || Math.ceil(Math.sqrt(last));
  const box = picture.getBoundingClientRect();
  const whole = columns * (width + 2) + 2;
  const scale = whole / box.width;
  const column = Math.floor(((event.clientX - box.left) * scale - 1) / (width + 2));
  const row = Math.floor(((event.clientY - box.top) * scale - 1) / (height + 2));
  const index = cells.indexOf(row * columns + column);
  return column >= 0 && column < columns && index >= 0 && index < n ? index : null;
}

function showNeighbours(near, answer) {
  const { index, seed, examples, errors, searched, of } = answer.facts;
  const [own, ...others] = answer.parts;
  near.replaceChildren(
    element("h2", {}, `Sample ${index} of seed ${seed}, and the training images nearest to it`),
    element("div", { class: "strip", id: "neighbours" },
      figure(own, "the sample"),
      ...others.map((part, i) => figure(part, `${examples[i]}\n${short(errors[i])}`))),
    element("p", { class: "note" },
      `Mean squared error a value, among ${searched.toLocaleString()} of ${of.toLocaleString()} training images.`),
  );
}
