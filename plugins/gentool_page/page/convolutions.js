// Linear layers and convolutions as matrix products.
//
//   linear   y = W x + b, a row of x at a time
//   conv     Y = W B: each column of B holds what the kernel sees at one place of the output
//   deconv   Y = W x, and each column of Y is added to the output where the kernel lies there

const four = (n) => Math.ceil(n / 4) * 4;
const eight = (n) => Math.ceil(n / 8) * 8;

export function linear(program, step, [x], out) {
  const outputs = step.shape[step.shape.length - 1];
  const rows = out.n / outputs;
  const inputs = x.n / rows;
  const [n, k] = [four(outputs), four(inputs)];
  const weights = program.constant(step.w, outputs, inputs, n, k);
  const bias = step.b === undefined ? null : program.constant(step.b, 1, outputs);
  const before = program.memory.scratch("linear-x", k);
  const after = program.memory.scratch("linear-y", n);
  return () => {
    const [F, { vector }] = [program.memory.floats, program.kernel];
    return () => {
      for (let row = 0; row < rows; row += 1) {
        for (let i = 0, from = x.at + row * inputs; i < inputs; i += 1) F[before.at + i] = F[from + i];
        F.fill(0, before.at + inputs, before.at + k);
        vector(F, weights.at, before.at, after.at, n, k);
        const to = out.at + row * outputs;
        if (bias === null) for (let i = 0; i < outputs; i += 1) F[to + i] = F[after.at + i];
        else for (let i = 0; i < outputs; i += 1) F[to + i] = F[after.at + i] + F[bias.at + i];
      }
    };
  };
}

// Copies numbers of x into panels of 8 columns; `at` says which, and −1 is a zero.
function pack(F, to, x, at) {
  for (let i = 0; i < at.length; i += 1) {
    const place = at[i];
    F[to + i] = place < 0 ? 0 : F[x + place];
  }
}

function panels(k, n, placeOf) {
  const wide = eight(n);
  const at = new Int32Array(k * wide).fill(-1);
  for (let column = 0; column < n; column += 1) {
    const start = (column >> 3) * k * 8 + (column & 7);
    for (let row = 0; row < k; row += 1) at[start + row * 8] = placeOf(row, column);
  }
  return at;
}

export function conv(program, step, [x], out, [shape]) {
  const { groups, kernel: [kh, kw], stride, pad, dilation } = step;
  const [, channels, height, width] = shape;
  const [, outputs, outHeight, outWidth] = step.shape;
  const [m, k, n] = [outputs / groups, channels / groups * kh * kw, outHeight * outWidth];
  const at = panels(k, n, (row, column) => {
    const c = Math.floor(row / (kh * kw));
    const y = Math.floor(column / outWidth) * stride[0] - pad[0] + (Math.floor(row / kw) % kh) * dilation[0];
    const z = column % outWidth * stride[1] - pad[1] + row % kw * dilation[1];
    return y < 0 || y >= height || z < 0 || z >= width ? -1 : (c * height + y) * width + z;
  });
  const product = matrixOf(program, step, m, k, n, groups);
  return () => {
    const [F, run] = [program.memory.floats, product.build()];
    return () => {
      for (let g = 0; g < groups; g += 1) {
        pack(F, product.columns.at, x.at + g * channels / groups * height * width, at);
        run(g);
        for (let c = 0; c < m; c += 1) {
          const [from, to] = [product.result.at + c * eight(n), out.at + (g * m + c) * n];
          const b = product.bias === null ? 0 : F[product.bias.at + g * m + c];
          for (let i = 0; i < n; i += 1) F[to + i] = F[from + i] + b;
        }
      }
    };
  };
}

// The product that both kinds of convolution stand on: group g of W (m × k) times the packed columns.
function matrixOf(program, step, m, k, n, groups) {
  const [rows, wide] = [four(m), eight(n)];
  const weights = groupsOf(program, step.w, groups, m, k, rows);
  const columns = program.memory.scratch("columns", k * wide);
  const result = program.memory.scratch("product", rows * wide);
  const bias = step.b === undefined ? null : program.constant(step.b, 1, program.length(step.b));
  const build = () => {
    const [F, { matrix }] = [program.memory.floats, program.kernel];
    return (g) => matrix(F, weights.at + g * rows * k, columns.at, result.at, rows, k, wide);
  };
  return { columns, result, bias, build };
}

function groupsOf(program, number, groups, m, k, rows) {
  const place = program.memory.take(groups * rows * k);
  program.fills.push(() => {
    const data = program.tensor(number);
    for (let g = 0; g < groups; g += 1) place.data.set(data.subarray(g * m * k, (g + 1) * m * k), g * rows * k);
  });
  return place;
}

export function deconv(program, step, [x], out, [shape]) {
  const { groups, kernel: [kh, kw], stride, pad, dilation } = step;
  const [, channels, height, width] = shape;
  const [, outputs, outHeight, outWidth] = step.shape;
  const [k, n, own] = [channels / groups, height * width, outputs / groups];
  const at = panels(k, n, (row, column) => row * n + column);
  const product = matrixOf(program, step, own * kh * kw, k, n, groups);
  const lefts = [...Array(kw).keys()].map((kx) => span(kx * dilation[1] - pad[1], stride[1], width, outWidth));
  const tops = [...Array(kh).keys()].map((ky) => span(ky * dilation[0] - pad[0], stride[0], height, outHeight));
  const [wide, each, sy, sx] = [eight(n), outHeight * outWidth, stride[0], stride[1]];
  return () => {
    const [F, run] = [program.memory.floats, product.build()];
    // Adds a row of the product, which is one place of the kernel, to one channel of the output.
    const scatter = (from, to, top, left) => {
      for (let iy = top.first; iy < top.end; iy += 1) {
        let put = to + (iy * sy + top.shift) * outWidth + left.first * sx + left.shift;
        const last = from + iy * width + left.end;
        for (let get = from + iy * width + left.first; get < last; get += 1, put += sx) F[put] += F[get];
      }
    };
    return () => {
      for (let g = 0; g < groups; g += 1) {
        pack(F, product.columns.at, x.at + g * k * n, at);
        run(g);
        for (let c = 0, from = product.result.at; c < own; c += 1) {
          const to = out.at + (g * own + c) * each;
          F.fill(product.bias === null ? 0 : F[product.bias.at + g * own + c], to, to + each);
          for (let ky = 0; ky < kh; ky += 1) {
            for (let kx = 0; kx < kw; kx += 1, from += wide) scatter(from, to, tops[ky], lefts[kx]);
          }
        }
      }
    };
  };
}

// Which of `size` places land inside an output of `limit`, at place·stride + shift.
function span(shift, stride, size, limit) {
  const first = Math.max(0, Math.ceil(-shift / stride));
  const end = Math.min(size, Math.floor((limit - 1 - shift) / stride) + 1);
  return { shift, first, end };
}
