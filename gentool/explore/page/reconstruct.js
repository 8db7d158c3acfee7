// Reconstruct: what a model makes of an image, and what that costs it.
import { button, choice, element, figure, labelled, save, short } from "./draw.js";
import { NewestQuestion } from "./backend.js";
import { imageSource } from "./sources.js";

export const reconstructTab = { name: "reconstruct", title: "Reconstruct", open: openReconstruct };

const LATENTS_AT_FIRST = 12;

function openReconstruct(panel, context) {
  const { facts } = context;
  const encodes = facts.capabilities.includes("encode");
  const state = { method: "auto", label: "", shown: null };
  const result = element("div", { class: "card", id: "reconstruct-result", "aria-live": "polite" });
  const newest = new NewestQuestion(
    (question) => context.call("reconstruct", "show", question),
    (answer) => {
      state.shown = answer;
      showReconstruction(result, answer, facts);
      result.dataset.shown = Number(result.dataset.shown || 0) + 1;
      context.command(answer.command);
      context.clear();
    },
    (error) => { result.replaceChildren(); context.fail(error); },
  );
  const question = () => ({
    method: state.method,
    point: { ...source.point(), ...(state.label === "" ? {} : { label: Number(state.label) }) },
  });
  const ask = () => {
    if (source.isEmpty()) return;
    if (encodes && state.method === "auto") newest.want(question());
    else {
      // A search takes seconds, so it begins when the pointer rests.
      clearTimeout(state.rest);
      state.rest = setTimeout(() => {
        result.replaceChildren(element("p", { class: "note" }, "Searching the nearest latent…"));
        newest.want(question());
      }, 600);
    }
  };
  const source = imageSource(context, "reconstruct-pad", ask);
  panel.append(
    element("div", { class: "controls" },
      encodes && !facts.standalone ? labelled("How", choice([["auto", "by the encoder"], ["optimise", "by search from there"]], "auto", (value) => { state.method = value; ask(); })) : null,
      facts.conditional ? labelled("Class", choice([["", "the data's own, or searched"], ...facts.classes.map((name, i) => [String(i), name])], "", (value) => { state.label = value; ask(); })) : null,
      button("Save image", () => state.shown && save(state.shown.parts[3]), { title: "as drawn.png, for the terminal's line" }),
      button("Copy point", () => state.shown && navigator.clipboard.writeText(state.shown.facts.point))),
    element("div", { class: "columns even" }, source.node, result),
  );
  return () => clearTimeout(state.rest);
}

function showReconstruction(result, answer, facts) {
  const found = answer.facts;
  const numbers = [["mean squared error a value", short(found.error)]];
  if (found.label !== null) numbers.push(["class", facts.classes[found.label]]);
  if (found.recon !== undefined && found.recon !== null) {
    const total = found.kl.reduce((sum, value) => sum + value, 0);
    numbers.push(
      ["−E log p(x|z)", `${short(found.recon)} nats`], ["KL(q(z|x) ‖ p(z))", `${short(total)} nats`],
      ["−ELBO, their sum", `${short(found.negative_elbo)} nats`],
    );
  }
  if (found.log_likelihood !== null) numbers.push(["−log p(x), by 100 weighted latents", `${short(-found.log_likelihood)} nats`]);
  result.replaceChildren(
    element("div", { class: "strip large" },
      figure(answer.parts[0], "the image"), figure(answer.parts[1], found.method === "encoder" ? "encoded and decoded" : "the nearest found"),
      figure(answer.parts[2], "difference")),
    element("table", {}, element("tbody", {}, ...numbers.map(([name, value]) =>
      element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, value))))),
    found.support === "grey" ? element("p", { class: "note" }, "Grey pixels under a Bernoulli: these numbers are of the model, not of a density.") : "",
    found.kl ? klList(found) : "",
  );
}

function klList(found) {
  const order = found.kl.map((kl, j) => j).sort((a, b) => found.kl[b] - found.kl[a]);
  const most = Math.max(found.kl[order[0]], 1e-9);
  const row = (j) => {
    const bar = element("i", { class: "bar" });
    bar.style.width = `${Math.max(1, 100 * found.kl[j] / most)}%`;
    return element("tr", {}, element("th", { scope: "row" }, `z${j + 1}`),
      element("td", {}, short(found.kl[j])), element("td", { class: "wide" }, bar),
      element("td", {}, `${found.mu[j].toFixed(2)} ± ${found.sigma[j].toFixed(2)}`));
  };
  const table = (rows) => element("table", { class: "full" },
    element("thead", {}, element("tr", {}, ...["latent", "KL, nats", "", "q(z|x)"].map((text) => element("th", {}, text)))),
    element("tbody", {}, ...rows.map(row)));
  const rest = order.slice(LATENTS_AT_FIRST);
  return element("div", {}, element("h3", {}, "KL of each latent"), table(order.slice(0, LATENTS_AT_FIRST)),
    rest.length > 0 ? element("details", {}, element("summary", {}, `${rest.length} more`), table(rest)) : "");
}
