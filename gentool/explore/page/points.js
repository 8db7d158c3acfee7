// Points as people write them, and a field to name one in.
import { button, element, labelled } from "./draw.js";

const POINT_FORMS = "a point is seed:7, test:12, train:3 or z:0.5,-1";

export function pointOf(text) {
  const word = text.trim();
  const found = /^seed:(\d{1,12})$/.exec(word);
  if (found) return { seed: Number(found[1]) };
  if (/^(train|test):\d{1,12}$/.test(word)) return { example: word };
  if (word.startsWith("z:")) {
    const z = word.slice(2).split(",").map((part) => (part.trim() === "" ? NaN : Number(part)));
    return z.every(Number.isFinite) ? { z } : null;
  }
  return null;
}

export function parsedPoint(text) {
  const point = pointOf(text);
  if (point === null) throw new Error(POINT_FORMS);
  return point;
}

export function randomSeed() {
  return Math.floor(Math.random() * 100000);
}

// A field for a point, with a button for another seed; `chosen(point, text)` hears of each.
export function pointField(label, text, chosen, fail, id) {
  const input = element("input", {
    type: "text", value: text, size: 12, id, spellcheck: false,
    onchange: () => {
      try {
        chosen(parsedPoint(input.value), input.value.trim());
      } catch (error) {
        fail(error);
      }
    },
  });
  const another = button("⚄", () => {
    input.value = `seed:${randomSeed()}`;
    chosen(pointOf(input.value), input.value);
  }, { "aria-label": `${label}: another seed`, title: "Another seed" });
  return {
    input, node: element("div", { class: "pair" }, labelled(label, input), another),
    set: (value) => { input.value = value; },
  };
}
