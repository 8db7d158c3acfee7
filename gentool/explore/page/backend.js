// What answers the page's questions. A tab knows nothing but this interface:
//
//   call(tab, verb, question, onAnswer) -> Promise<Answer | null>
//
// with Answer = {facts, parts, command}; a part is {kind: "pixels", shape: [h, w, c], data},
// {kind: "floats", shape, data} or {kind: "file", type, name, data}. Long work gives several
// answers, each to onAnswer; the promise has the last. null: a newer question of the same tab,
// verb and `slot` (a field of the question; none is a slot too) took its place.
// A question's `file` is a Uint8Array, and travels behind the JSON of the rest.
// What goes wrong rejects with an Error whose message is a sentence for a person.

const API_TIMEOUT_TEXT = "gentool does not answer; is `gentool explore` still running?";

export class ServerBackend {
  constructor(token) {
    this.token = token;
    this.who = Math.random().toString(36).slice(2, 12);
  }

  async info() {
    return (await this.post("/api/info", "{}", () => {})).facts;
  }

  call(tab, verb, { file, ...question }, onAnswer = () => {}) {
    const text = JSON.stringify({ ...question, who: this.who });
    return this.post(`/api/${tab}/${verb}`, file ? withFile(text, file) : text, onAnswer);
  }

  async post(address, body, onAnswer) {
    let response;
    try {
      response = await fetch(address, { method: "POST", body, headers: { "X-Gentool-Token": this.token } });
    } catch {
      throw new Error(API_TIMEOUT_TEXT);
    }
    if (response.headers.get("content-type") !== "application/octet-stream") {
      throw new Error(await response.text());
    }
    let last = null;
    for await (const frame of readFrames(response.body)) {
      last = parseFrame(frame);
      if (last !== null) onAnswer(last);
    }
    return last;
  }
}

function withFile(text, file) {
  const json = new TextEncoder().encode(text);
  const size = new Uint8Array(4);
  new DataView(size.buffer).setUint32(0, json.length, true);
  return new Blob([size, json, file]);
}

async function* readFrames(stream) {
  const reader = stream.getReader();
  let held = new Uint8Array(0);
  for (;;) {
    const { done, value } = await reader.read().catch(() => { throw new Error(API_TIMEOUT_TEXT); });
    if (value) {
      const joined = new Uint8Array(held.length + value.length);
      joined.set(held);
      joined.set(value, held.length);
      held = joined;
    }
    while (held.length >= 4) {
      const size = new DataView(held.buffer, held.byteOffset).getUint32(0, true);
      if (held.length < 4 + size) break;
      yield held.slice(4, 4 + size);
      held = held.subarray(4 + size);
    }
    if (done) return;
  }
}

function parseFrame(bytes) {
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  if (head.error) throw new Error(head.error);
  if (head.superseded) return null;
  let at = 4 + length;
  for (const part of head.parts) {
    const data = bytes.slice(at, at + part.length);
    part.data = part.kind === "floats" ? new Float32Array(data.buffer) : data;
    at += part.length;
  }
  return head;
}

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
