// Sliders: from a point along directions, in standard deviations.
import { button, classChoice, element, pixelCanvas, short, showPixels } from "./draw.js";
import { NewestQuestion } from "./backend.js";
import { pointField } from "./points.js";

export const slidersTab = { name: "sliders", title: "Sliders", open: openSliders };

const GROUP_TITLES = {
  attributes: "Attributes and classes", principal: "Principal directions", axes: "Axes, the largest KL first",
};
const SLIDERS_AT_FIRST = 8;
const SLIDER_RANGE = 4;

function openSliders(panel, context) {
  const { facts } = context;
  const state = { z: null, text: "seed:0", strengths: {}, label: 0 };
  const past = [];
  const rows = new Map();
  const picture = pixelCanvas(null, "the sample at these strengths", { class: "pixels large", id: "sliders-picture" });
  const before = pixelCanvas(null, "the sample that it began with", { class: "pixels", id: "sliders-start" });
  const lists = element("div", { id: "sliders-groups" });

  const moved = () => Object.fromEntries(Object.entries(state.strengths).filter(([, value]) => value !== 0));
  const newest = new NewestQuestion(
    (question) => context.call("sliders", "at", question),
    (answer) => { showPixels(picture, answer.parts[0]); context.command(answer.command); context.clear(); },
    context.fail,
  );
  const startPicture = new NewestQuestion(
    (question) => context.call("sliders", "at", question),
    (answer) => showPixels(before, answer.parts[0]),
    context.fail,
  );
  const draw = () => {
    if (state.z !== null) newest.want({ z: state.z, strengths: moved(), label: state.label });
    undo.disabled = past.length === 0;
  };
  const drawStart = () => startPicture.want({ z: state.z, strengths: {}, label: state.label, slot: "start" });
  const remember = () => { past.push({ ...state, strengths: { ...state.strengths } }); if (past.length > 200) past.shift(); };

  async function start(point, text) {
    try {
      const answer = await context.call("sliders", "locate", { point });
      if (answer === null) return;
      if (state.z !== null) remember();
      state.z = answer.facts.z;
      state.text = text;
      draw();
      drawStart();
    } catch (error) {
      context.fail(error);
    }
  }

  function show() {
    for (const [name, row] of rows) row.set(state.strengths[name] || 0);
    from.set(state.text);
    draw();
  }

  function sliderRow(direction) {
    const { name } = direction;
    const output = element("output", {}, "0");
    const input = element("input", {
      type: "range", min: -SLIDER_RANGE, max: SLIDER_RANGE, step: 0.05, value: 0, id: `slider-${name}`,
      onpointerdown: remember,
      onkeydown: (event) => { if (event.key.startsWith("Arrow") || event.key.startsWith("Page")) remember(); },
      oninput: () => { state.strengths[name] = Number(input.value); set(Number(input.value)); draw(); },
      ondblclick: () => { state.strengths[name] = 0; set(0); draw(); },
    });
    const set = (value) => {
      input.value = value;
      output.textContent = `${value > 0 ? "+" : ""}${Number(value).toFixed(2)} σ`;
    };
    set(state.strengths[name] || 0);
    rows.set(name, { set });
    return element("div", { class: "slider" },
      element("label", { htmlFor: input.id }, name, element("small", {}, describeDirection(direction))), input, output);
  }

  function showGroups(answer) {
    rows.clear();
    lists.replaceChildren(...["attributes", "principal", "axes"].map((group) => {
      const { directions, notes } = answer.facts.groups[group];
      const first = directions.slice(0, SLIDERS_AT_FIRST).map(sliderRow);
      const rest = directions.slice(SLIDERS_AT_FIRST);
      return element("details", { open: directions.length > 0 && group !== "axes" || group === "attributes" },
        element("summary", {}, `${GROUP_TITLES[group]} (${directions.length})`),
        ...first,
        rest.length > 0
          ? element("details", {}, element("summary", {}, `${rest.length} more`), ...rest.map(sliderRow)) : null,
        ...notes.map((note) => element("p", { class: "note" }, note)),
        group === "attributes" && directions.length === 0 && !facts.standalone ? findButton(answer) : null);
    }));
  }

  function findButton(answer) {
    const made = button("Find directions of the data's attributes or classes", async () => {
      made.disabled = true;
      made.textContent = "Finding…";
      try {
        const found = await context.call("sliders", "find", {});
        if (found !== null) showGroups(found);
      } catch (error) {
        context.fail(error);
        made.disabled = false;
      }
    }, { id: "sliders-find" });
    return element("div", {}, made, element("p", { class: "note" },
      "They last as long as this page; in a terminal they are kept: ", element("code", {}, answer.facts.lines.attributes)));
  }

  const from = pointField("From", state.text, start, context.fail, "sliders-from");
  const undo = button("Undo", () => {
    const last = past.pop();
    if (last === undefined) return;
    const moves = last.z !== state.z;
    Object.assign(state, last);
    show();
    if (moves) drawStart();
  }, { id: "sliders-undo", disabled: true });
  const randomise = () => {
    remember();
    for (const name of rows.keys()) state.strengths[name] = 0;
    const group = [...lists.querySelectorAll("details[open] > .slider input")];
    for (const input of group) state.strengths[input.id.slice("slider-".length)] = Math.round(60 * (Math.random() - 0.5)) / 20;
    show();
  };
  panel.append(
    element("div", { class: "controls" }, from.node,
      classChoice(facts, state, () => { draw(); drawStart(); }),
      button("Reset", () => { remember(); state.strengths = {}; show(); }, { id: "sliders-reset" }),
      button("Randomise", randomise, { id: "sliders-random" }), undo),
    element("div", { class: "columns picture-first" },
      lists,
      element("div", {}, picture,
        element("figure", { class: "beside" }, before, element("figcaption", {}, "where it began")),
        element("p", { class: "note" }, "σ is the standard deviation along the direction. A double click sets a slider to 0."))),
  );
  lists.append(element("p", { class: "note" }, "Looking for directions…"));
  start({ seed: 0 }, state.text);
  context.call("sliders", "groups", {}).then((answer) => { if (answer !== null && context.current()) showGroups(answer); }, context.fail);
}

function describeDirection(direction) {
  if (direction.kl !== undefined) return `KL ${short(direction.kl)} nats`;
  if (direction.explained !== undefined) return `${(100 * direction.explained).toFixed(1)} % of variance`;
  if (direction.accuracy !== undefined) return `${(100 * direction.accuracy).toFixed(0)} % right`;
  if (direction.r2 !== undefined) return `R² ${short(direction.r2)}`;
  return "";
}
