// The backend of a page that has its model inside; backend.js of the explorer says what one is.
import { at as mixAt, film, locate as mixLocate, tiles as mixTiles } from "./answer-mix.js";
import { at as planeAt, scatter, tiles } from "./answer-plane.js";
import { show, upload } from "./answer-reconstruct.js";
import { at as slidersAt, find, groups, locate } from "./answer-sliders.js";
import { grid } from "./answer-samples.js";
import { sentence } from "./answers.js";

const ANSWERS = {
  samples: { grid },
  plane: { at: planeAt, tiles, scatter },
  sliders: { at: slidersAt, groups, find, locate },
  reconstruct: { show, upload },
  mix: { at: mixAt, tiles: mixTiles, film, locate: mixLocate },
};

export class StandaloneBackend {
  constructor(model) {
    this.model = model;
    this.newest = new Map();
  }

  async info() {
    const { run } = this.model.facts;
    const fits = (tab) => tab in ANSWERS && (tab !== "reconstruct" || this.model.programs.encoder !== undefined);
    const scatters = Object.keys(this.model.facts.kept.scatter);
    return { runs: [{ ...run, scatters, tabs: run.tabs.filter(fits) }] };
  }

  async call(tab, verb, question, onAnswer = () => {}) {
    const answer = (ANSWERS[tab] || {})[verb];
    if (answer === undefined) throw sentence("this page cannot do that; `gentool explore` can");
    const place = `${tab}/${verb}/${question.slot || ""}`;
    const number = (this.newest.get(place) || 0) + 1;
    this.newest.set(place, number);
    const found = await answer(this.model, question, { isNewest: () => this.newest.get(place) === number, onAnswer });
    if (found !== null) onAnswer(found);
    return found;
  }
}
