// The mathematics of one element, for the CPU kernels, the CUDA kernels and their tests.
// Coefficients: benchmarks/fit_polynomials.py.
//
// No torch and no CUDA header is needed. Where a GPU has an instruction for it, the few functions
// of the section "primitives" use it; everything after them is one text for both.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#define GENTOOL_FN __host__ __device__ __forceinline__
#define GENTOOL_UNROLL _Pragma("unroll")
#else
#define GENTOOL_FN inline __attribute__((always_inline))
#define GENTOOL_UNROLL _Pragma("GCC unroll 16")
#endif

namespace gentool {

// ---- primitives ----

GENTOOL_FN float as_float(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

GENTOOL_FN uint32_t as_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

// a·b + c, in one rounding where the machine does that at full speed.
GENTOOL_FN float madd(float a, float b, float c) {
#if defined(__CUDA_ARCH__) || defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

GENTOOL_FN double madd(double a, double b, double c) { return a * b + c; }

// n / d for d in [½, 1]. On the GPU: the approximate reciprocal and one Newton step, 1 ulp.
GENTOOL_FN float ratio(float n, float d) {
#if defined(__CUDA_ARCH__)
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(d));
  return n * fmaf(fmaf(-d, r, 1.0f), r, r);
#else
  return n / d;
#endif
}

GENTOOL_FN double ratio(double n, double d) { return n / d; }

// A polynomial, lowest coefficient first: Horner's rule on the GPU, where other threads fill the
// waits; on the CPU the even and the odd powers apart, two chains half as long.
template <int N>
GENTOOL_FN float polynomial(const float (&c)[N], float x) {
#if defined(__CUDA_ARCH__)
  float value = c[N - 1];
  GENTOOL_UNROLL
  for (int i = N - 2; i >= 0; --i) value = madd(value, x, c[i]);
  return value;
#else
  const float square = x * x;
  float high = c[N - 1], low = c[N - 2];
  GENTOOL_UNROLL
  for (int i = N - 3; i >= 1; i -= 2) {
    high = madd(high, square, c[i]);
    low = madd(low, square, c[i - 1]);
  }
  return N % 2 == 0 ? madd(high, x, low) : madd(low, x, madd(high, square, c[0]));
#endif
}

// The same in separate roundings, which every machine repeats exactly.
template <int N>
GENTOOL_FN float polynomial_exact(const float (&c)[N], float x) {
  float value = c[N - 1];
  GENTOOL_UNROLL
  for (int i = N - 2; i >= 0; --i) value = value * x + c[i];
  return value;
}

// exp(r) for |r| ≤ ln2/2, to 1e-8 before rounding.
GENTOOL_FN float exp_near_0(float r) {
  const float c[] = {1.0f,          1.0f,           0.5f,          0.16666545f,
                     0.0416668616f, 0.00836624578f, 0.00139050034f};
  return polynomial(c, r);
}

// The smaller and the larger of a bound and x, and NaN where x is NaN (std::min would depend).
GENTOOL_FN float at_most(float bound, float x) {
#if defined(__CUDA_ARCH__)
  float least;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(least) : "f"(bound), "f"(x));
  return least;
#else
  return bound < x ? bound : x;
#endif
}

GENTOOL_FN float at_least(float bound, float x) {
#if defined(__CUDA_ARCH__)
  float greatest;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(greatest) : "f"(bound), "f"(x));
  return greatest;
#else
  return bound > x ? bound : x;
#endif
}

// x = n·ln2 + r with |r| ≤ ln2/2: leaves n in the low bits of `shifted`, and returns it.
GENTOOL_FN float nearest_power(float x, float& shifted) {
  const float shift = 12582912.0f;  // 1.5·2²³: adding it rounds to the nearest integer
  shifted = madd(x, 1.44269504f, shift);
  return shifted - shift;
}

