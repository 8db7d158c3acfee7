// Matrix products over the page's memory. Places are counted in numbers, not bytes.

// C (m × n) = A (m × k) B (k × n): m a multiple of 4, n of 8. B lies in panels of 8 columns, each
// row after row, so that the inner loop reads on and on; C lies in rows of n.
export function plainMatrix(F, a, b, c, m, k, n) {
  for (let column = 0; column < n; column += 4) {
    const panel = b + (column & ~7) * k + (column & 7);
    for (let row = 0; row < m; row += 4) {
      let p0 = a + row * k, p1 = p0 + k, p2 = p1 + k, p3 = p2 + k, q = panel;
      let c00 = 0, c01 = 0, c02 = 0, c03 = 0, c10 = 0, c11 = 0, c12 = 0, c13 = 0;
      let c20 = 0, c21 = 0, c22 = 0, c23 = 0, c30 = 0, c31 = 0, c32 = 0, c33 = 0;
      for (let i = 0; i < k; i += 1, q += 8) {
        const b0 = F[q], b1 = F[q + 1], b2 = F[q + 2], b3 = F[q + 3];
        const a0 = F[p0 + i], a1 = F[p1 + i], a2 = F[p2 + i], a3 = F[p3 + i];
        c00 += a0 * b0; c01 += a0 * b1; c02 += a0 * b2; c03 += a0 * b3;
        c10 += a1 * b0; c11 += a1 * b1; c12 += a1 * b2; c13 += a1 * b3;
        c20 += a2 * b0; c21 += a2 * b1; c22 += a2 * b2; c23 += a2 * b3;
        c30 += a3 * b0; c31 += a3 * b1; c32 += a3 * b2; c33 += a3 * b3;
      }
      let to = c + row * n + column;
      F[to] = c00; F[to + 1] = c01; F[to + 2] = c02; F[to + 3] = c03; to += n;
      F[to] = c10; F[to + 1] = c11; F[to + 2] = c12; F[to + 3] = c13; to += n;
      F[to] = c20; F[to + 1] = c21; F[to + 2] = c22; F[to + 3] = c23; to += n;
      F[to] = c30; F[to + 1] = c31; F[to + 2] = c32; F[to + 3] = c33;
    }
  }
}

// y (n) = W (n × k) x (k): n and k multiples of 4.
export function plainVector(F, w, x, y, n, k) {
  for (let row = 0; row < n; row += 4) {
    const p0 = w + row * k, p1 = p0 + k, p2 = p1 + k, p3 = p2 + k;
    let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (let i = 0; i < k; i += 1) {
      const v = F[x + i];
      s0 += F[p0 + i] * v; s1 += F[p1 + i] * v; s2 += F[p2 + i] * v; s3 += F[p3 + i] * v;
    }
    F[y + row] = s0; F[y + row + 1] = s1; F[y + row + 2] = s2; F[y + row + 3] = s3;
  }
}

export const plain = { name: "JavaScript", matrix: plainMatrix, vector: plainVector };
