// What the CPU and CUDA bindings share: argument checks, and tensors seen as rows.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "kernels.h"

namespace gentool {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;

inline Dtype dtype_of(const Tensor& x, const char* name) {
  switch (x.scalar_type()) {
    case at::kFloat: return kFloat32;
    case at::kHalf: return kFloat16;
    case at::kBFloat16: return kBFloat16;
    case at::kDouble: return kFloat64;
    case at::kByte: return kUInt8;
    default: TORCH_CHECK_TYPE(false, name, " has dtype ", x.scalar_type(), ", expected float32, "
                              "float16, bfloat16 or float64 (a target may be uint8)");
  }
}

inline void check_like(const Tensor& x, const char* name, const Tensor& other,
                       const char* other_name) {
  TORCH_CHECK_VALUE(x.sizes() == other.sizes(), name, " has shape ", x.sizes(),
                    ", expected that of ", other_name, ", ", other.sizes());
  TORCH_CHECK_VALUE(x.device() == other.device(), name, " is on ", x.device(), ", expected ",
                    other_name, "'s ", other.device());
}

inline void check_rows(const Tensor& x, const char* name) {
  TORCH_CHECK_VALUE(x.dim() > 0, name, " must be (N, …), one row a sample, got a scalar");
  TORCH_CHECK_TYPE(x.is_floating_point(), name, " must be floating, got ", x.scalar_type());
}

inline void check_per_row(const Tensor& x, const char* name, const Tensor& rows) {
  TORCH_CHECK_VALUE(x.dim() == 1 && x.size(0) == rows.size(0), name, " has shape ", x.sizes(),
                    ", expected (", rows.size(0), ")");
  TORCH_CHECK_VALUE(x.device() == rows.device(), name, " is on ", x.device(), ", expected ",
                    rows.device());
}

inline at::ScalarType sum_type(const Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

inline int64_t width_of(const Tensor& x) {
  int64_t width = 1;
  for (int64_t d = 1; d < x.dim(); ++d) width *= x.size(d);
  return width;
}

// Whether each row is dense in C order, whatever lies between the rows.
inline bool has_dense_rows(const Tensor& x) {
  int64_t expected = 1;
  for (int64_t d = x.dim() - 1; d > 0; --d) {
    if (x.size(d) != 1 && x.stride(d) != expected) return false;
    expected *= x.size(d);
  }
  return true;
}

// `x`, or a contiguous copy where its rows are not dense.
inline Tensor with_dense_rows(const Tensor& x) { return has_dense_rows(x) ? x : x.contiguous(); }

// Whether both lie in memory in one and the same order, sample after sample (channels-last, say):
// then sums over a sample need no copy.
inline bool same_order(const Tensor& x, const Tensor& y) {
  return x.strides() == y.strides() && x.is_non_overlapping_and_dense() &&
         (x.size(0) <= 1 || x.stride(0) == width_of(x));
}

inline Rows rows_of(const Tensor& x, const char* name) {
  return {x.data_ptr(), x.dim() > 0 ? x.stride(0) : 0, dtype_of(x, name)};
}

inline PerRow per_row(const Tensor& x) { return {x.data_ptr(), x.dim() > 0 ? x.stride(0) : 0}; }

// The upstream gradient of a sum, in the sum's dtype; a broadcast scalar stays one.
inline Tensor as_sum_grad(const Tensor& grad, const Tensor& rows) {
  return grad.scalar_type() == sum_type(rows) ? grad : grad.to(sum_type(rows));
}

inline Noise noise_of(const OptionalTensor& step, int64_t key, int64_t row_offset,
                      const Tensor& like) {
  TORCH_CHECK_VALUE(step.has_value(), "either step or eps must be given");
  TORCH_CHECK_TYPE(step->scalar_type() == at::kLong && step->numel() == 1,
                   "step must be an int64 tensor of one element");
  TORCH_CHECK_VALUE(step->device() == like.device(), "step is on ", step->device(),
                    ", expected ", like.device());
  return {step->data_ptr<int64_t>(), static_cast<uint64_t>(key), row_offset};
}

}  // namespace gentool