// 2ⁿ⁻¹ from the bits of n, −125 ≤ n ≤ 128; 0 for n = −126.
GENTOOL_FN float half_power(float shifted) {
  return as_float((as_bits(shifted) << 23) + 0x3F000000u);
}

// ½·exp(x) for x ≤ 0, to 1 ulp; 0 where it would be below 2⁻¹²⁶. NaN stays NaN. The half costs
// nothing further on, and lets the power of two be made from the bits alone.
GENTOOL_FN float half_exp(float x) {
  x = at_least(-87.3f, x);
  float shifted;
  const float n = nearest_power(x, shifted);
  const float r = madd(n, 2.12194440e-4f, madd(n, -0.693359375f, x));
  return exp_near_0(r) * half_power(shifted);
}

GENTOOL_FN double half_exp(double x) { return 0.5 * exp(x); }

// exp(x) to 1 ulp, overflow included; 0 where it would be below 2⁻¹²⁵. NaN stays NaN.
GENTOOL_FN float exp_(float x) {
  x = at_most(89.0f, at_least(-87.3f, x));
  float shifted;
  const float n = nearest_power(x, shifted);
  const float r = madd(n, 2.12194440e-4f, madd(n, -0.693359375f, x));
  return 2.0f * exp_near_0(r) * half_power(shifted);
}

#if defined(__CUDA_ARCH__)
// scale·exp(x·factor) by the GPU's own 2^y, to 2 ulp of float32; 0 where 2^y would be subnormal.
// The factor is a power of two and |x·factor| ≤ 106. y = x·log₂e is rounded, and so is log₂e, which
// alone is 1e-6 of the result at x = 85: the last product puts both right to first order.
__device__ __forceinline__ float scaled_exp(float x, float factor, float scale) {
  const float log2e = 1.44269504f * factor, rest_of_log2e = 1.92596299e-8f * factor;
  const float y = x * log2e;
  const float missing = fmaf(x, rest_of_log2e, fmaf(x, log2e, -y));
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(y));
  return power * fmaf(missing, 0.693147181f * scale, scale);
}
#endif

// ½·exp(x) for x ≤ 0, to 4e-7: a shorter polynomial and reduction, or the instruction again.
GENTOOL_FN float half_exp_quick(float x) {
#if defined(__CUDA_ARCH__)
  return scaled_exp(at_least(-106.0f, x), 1.0f, 0.5f);
#else
  const float c[] = {1.0f, 1.0f, 0.499993712f, 0.166665778f, 0.0418756455f, 0.00836317334f};
  x = at_least(-87.3f, x);
  float shifted;
  const float n = nearest_power(x, shifted);
  return polynomial(c, madd(n, -0.693147182f, x)) * half_power(shifted);
#endif
}

GENTOOL_FN double half_exp_quick(double x) { return 0.5 * exp(x); }

GENTOOL_FN float sqrt_(float x) {
#if defined(__CUDA_ARCH__)
  float root;
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(root) : "f"(x));
  return root;
#else
  return sqrtf(x);
#endif
}

// log(1 + 2h) for h in [0, ½], to 2e-7.
GENTOOL_FN float log1p_twice(float h) {
  const float c[] = {1.99999964f, -1.99989617f, 2.66203833f, -3.91927409f,
                     5.67847729f, -6.8916297f,  5.64347315f, -2.18603754f};
  return h * polynomial(c, h);
}

GENTOOL_FN double log1p_twice(double h) { return log1p(2 * h); }

GENTOOL_FN float minus_abs(float x) { return as_float(as_bits(x) | 0x80000000u); }
GENTOOL_FN double minus_abs(double x) { return -fabs(x); }

// ---- Bernoulli: logit x, target t ----

// softplus(x) − x·t = |x|·(x < 0 ? t : 1 − t) + log(1 + e^−|x|), in which nothing cancels.
// 0·x makes −∞ a NaN, as in PyTorch.
template <class T>
GENTOOL_FN T bce(T x, T t) {
  const T below = minus_abs(x);
  const T weight = x < T(0) ? madd(T(0), x, t) : T(1) - t;
  return madd(-below, weight, log1p_twice(half_exp_quick(below)));
}

