// All numbers of the page in one block of memory, laid out once before the first frame.

export class Memory {
  constructor() {
    this.size = 0;
    this.floats = null;
    this.places = [];
    this.scratches = new Map();
  }

  // A place for n numbers; its `data` is there once `build` was called.
  take(n) {
    const place = { at: 0, n, data: null };
    this.places.push(place);
    return place;
  }

  // A place that one step at a time may use, as large as the largest of them wants it.
  scratch(name, n) {
    if (!this.scratches.has(name)) this.scratches.set(name, this.take(0));
    const place = this.scratches.get(name);
    place.n = Math.max(place.n, n);
    return place;
  }

  // `buffer(bytes)` makes the block. Each place begins at a multiple of 16 bytes.
  build(buffer) {
    let size = 4;
    for (const place of this.places) {
      place.at = size;
      size += Math.ceil(place.n / 4) * 4;
    }
    this.floats = new Float32Array(buffer(size * 4));
    for (const place of this.places) place.data = this.floats.subarray(place.at, place.at + place.n);
  }
}
