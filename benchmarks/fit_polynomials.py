"""Recompute the polynomial coefficients of csrc/math.h and gentool/ops/philox.py.

Each is the polynomial P of the given degree with the least maximum relative error of the whole
function, found by Remez exchange in extended precision and rounded to float32. Run it with
``python benchmarks/fit_polynomials.py``; it prints the coefficients, lowest order first, and the
error left before rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Array = np.ndarray
Real = np.longdouble


def series(terms: int, coefficient: Callable[[int], float]) -> Callable[[Array], Array]:
    """A Taylor series, where the closed form would cancel near zero."""
    return lambda x: sum((Real(coefficient(k)) * x**k for k in range(terms)), np.zeros_like(x))


def factorial(n: int) -> Real:
    return Real(1) if n < 2 else n * factorial(n - 1)


def remez(
    f: Callable[[Array], Array], weight: Callable[[Array], Array], a: float, b: float, degree: int
) -> tuple[Array, float]:
    """Coefficients of P minimising max |weight·(P − f)| on [a, b], and that maximum."""
    n = degree + 2
    nodes = (a + b) / 2 + (b - a) / 2 * np.cos(np.pi * (np.arange(n) + 0.5) / n).astype(Real)
    grid = np.linspace(Real(a), Real(b), 20001)
    for _ in range(30):
        system = np.vander(nodes, degree + 1, increasing=True).astype(Real)
        signs = (-1.0) ** np.arange(n) / weight(nodes)
        solution = solve(np.column_stack([system, signs]), f(nodes))
        error = weight(grid) * (np.polynomial.polynomial.polyval(grid, solution[:-1]) - f(grid))
        # The new nodes are the extrema between sign changes of the error.
        cuts = np.flatnonzero(np.diff(np.sign(error))) + 1
        parts = np.split(np.arange(grid.size), cuts)
        if len(parts) != n:
            break
        nodes = np.array([grid[p[np.argmax(np.abs(error[p]))]] for p in parts])
    return solution[:-1], float(np.max(np.abs(error)))


def solve(matrix: Array, right: Array) -> Array:
    """Gaussian elimination with pivoting; numpy's solver has no extended precision."""
    m = np.column_stack([matrix, right]).astype(Real)
    for i in range(len(m)):
        pivot = i + int(np.argmax(np.abs(m[i:, i])))
        m[[i, pivot]] = m[[pivot, i]]
        m[i] /= m[i, i]
        for j in range(len(m)):
            if j != i:
                m[j] -= m[j, i] * m[i]
    return m[:, -1]


def main() -> None:
    half_ln2, quarter_pi = float(np.log(2) / 2), float(np.pi / 4)
    exp_tail = series(24, lambda k: 1 / factorial(k + 2))
    log_tail = series(160, lambda k: (-1) ** k / Real(k + 3))
    sin_tail = series(12, lambda k: -((-1) ** k) / factorial(2 * k + 3))
    cos_tail = series(12, lambda k: (-1) ** k / factorial(2 * k + 4))
    root = float(np.sqrt(2))
    tasks = {
        "exp(r) = 1 + r + r² P(r), |r| ≤ ln2/2": (
            exp_tail, lambda r: r * r / np.exp(r), -half_ln2, half_ln2, 4),
        "exp(r) - 1 - r = r² P(r), |r| ≤ 1": (
            exp_tail, lambda r: 1 / exp_tail(r), -1.0, 1.0, 7),
        "exp(r) = 1 + r + r² P(r), |r| ≤ ln2/2, one term fewer": (
            exp_tail, lambda r: r * r / np.exp(r), -half_ln2, half_ln2, 3),
        "log1p(2h) = h P(h), 0 ≤ h ≤ ½": (
            lambda h: np.log1p(2 * h) / h, lambda h: h / np.log1p(2 * h), 1e-9, 0.5, 7),
        "log1p(f) = f - f²/2 + f³ P(f), √½ ≤ 1 + f ≤ √2": (
            log_tail, lambda f: f**3 / np.where(f == 0, 1, np.log1p(f)), root / 2 - 1, root - 1, 7),
        "sin(a) = a + a³ P(a²), |a| ≤ π/4": (
            sin_tail, lambda s: s, 1e-9, quarter_pi**2, 2),
        "cos(a) = 1 - a²/2 + a⁴ P(a²), |a| ≤ π/4": (
            cos_tail, lambda s: s * s, 1e-9, quarter_pi**2, 2),
    }  # fmt: skip
    for name, (f, weight, a, b, degree) in tasks.items():
        coefficients, error = remez(f, weight, a, b, degree)
        print(f"{name}: error {error:.1e}")
        print("   ", ", ".join(f"{np.float32(c):.9g}f" for c in coefficients))


if __name__ == "__main__":
    main()
