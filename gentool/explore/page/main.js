// The page: runs, tabs, and what all tabs share.
import { element } from "./draw.js";
import { mixTab } from "./mix.js";
import { panelTab } from "./panels.js";
import { planeTab } from "./plane.js";
import { reconstructTab } from "./reconstruct.js";
import { restoreTab } from "./restore.js";
import { samplesTab } from "./samples.js";
import { slidersTab } from "./sliders.js";
import { trainingTab } from "./training.js";

const TABS_KNOWN = [samplesTab, planeTab, slidersTab, reconstructTab, mixTab, restoreTab, trainingTab];

export function startPage(backend, info) {
  const byId = (id) => document.getElementById(id);
  const panel = byId("panel");
  const state = { run: 0, tab: null, close: null, opened: 0 };

  function context() {
    const mine = (state.opened += 1);
    const current = () => mine === state.opened;
    return {
      facts: info.runs[state.run],
      runs: info.runs,
      run: state.run,
      backend,
      current,
      call: (tab, verb, question, onAnswer) => backend.call(tab, verb, { run: state.run, ...question }, onAnswer),
      cancel: (tab, verb) => backend.cancel?.(tab, verb),
      command: (line) => { if (current()) showCommand(line); },
      fail: (error) => { if (current()) showTrouble(error.message); },
      clear: () => { if (current()) byId("trouble").hidden = true; },
    };
  }

  function showCommand(line) {
    byId("terminal").hidden = !line;
    byId("command").textContent = line;
  }

  function showTrouble(message) {
    byId("trouble").textContent = message;
    byId("trouble").hidden = false;
  }

  function openTab(tab) {
    if (state.close) state.close();
    state.tab = tab;
    panel.replaceChildren();
    panel.setAttribute("aria-labelledby", `tab-${tab.name}`);
    byId("trouble").hidden = true;
    showCommand("");
    for (const one of byId("tabs").children) {
      const chosen = one.id === `tab-${tab.name}`;
      one.setAttribute("aria-selected", String(chosen));
      one.tabIndex = chosen ? 0 : -1;
    }
    state.close = tab.open(panel, context()) || null;
  }

  function tabButton(tab) {
    return element("button", {
      type: "button", role: "tab", id: `tab-${tab.name}`, "aria-controls": "panel", "aria-selected": "false",
      tabIndex: -1, onclick: () => openTab(tab),
    }, tab.title);
  }

  function openRun(index) {
    state.run = index;
    const facts = info.runs[index];
    byId("about").textContent = aboutRun(facts);
    const fitting = TABS_KNOWN.filter((tab) => facts.tabs.includes(tab.name));
    byId("tabs").replaceChildren(...fitting.map(tabButton));
    // Panels of other packages come when they were found; a backend may know of none.
    backend.call("panel", "known", { run: index }).then((answer) => {
      if (answer === null || state.run !== index) return;
      byId("tabs").append(...answer.facts.panels.map(panelTab).map(tabButton));
    }, () => {});
    const kept = fitting.find((tab) => state.tab && tab.name === state.tab.name);
    if (fitting.length > 0) openTab(kept || fitting[0]);
    else showTrouble("there is nothing to show of this run yet");
  }

  byId("tabs").addEventListener("keydown", (event) => {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!move) return;
    const all = [...byId("tabs").children];
    const next = all[(all.findIndex((one) => one.tabIndex === 0) + move + all.length) % all.length];
    next.click();
    next.focus();
  });
  byId("copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText(byId("command").textContent);
    byId("copy").textContent = "Copied";
    setTimeout(() => { byId("copy").textContent = "Copy"; }, 1500);
  });
  byId("run").append(...info.runs.map((facts, i) => element("option", { value: i }, facts.name)));
  byId("run").addEventListener("change", () => openRun(Number(byId("run").value)));
  byId("run-choice").hidden = info.runs.length < 2;
  openRun(0);
}

function aboutRun(facts) {
  if (facts.kind === "none") return `${facts.name}: no model yet`;
  const size = facts.kind === "image" ? facts.shape.slice(1).join("×") + (facts.shape[0] === 3 ? " colour" : " grey") : `points of ${facts.shape[0]} numbers`;
  return `${facts.name}: ${facts.model}, ${size}, ${facts.latents} latents`;
}
