// Small helpers: elements, pixels on a canvas, colours of classes.

export const CLASS_COLOURS = [
  "#4e79a7", "#f28e2b", "#e15759", "#2a9d8f", "#59a14f",
  "#d4a017", "#b07aa1", "#e377a2", "#9c755f", "#7f7f7f",
];

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class") made.className = value;
    else if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function labelled(text, control) {
  return element("label", {}, text, control);
}

export function choice(options, value, onchange) {
  const made = element("select", { onchange: () => onchange(made.value) });
  for (const [key, text] of options) made.append(element("option", { value: key }, text));
  made.value = value;
  return made;
}

export function button(text, onclick, more = {}) {
  return element("button", { type: "button", onclick, ...more }, text);
}

// Grey or RGB bytes as the canvas wants them.
export function toImageData(part) {
  const [height, width, channels] = part.shape;
  const image = new ImageData(width, height);
  const { data } = part;
  const colour = channels === 3;
  for (let i = 0, j = 0; i < image.data.length; i += 4, j += channels) {
    image.data[i] = data[j];
    image.data[i + 1] = data[colour ? j + 1 : j];
    image.data[i + 2] = data[colour ? j + 2 : j];
    image.data[i + 3] = 255;
  }
  return image;
}

export function showPixels(canvas, part) {
  const [height, width] = part.shape;
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  canvas.getContext("2d").putImageData(toImageData(part), 0, 0);
  canvas.dataset.shown = Number(canvas.dataset.shown || 0) + 1;
}

export function pixelCanvas(part, name, more = {}) {
  const canvas = element("canvas", { class: "pixels", role: "img", "aria-label": name, ...more });
  if (part) showPixels(canvas, part);
  return canvas;
}

export function figure(part, caption) {
  return element("figure", {}, pixelCanvas(part, caption), element("figcaption", {}, caption));
}

export function fileUrl(part) {
  return URL.createObjectURL(new Blob([part.data], { type: part.type }));
}

export function save(part) {
  const url = fileUrl(part);
  element("a", { href: url, download: part.name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

// A canvas that is as sharp as the screen; returns its context and its side in CSS pixels.
export function sharp(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const box = canvas.getBoundingClientRect();
  const [width, height] = [Math.max(1, Math.round(box.width * ratio)), Math.max(1, Math.round(box.height * ratio))];
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, box.width, box.height);
  return { context, width: box.width, height: box.height };
}

export function themeColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export function short(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

export function classChoice(facts, state, onchange) {
  if (!facts.conditional) return null;
  const options = facts.classes.map((name, i) => [String(i), name]);
  return labelled("Class", choice(options, String(state.label || 0), (value) => {
    state.label = Number(value);
    onchange();
  }));
}