// σ(x) − t.
template <class T>
GENTOOL_FN T bce_slope(T x, T t) {
  const T h = half_exp(minus_abs(x));
  return ratio(x < T(0) ? h : T(0.5), T(0.5) + h) - t;
}

// ---- Gaussian: mean m, log variance v ----

// σ = exp(v / 2) to 2 ulp, overflow included. NaN stays NaN.
GENTOOL_FN float sigma(float v) {
#if defined(__CUDA_ARCH__)
  return scaled_exp(at_most(178.0f, at_least(-212.0f, v)), 0.5f, 1.0f);
#else
  return exp_(0.5f * v);
#endif
}

GENTOOL_FN double sigma(double v) { return exp(0.5 * v); }

// e^v − 1 − v for |v| < 1, relative error 1e-7 where the difference itself would cancel.
GENTOOL_FN float exp_tail(float v) {
  const float c[] = {0.5f,           0.166666672f,   0.041666735f,   0.00833331048f,
                     0.00138854515f, 0.000198440233f, 2.53548296e-05f, 2.77228355e-06f};
  return v * v * polynomial(c, v);
}

// a where |v| < 1, else b. For the GPU one selection: nvcc would make a branch of it, past which it
// schedules nothing.
GENTOOL_FN float where_small(float v, float a, float b) {
#if defined(__CUDA_ARCH__)
  float chosen;
  asm("{\n\t.reg .pred %%small;\n\tsetp.lt.f32 %%small, %1, 0f3F800000;\n\t"
      "selp.f32 %0, %2, %3, %%small;\n\t}"
      : "=f"(chosen)
      : "f"(fabsf(v)), "f"(a), "f"(b));
  return chosen;
#else
  return fabsf(v) < 1.0f ? a : b;
#endif
}

// KL(N(m, s²) ‖ N(0, 1)) = ½ (m² + (s² − 1 − v)) for s = σ(v).
GENTOOL_FN float kl(float m, float v, float s) {
  const float rest = where_small(v, exp_tail(v), (s * s - 1.0f) - v);
  return 0.5f * madd(m, m, rest);
}

GENTOOL_FN double kl(double m, double v, double) { return 0.5 * (expm1(v) - v + m * m); }

// s² − 1, which is twice ∂KL/∂v.
GENTOOL_FN float variance_excess(float v, float s) {
  return where_small(v, exp_tail(v) + v, s * s - 1.0f);
}

GENTOOL_FN double variance_excess(double v, double) { return expm1(v); }

// ---- noise; gentool/ops/philox.py is the same in torch ----

struct Words {
  uint32_t x[4];
};

// a·b in full. For the GPU one instruction, spelt out: nvcc widens what comes out of one product
// and goes into the next to 64 bits, and multiplies upper halves that are zero.
GENTOOL_FN uint64_t wide_product(uint32_t a, uint32_t b) {
#if defined(__CUDA_ARCH__)
  uint64_t product;
  asm("mul.wide.u32 %0, %1, %2;" : "=l"(product) : "r"(a), "r"(b));
  return product;
#else
  return static_cast<uint64_t>(a) * b;
#endif
}

// The two key words of each of Philox's rounds. A kernel is handed them, since they are the same
// for all of its threads; there they are constants that cost no instruction.
struct RoundKeys {
  uint32_t of[10][2];
};

inline RoundKeys round_keys(uint64_t key) {
  RoundKeys keys;
  for (uint32_t round = 0; round < 10; ++round) {
    keys.of[round][0] = static_cast<uint32_t>(key) + round * 0x9E3779B9u;
    keys.of[round][1] = static_cast<uint32_t>(key >> 32) + round * 0xBB67AE85u;
  }
  return keys;
}

