// Canvases that nobody sees, and PNGs of them.

export function newCanvas(width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  return canvas;
}

export const png = (canvas) => new Promise((done, fail) => {
  canvas.toBlob((blob) => (blob ? blob.arrayBuffer().then((data) => done(new Uint8Array(data)), fail)
    : fail(new Error("this picture is too large for the browser; ask for fewer"))));
});
