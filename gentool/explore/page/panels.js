// Panels that other packages bring: their controls, and what their function makes of them.
import { choice, element, figure, labelled, short } from "./draw.js";
import { NewestQuestion } from "./backend.js";
import { pointField } from "./points.js";

export function panelTab(info) {
  return { name: `panel-${info.name}`, title: info.title, open: (panel, context) => openPanel(panel, context, info) };
}

function openPanel(panel, context, info) {
  const values = {};
  const result = element("div", { id: "panel-result", "aria-live": "polite" });
  const newest = new NewestQuestion(
    (question) => context.call("panel", "show", question),
    (answer) => { showPanel(result, answer); context.command(answer.command); context.clear(); },
    context.fail,
  );
  const ask = () => newest.want({ panel: info.name, values: { ...values } });
  const controls = info.controls.map((control) => {
    const { name, kind } = control;
    if (kind === "point") return pointField(name, "seed:0", (point) => { values[name] = point; ask(); }, context.fail, `panel-${name}`).node;
    values[name] = kind === "choice" ? String(control.default) : Number(control.default);
    if (kind === "choice") return labelled(name, choice(control.choices.map((one) => [one, one]), values[name], (value) => { values[name] = value; ask(); }));
    const output = element("output", {}, short(values[name]));
    const input = element("input", {
      type: "range", min: control.low, max: control.high, id: `panel-${name}`,
      step: kind === "whole" ? 1 : (control.high - control.low) / 200,
      oninput: () => { values[name] = Number(input.value); output.textContent = short(values[name]); ask(); },
    });
    input.value = values[name];
    return element("label", {}, `${name} `, output, input);
  });
  panel.append(info.help ? element("p", { class: "note" }, info.help) : "", element("div", { class: "controls" }, ...controls), result);
  ask();
}

function showPanel(result, answer) {
  let at = 0;
  const numbers = [];
  const pictures = [];
  for (const one of answer.facts.shown) {
    if (one.pictures === undefined) {
      const text = typeof one.value === "number" || one.value === null ? short(one.value) : String(one.value);
      numbers.push(element("tr", {}, element("th", { scope: "row" }, one.name), element("td", {}, text)));
      continue;
    }
    const parts = answer.parts.slice(at, at + one.pictures);
    at += one.pictures;
    pictures.push(element("h3", {}, one.name), element("div", { class: "strip large" }, ...parts.map((part) => figure(part, ""))));
  }
  result.replaceChildren(element("table", {}, element("tbody", {}, ...numbers)), ...pictures);
  result.dataset.shown = Number(result.dataset.shown || 0) + 1;
}
