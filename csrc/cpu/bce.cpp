// BCE with logits on the CPU: see gentool/ops/reference.py for what is computed.
#include "tiles.h"

namespace gentool {
namespace {

template <class T>
void losses(const T* __restrict x, const T* __restrict t, T* __restrict out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = bce(x[i], t[i]);
}

template <class T>
void slopes(const T* __restrict x, const T* __restrict t, const T* __restrict grad,
            T* __restrict out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = bce_slope(x[i], t[i]) * grad[i];
}

template <class T>
void forward(const BceArgs& a, int64_t begin, int64_t end) {
  alignas(64) T x[kTile], t[kTile], values[kTile];
  double running = 0;
  for_tiles(a.rows, a.width, begin, end, [&](const Tile& tile) {
    losses(gather(a.logits, tile, x), gather(a.target, tile, t), values, tile.count);
    add_sums(tile, values, running, a.sums, a.partial);
  });
}

template <class T>
void backward(const BceArgs& a, int64_t begin, int64_t end) {
  alignas(64) T x[kTile], t[kTile], grad[kTile], buffer[kTile];
  for_tiles(a.rows, a.width, begin, end, [&](const Tile& tile) {
    spread(a.sums, tile, grad);
    T* out = target_of(a.grad_logits, tile, buffer);
    slopes(gather(a.logits, tile, x), gather(a.target, tile, t), grad, out, tile.count);
    scatter(a.grad_logits, tile, out);
  });
}

}  // namespace
}  // namespace gentool

using namespace gentool;

int64_t gentool::gentool_cpu_segments(int64_t width) {
  return width <= kSegment ? 1 : (width + kSegment - 1) / kSegment;
}

int64_t gentool::gentool_cpu_units(int64_t rows, int64_t width) {
  if (width > kTile) return rows * gentool_cpu_segments(width);
  const int64_t step = kTile / std::max<int64_t>(width, 1);
  return (rows + step - 1) / step;
}

void gentool::gentool_cpu_fold(const double* partial, int64_t rows, int64_t segments, PerRow sums,
                               int32_t wide) {
  for (int64_t r = 0; r < rows; ++r) {
    double total = 0;
    for (int64_t s = 0; s < segments; ++s) total += partial[r * segments + s];
    if (wide)
      static_cast<double*>(sums.data)[r] = total;
    else
      static_cast<float*>(sums.data)[r] = static_cast<float>(total);
  }
}

void gentool::gentool_cpu_bce(const BceArgs* a, int64_t begin, int64_t end) {
  a->logits.dtype == kFloat64 ? forward<double>(*a, begin, end) : forward<float>(*a, begin, end);
}

void gentool::gentool_cpu_bce_backward(const BceArgs* a, int64_t begin, int64_t end) {
  a->logits.dtype == kFloat64 ? backward<double>(*a, begin, end) : backward<float>(*a, begin, end);
}
