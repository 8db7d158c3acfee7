// What the kernels are told: plain data, so that neither torch nor CUDA is needed to call them.
#pragma once

#include <cstdint>

namespace gentool {

enum Dtype : int32_t { kFloat32 = 0, kFloat16 = 1, kBFloat16 = 2, kFloat64 = 3, kUInt8 = 4 };

// A tensor seen as rows: row r begins at data + r·stride elements and is dense.
struct Rows {
  void* data;
  int64_t stride;
  Dtype dtype;
};

// One value for each row: float32, or float64 where the rows are float64.
struct PerRow {
  void* data;
  int64_t stride;  // 0 where one value serves all rows
};

// The noise's address; see math.h.
struct Noise {
  const int64_t* step;  // in the memory of the device
  uint64_t key;
  int64_t row_offset;
};

struct BceArgs {
  int64_t rows, width;
  Rows logits, target;
  PerRow sums;       // forward: out, dense. backward: the upstream gradient, in
  Rows grad_logits;  // backward: out
  double* partial;   // forward: scratch, rows × segments(width) doubles, where segments > 1
};

struct ReparamArgs {
  int64_t rows, width;
  Rows mu, logvar;
  Rows eps;  // data null where the noise is drawn
  Noise noise;
  Rows z;                    // forward: out. backward: ∂z, in
  PerRow kl;                 // forward: out, dense. backward: ∂kl, in
  Rows grad_mu, grad_logvar; // backward: out
  double* partial;           // as in BceArgs
};

struct DrawArgs {
  int64_t rows, width;
  Noise noise;
  Rows out;
  int32_t normal;  // 1: standard normal, 0: uniform in [0, 1)
};

extern "C" {

// CPU. Work is cut into units whose number depends on the shape alone, and each unit's result
// does not depend on the others, so the caller may share them out among threads as it likes.
int64_t gentool_cpu_units(int64_t rows, int64_t width);
int64_t gentool_cpu_segments(int64_t width);
void gentool_cpu_bce(const BceArgs* args, int64_t begin, int64_t end);
void gentool_cpu_bce_backward(const BceArgs* args, int64_t begin, int64_t end);
void gentool_cpu_reparam(const ReparamArgs* args, int64_t begin, int64_t end);
void gentool_cpu_reparam_backward(const ReparamArgs* args, int64_t begin, int64_t end);
void gentool_cpu_draw(const DrawArgs* args, int64_t begin, int64_t end);
// Adds up each row's partial sums, in order; needed where segments(width) > 1.
void gentool_cpu_fold(const double* partial, int64_t rows, int64_t segments, PerRow sums,
                      int32_t wide);

// CUDA, on the current device and the given cudaStream_t. The result is a cudaError_t.
int64_t gentool_cuda_segments(int64_t rows, int64_t width);
int gentool_cuda_bce(const BceArgs* args, void* stream);
int gentool_cuda_bce_backward(const BceArgs* args, void* stream);
int gentool_cuda_reparam(const ReparamArgs* args, void* stream);
int gentool_cuda_reparam_backward(const ReparamArgs* args, void* stream);
int gentool_cuda_draw(const DrawArgs* args, void* stream);

}  // extern "C"

}  // namespace gentool
