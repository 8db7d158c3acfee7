// What translated PTX stands on: registers as bits, memory that a GPU would let it touch, and the
// instructions whose results are bounded rather than specified.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "cuda_runtime.h"

extern "C" {
extern long ptx_executed;  // instructions over all threads, but for moves, which mostly vanish
extern double ptx_error;   // of the approximate instructions, in parts of their bounds
}

namespace {

// The low bits of a register as another type.
template <class To, class From>
To as(From bits) {
  static_assert(sizeof(To) <= sizeof(From));
  To value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

template <class To, class From>
void put(To& target, From value) {
  if constexpr (std::is_integral_v<From>) {
    target = static_cast<To>(value);  // a narrow load fills a wide register, by its own sign
  } else {
    static_assert(sizeof target == sizeof value);
    memcpy(&target, &value, sizeof value);
  }
}

// N neighbours at an address; on a GPU they must be aligned to their size.
template <class T, int N>
T* at(uint64_t address) {
  static T nowhere[N];
  if (address % (sizeof(T) * N) == 0) return reinterpret_cast<T*>(address);
  emulation::fault = cudaErrorMisalignedAddress;
  return nowhere;
}

inline float flushed(float x) {
  return std::fabs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0f, x) : x;
}

template <class T>
bool unordered(T a, T b) {
  return std::isnan(a) || std::isnan(b);
}

// Of floats the other operand where one is NaN, unless the instruction asks for NaN.
template <class T>
T least(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) return std::fmin(a, b);
  return std::min(a, b);
}
template <class T>
T greatest(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) return std::fmax(a, b);
  return std::max(a, b);
}
inline float nan_least(float a, float b) { return unordered(a, b) ? NAN : least(a, b); }
inline float nan_greatest(float a, float b) { return unordered(a, b) ? NAN : greatest(a, b); }

// By as many bits as there are, or more, nothing is left but the sign.
template <class T>
T shifted_left(T x, uint32_t count) {
  return count < 8 * sizeof x ? static_cast<T>(x << count) : T(0);
}
template <class T>
T shifted_right(T x, uint32_t count) {
  constexpr uint32_t bits = 8 * sizeof x;
  return static_cast<T>(count < bits ? x >> count : x >> (bits - 1) >> 1);
}

inline double relative(double exact, double bound) { return exact * (1 + ptx_error * bound); }

// The bounds are those of the CUDA C++ Programming Guide ("Intrinsic Functions") and the PTX ISA.
inline float approximate_ex2(float x) { return float(relative(std::exp2(double(x)), 0x1.6ap-23)); }
inline float approximate_sqrt(float x) { return float(relative(std::sqrt(double(x)), 0x1p-23)); }
inline float approximate_rcp(float x) { return float(relative(1 / double(x), 0x1p-23)); }
inline double approximate_rcp(double x) { return relative(1 / x, 0x1p-20); }
inline float approximate_sin(float x) { return float(std::sin(double(x)) + ptx_error * 3.58e-7); }
inline float approximate_cos(float x) { return float(std::cos(double(x)) + ptx_error * 4.17e-7); }

inline float from_f16(uint16_t x) { return static_cast<float>(as<_Float16>(x)); }
inline float from_bf16(uint16_t x) { return as<float>(static_cast<uint32_t>(x) << 16); }

inline uint16_t to_f16_rn(float x) { return as<uint16_t>(static_cast<_Float16>(x)); }
inline uint16_t to_f16_rz(float x) {
  const uint16_t nearest = to_f16_rn(x);
  return static_cast<uint16_t>(nearest - (std::fabs(from_f16(nearest)) > std::fabs(x)));
}
inline uint16_t to_bf16_rz(float x) {
  return std::isnan(x) ? 0x7FFF : static_cast<uint16_t>(as<uint32_t>(x) >> 16);
}
inline uint16_t to_bf16_rn(float x) {
  const uint32_t bits = as<uint32_t>(x);
  return std::isnan(x) ? 0x7FFF : static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

}  // namespace
