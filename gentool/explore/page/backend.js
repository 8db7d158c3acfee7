// What answers the page's questions. A tab knows nothing but this interface:
//
//   call(tab, verb, question, onAnswer) -> Promise<Answer | null>
//   cancel(tab, verb): ends what is under way, whose promise gives null; a backend may lack it
//
// with Answer = {facts, parts, command}; a part is {kind: "pixels", shape: [h, w, c], data},
// {kind: "floats", shape, data} or {kind: "file", type, name, data}. Long work gives several
// answers, each to onAnswer; the promise has the last. null: a newer question of the same tab,
// verb and `slot` (a field of the question; none is a slot too) took its place.
// A question's `file` is a Uint8Array, and travels behind the JSON of the rest.
// What goes wrong rejects with an Error whose message is a sentence for a person.

// Asks for the newest position only: one question is under way, and one at most waits.
export class NewestQuestion {
  constructor(ask, show, fail) {
    this.ask = ask;
    this.show = show;
    this.fail = fail;
    this.waiting = null;
    this.busy = false;
  }

  async want(question) {
    this.waiting = question;
    if (this.busy) return;
    this.busy = true;
    while (this.waiting !== null) {
      const now = this.waiting;
      this.waiting = null;
      try {
        const answer = await this.ask(now);
        if (answer !== null) this.show(answer, now);
      } catch (error) {
        this.fail(error);
      }
    }
    this.busy = false;
  }
}