// Philox4x32-10, Salmon et al. 2011.
GENTOOL_FN Words philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3,
                        const RoundKeys& keys) {
  GENTOOL_UNROLL
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = wide_product(c0, 0xD2511F53u);
    const uint64_t p1 = wide_product(c2, 0xCD9E8D57u);
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ keys.of[round][0];
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ keys.of[round][1];
    c3 = static_cast<uint32_t>(p0);
  }
  return {{c0, c1, c2, c3}};
}

// The last counter word holds what the words of the row and the step cannot.
GENTOOL_FN uint32_t high_word(uint64_t row, uint64_t step) {
  return static_cast<uint32_t>(step >> 32 & 0xFFFF) | static_cast<uint32_t>(row >> 32) << 16;
}

// The words of four neighbours, positions 4·block … 4·block + 3 of a row.
GENTOOL_FN Words noise_words(uint32_t block, uint64_t row, uint64_t step, const RoundKeys& keys) {
  return philox(block, static_cast<uint32_t>(row), static_cast<uint32_t>(step),
                high_word(row, step), keys);
}

// The cosine and sine of the angle 2π·x/2³², by quadrants.
GENTOOL_FN void unit_circle(uint32_t x, float& cosine, float& sine) {
#if defined(__CUDA_ARCH__)
  const float angle = static_cast<float>(static_cast<int32_t>(x)) * 1.46291807e-09f;
  cosine = __cosf(angle);
  sine = __sinf(angle);
#else
  const float sin_c[] = {-0.166666552f, 0.008332178f, -0.000195172994f};
  const float cos_c[] = {0.0416666456f, -0.00138873677f, 2.44384519e-05f};
  const uint32_t quarter = (x + 0x20000000u) >> 30;
  const float angle =
      static_cast<float>(static_cast<int32_t>(x - (quarter << 30))) * 1.46291807e-09f;
  const float square = angle * angle;
  const float s = angle + angle * square * polynomial_exact(sin_c, square);
  const float c = (1.0f - 0.5f * square) + square * square * polynomial_exact(cos_c, square);
  const bool odd = quarter & 1;
  cosine = as_float(as_bits(odd ? s : c) ^ ((quarter + 1) & 2) << 30);
  sine = as_float(as_bits(odd ? c : s) ^ (quarter & 2) << 30);
#endif
}

// Two normals from two words: radius √(−2 ln u), u = (x0 + ½)/2³², and the angle of x1.
GENTOOL_FN void box_muller(uint32_t x0, uint32_t x1, float& first, float& second) {
  const float log_c[] = {0.333333313f, -0.250008196f, 0.200012267f, -0.166233569f,
                         0.142017573f, -0.131601825f, 0.12761578f,  -0.0763449892f};
  const float u = static_cast<float>(x0) * 2.32830644e-10f + 1.16415322e-10f;
  const uint32_t bits = as_bits(u);
  const int32_t exponent = static_cast<int32_t>(bits - 0x3F3504F3u) >> 23;
  const float f = as_float(bits - (static_cast<uint32_t>(exponent) << 23)) - 1.0f;
  const float square = f * f;
  const float tail = f * square * polynomial_exact(log_c, f) - 0.5f * square;
  const float log_u = (tail + f) + static_cast<float>(exponent) * 0.693147182f;
  const float radius = sqrt_(-2.0f * log_u);
  float cosine, sine;
  unit_circle(x1, cosine, sine);
  first = radius * cosine;
  second = radius * sine;
}

GENTOOL_FN void normals(const Words& w, float (&out)[4]) {
  box_muller(w.x[0], w.x[1], out[0], out[1]);
  box_muller(w.x[2], w.x[3], out[2], out[3]);
}

// A multiple of 2^−bits in [0, 1).
GENTOOL_FN float unit_interval(uint32_t x, int bits) {
  return static_cast<float>(x >> (32 - bits)) * as_float(static_cast<uint32_t>(127 - bits) << 23);
}

}  // namespace gentool
