// The backend of `gentool explore`: a server on this machine. backend.js says what a backend is.

const API_TIMEOUT_TEXT = "gentool does not answer; is `gentool explore` still running?";

export class ServerBackend {
  constructor(token) {
    this.token = token;
    this.who = Math.random().toString(36).slice(2, 12);
    this.under = new Map();
  }

  async info() {
    return (await this.post("/api/info", "{}", () => {})).facts;
  }

  call(tab, verb, { file, ...question }, onAnswer = () => {}) {
    const text = JSON.stringify({ ...question, who: this.who });
    return this.post(`/api/${tab}/${verb}`, file ? withFile(text, file) : text, onAnswer);
  }

  cancel(tab, verb) {
    this.under.get(`/api/${tab}/${verb}`)?.abort();
  }

  async post(address, body, onAnswer) {
    const abort = new AbortController();
    this.under.set(address, abort);
    try {
      return await this.asked(address, body, onAnswer, abort.signal);
    } catch (error) {
      if (abort.signal.aborted) return null;
      throw error;
    } finally {
      if (this.under.get(address) === abort) this.under.delete(address);
    }
  }

  async asked(address, body, onAnswer, signal) {
    let response;
    try {
      response = await fetch(address, { method: "POST", body, signal, headers: { "X-Gentool-Token": this.token } });
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
