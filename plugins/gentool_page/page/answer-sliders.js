// The Sliders tab: z' = z + Σ sₖ σₖ nₖ along the directions that were known at export.
import { locate as place, pictureOf, sentence } from "./answers.js";

export function groups(model) {
  return { facts: { groups: model.facts.kept.sliders.groups, lines: model.facts.kept.sliders.lines }, parts: [], command: "" };
}

export function find() {
  throw sentence("finding directions needs gentool; export the page again after `gentool directions`");
}

export function locate(model, question) {
  const { z, text } = place(model, question.point);
  return { facts: { z: Array.from(z), text }, parts: [], command: "" };
}

export function at(model, question) {
  const moved = Float64Array.from(question.z);
  for (const [name, strength] of Object.entries(question.strengths || {})) {
    const known = model.facts.kept.sliders.vectors[name];
    if (!known) throw sentence(`there is no direction '${name}' in this page`);
    const vector = model.vectors[known.vector];
    for (let i = 0; i < moved.length; i += 1) moved[i] += strength * known.std * vector[i];
  }
  return pictureOf(model, Float32Array.from(moved), question.label);
}
