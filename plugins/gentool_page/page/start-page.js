// Unpacks the model, holds it against what torch computed, and starts the page.
import { PageModel, fromText, readContainer } from "./model.js";
import { StandaloneBackend } from "./standalone.js";
import { element } from "./draw.js";
import { kernelOf } from "./kernel.js";
import { startPage } from "./main.js";

async function unpack() {
  const holder = document.getElementById("model");
  const packed = fromText(holder.textContent, Number(holder.dataset.size));
  holder.textContent = "";
  if (typeof DecompressionStream === "undefined") {
    throw new Error("this browser is too old for this page: it has no DecompressionStream; any of 2023 or later has");
  }
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function showMade({ made }) {
  const parts = [
    `${made.model} trained on ${made.data}`, `weights of ${made.date}`, `training seed ${made.seed}`,
    `licence: ${made.licence}`, `made by gentool ${made.gentool}`,
  ];
  const check = element("span", { id: "check" }, "Checking…");
  document.body.append(element("p", { class: "note", id: "made" }, `${parts.join(" · ")}. `, check));
  return check;
}

// In shades of 255, or for points in 255ths of their size.
function showCheck(model, place) {
  const { tolerance, cases } = model.facts.golden;
  const found = model.check();
  const worst = Math.max(found.sample, found.encode);
  const shades = (255 * worst).toPrecision(2);
  const noise = found.seed === 0 ? "Seeds give the draws of `gentool sample`, bit for bit (Philox4x32-10)."
    : `Seeds give the draws of \`gentool sample\` within ${found.seed.toExponential(1)} (Philox4x32-10).`;
  const right = worst <= tolerance && found.seed <= 1e-4;
  Object.assign(place.dataset, { right: String(right), worst: String(worst), seed: String(found.seed) });
  if (right) {
    place.textContent = `Checked: ${cases.length} samples are within ${shades} of 255 shades of what torch computes. ${noise}`;
    return;
  }
  const trouble = worst > tolerance ? `its pictures are off by ${shades} of 255 shades` : "its seeds draw other latents";
  place.textContent = `Do not trust this page in this browser: ${trouble}.`;
  place.setAttribute("role", "alert");
  place.style.cssText = "color: var(--warn); font-weight: 600";
}

function fail(error) {
  const trouble = document.getElementById("trouble");
  trouble.textContent = `the page failed: ${error && error.message}`;
  trouble.hidden = false;
}

async function openPage() {
  const model = new PageModel(readContainer(await unpack()), kernelOf());
  const check = showMade(model.facts.run);
  showCheck(model, check);
  const backend = new StandaloneBackend(model);
  startPage(backend, await backend.info());
  Object.assign(window, { gentoolPage: model, gentoolBackend: backend }); // for the curious, and tests
}

window.addEventListener("unhandledrejection", (event) => fail(event.reason));
openPage().catch(fail);
