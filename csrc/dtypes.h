// Storage types and their conversion to the type computed in.
#pragma once

#include "kernels.h"
#include "math.h"

namespace gentool {

struct half16 {
  uint16_t bits;
};
struct bfloat16 {
  uint16_t bits;
};

// A byte t that is read as t/255 in double.
struct wide8 {
  uint8_t byte;
};

// The type that values of a storage type are computed in.
template <class S>
struct Compute {
  using type = float;
};
template <>
struct Compute<double> {
  using type = double;
};

// How bytes are stored that are read in the type T.
template <class T>
struct Byte {
  using type = uint8_t;
};
template <>
struct Byte<double> {
  using type = wide8;
};

GENTOOL_FN float load(float x) { return x; }
GENTOOL_FN double load(double x) { return x; }
GENTOOL_FN float load(uint8_t x) { return static_cast<float>(x) * (1.0f / 255.0f); }
GENTOOL_FN double load(wide8 x) { return x.byte / 255.0; }
GENTOOL_FN float load(bfloat16 x) { return as_float(static_cast<uint32_t>(x.bits) << 16); }

GENTOOL_FN float load(half16 x) {
#if defined(__CUDA_ARCH__)
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(x.bits));
  return value;
#else
  // Shift the exponent and mantissa into place, then correct the exponent's bias; subnormals by
  // letting a subtraction normalise them, infinities and NaN by a second correction.
  const uint32_t shifted = static_cast<uint32_t>(x.bits & 0x7FFF) << 13;
  const uint32_t exponent = shifted & 0x0F800000;
  const uint32_t regular = shifted + (exponent == 0x0F800000 ? 0x70000000u : 0x38000000u);
  const uint32_t subnormal = as_bits(as_float(shifted + 0x38800000u) - as_float(0x38800000u));
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000) << 16;
  return as_float((exponent == 0 ? subnormal : regular) | sign);
#endif
}

GENTOOL_FN void store(float* p, float x) { *p = x; }
GENTOOL_FN void store(double* p, double x) { *p = x; }

// Round to nearest, ties to even.
GENTOOL_FN void store(bfloat16* p, float x) {
#if defined(__CUDA_ARCH__)
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(p->bits) : "f"(x));
#else
  const uint32_t bits = as_bits(x);
  const uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
  p->bits = static_cast<uint16_t>((bits & 0x7FFFFFFF) > 0x7F800000 ? bits >> 16 | 0x40 : rounded);
#endif
}

GENTOOL_FN void store(half16* p, float x) {
#if defined(__CUDA_ARCH__)
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(p->bits) : "f"(x));
#else
  const uint32_t bits = as_bits(x) & 0x7FFFFFFF;
  const uint32_t sign = (as_bits(x) ^ bits) >> 16;
  const uint32_t regular = (bits - 0x38000000u + 0xFFF + (bits >> 13 & 1)) >> 13;
  const uint32_t subnormal = as_bits(as_float(bits) + 0.5f) - 0x3F000000u;
  const uint32_t overflow = bits > 0x7F800000 ? 0x7E00 : 0x7C00;
  const uint32_t value = bits >= 0x47800000 ? overflow : bits < 0x38800000 ? subnormal : regular;
  p->bits = static_cast<uint16_t>(value | sign);
#endif
}

// Calls f(S{}) for the storage type S that a tag names.
template <class F>
auto with_float_type(Dtype dtype, F f) {
  switch (dtype) {
    case kFloat16: return f(half16{});
    case kBFloat16: return f(bfloat16{});
    case kFloat64: return f(double{});
    default: return f(float{});
  }
}

}  // namespace gentool
