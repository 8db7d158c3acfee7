// The Reconstruct tab, by the encoder: x → z → x̂, with the KL of each latent where it has one.
import { encodePixels, line, literal, sentence, toPixels } from "./answers.js";
import { newCanvas, png } from "./canvas.js";
import { toImageData } from "./draw.js";

export async function show(model, question) {
  const { run } = model.facts;
  const { point, method } = question;
  if (point.pixels === undefined) throw sentence("examples of the data are not in this page; draw an image");
  if (method === "optimise") throw sentence("a search needs gentool: `gentool reconstruct --method optimise`");
  const { x, z, again, error, label } = encodePixels(model, point.pixels, point.label);
  const given = toPixels(x, run.shape);
  const apart = toPixels(x.map((v, i) => Math.abs(v - again[i])), run.shape);
  const facts = {
    method: "encoder", error, z: Array.from(z), point: literal(z), log_likelihood: null, label, support: run.support,
    ...momentsOf(model, x, label),
  };
  const words = point.label === undefined ? [] : ["--class", point.label];
  const command = line("reconstruct", run.word, "drawn.png", ...words, "--out", "again.png");
  const file = { kind: "file", type: "image/png", name: "drawn.png", data: await png(canvasOf(given)) };
  return { facts, parts: [given, toPixels(again, run.shape), apart, file], command };
}

// KL_j = ½ (μ_j² + σ_j² − 1 − log σ_j²) in nats.
function momentsOf(model, x, label) {
  if (!model.programs.moments) return {};
  const both = model.apply("moments", x, label);
  const mu = Array.from(both.subarray(0, both.length / 2));
  const logvar = Array.from(both.subarray(both.length / 2));
  const kl = mu.map((m, j) => (m * m + Math.exp(logvar[j]) - 1 - logvar[j]) / 2);
  return { mu, sigma: logvar.map((v) => Math.exp(v / 2)), kl };
}

function canvasOf(part) {
  const canvas = newCanvas(part.shape[1], part.shape[0]);
  canvas.getContext("2d").putImageData(toImageData(part), 0, 0);
  return canvas;
}

// An image file at the model's size: cropped to its sides' ratio, padded with black, or stretched.
export async function upload(model, question) {
  const [channels, height, width] = model.facts.run.shape;
  let image;
  try {
    image = await createImageBitmap(new Blob([question.file]));
  } catch {
    throw sentence("the file is no image that this browser can read");
  }
  const factor = { crop: Math.max, pad: Math.min }[question.fit];
  const [x, y] = [width / image.width, height / image.height];
  const [w, h] = factor ? [image.width * factor(x, y), image.height * factor(x, y)] : [width, height];
  const canvas = newCanvas(width, height);
  const ink = canvas.getContext("2d");
  ink.fillRect(0, 0, width, height);
  ink.imageSmoothingQuality = "high";
  ink.drawImage(image, (width - w) / 2, (height - h) / 2, w, h);
  const { data } = ink.getImageData(0, 0, width, height);
  const bytes = new Uint8Array(height * width * channels);
  for (let i = 0; i < height * width; i += 1) {
    const [r, g, b] = data.subarray(4 * i, 4 * i + 3);
    if (channels === 3) bytes.set([r, g, b], 3 * i);
    else bytes.fill(Math.round(0.299 * r + 0.587 * g + 0.114 * b), channels * i, channels * (i + 1));
  }
  return { facts: {}, parts: [{ kind: "pixels", shape: [height, width, channels], data: bytes }], command: "" };
}
