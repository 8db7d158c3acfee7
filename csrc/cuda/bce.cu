// BCE with logits on the GPU: see gentool/ops/reference.py for what is computed.
#include "rows.cuh"

namespace gentool {

constexpr int kUnroll = 4;  // packs of each input in flight in a thread

// The first position at which a pack may begin; rows need not be a multiple of a pack apart.
template <int N>
__device__ __forceinline__ int head_of(const Rows& x, const Unit& u) {
  return static_cast<int>(-(u.row * x.stride + u.start) & (N - 1));
}

template <class S, class U, int N>
struct Inputs {
  Pack<S, N> x;
  Pack<U, N> t;
};

template <class S, class U, int N>
__global__ void __launch_bounds__(kBlock) bce_kernel(const BceArgs a, const Plan plan) {
  using T = typename Compute<S>::type;
  const Unit u = unit_at(plan, a.width);
  T total = 0;
  if (u.active) {
    const S* x = address<S>(a.logits, u.row, u.start);
    const U* t = address<U>(a.target, u.row, u.start);
    walk<N, kUnroll>(
        u, head_of<N>(a.logits, u),
        [&](int j) { return Inputs<S, U, N>{load_pack<N>(x + j), load_pack<N>(t + j)}; },
        [&](int, const Inputs<S, U, N>& in) {
          T sum = 0;
#pragma unroll
          for (int k = 0; k < N; ++k) sum += bce<T>(load(in.x.value[k]), load(in.t.value[k]));
          total += sum;
        },
        [&](int j) { total += bce<T>(load(x[j]), load(t[j])); });
  }
  put_sum(plan, u, group_sum(total, u), a.sums, a.partial);
}

template <class S, class U, int N>
__global__ void __launch_bounds__(kBlock) bce_backward_kernel(const BceArgs a, const Plan plan) {
  using T = typename Compute<S>::type;
  const Unit u = unit_at(plan, a.width);
  if (!u.active) return;
  const T grad = value_of<T>(a.sums, u.row);
  const S* x = address<S>(a.logits, u.row, u.start);
  const U* t = address<U>(a.target, u.row, u.start);
  S* out = address<S>(a.grad_logits, u.row, u.start);
  walk<N, kUnroll>(
      u, head_of<N>(a.logits, u),
      [&](int j) { return Inputs<S, U, N>{load_pack<N>(x + j), load_pack<N>(t + j)}; },
      [&](int j, const Inputs<S, U, N>& in) {
        Pack<S, N> result;
#pragma unroll
        for (int k = 0; k < N; ++k)
          store(&result.value[k], bce_slope<T>(load(in.x.value[k]), load(in.t.value[k])) * grad);
        store_pack<N>(out + j, result);
      },
      [&](int j) { store(out + j, bce_slope<T>(load(x[j]), load(t[j])) * grad); });
}

namespace {

// Whether packs of N begin at the same positions in all three tensors.
template <class S, class U, int N>
bool packable(const BceArgs& a, bool backward) {
  const auto apart = [&](const Rows& x) { return (x.stride - a.logits.stride) % N == 0; };
  return packs_fit<S, N>(a.logits) && packs_fit<U, N>(a.target) && apart(a.target) &&
         (!backward || (packs_fit<S, N>(a.grad_logits) && apart(a.grad_logits)));
}

template <class S, class U>
int launch(const BceArgs& a, bool backward, void* stream) {
  using T = typename Compute<S>::type;
  constexpr int kPack = 16 / sizeof(S);
  const bool packed = packable<S, U, kPack>(a, backward);
  const Plan plan = plan_for(a.rows, a.width, packed ? kPack : 1);
  if (backward)
    return start(packed ? bce_backward_kernel<S, U, kPack> : bce_backward_kernel<S, U, 1>, plan,
                 stream, a, plan);
  const int status =
      start(packed ? bce_kernel<S, U, kPack> : bce_kernel<S, U, 1>, plan, stream, a, plan);
  return status != 0 ? status : start_fold<T>(plan, a.rows, a.partial, a.sums, stream);
}

// Targets come in uint8, in the compute type, or in the type of the logits.
int dispatch(const BceArgs& a, bool backward, void* stream) {
  return with_float_type(a.logits.dtype, [&](auto tag) -> int {
    using S = decltype(tag);
    using T = typename Compute<S>::type;
    if (a.target.dtype == kUInt8) return launch<S, typename Byte<T>::type>(a, backward, stream);
    if (a.target.dtype == (std::is_same_v<T, double> ? kFloat64 : kFloat32))
      return launch<S, T>(a, backward, stream);
    if (a.target.dtype == a.logits.dtype) return launch<S, S>(a, backward, stream);
    return static_cast<int>(cudaErrorInvalidValue);
  });
}

}  // namespace
}  // namespace gentool

using namespace gentool;

int64_t gentool::gentool_cuda_segments(int64_t rows, int64_t width) {
  return plan_for(rows, width, 1).segments;
}

int gentool::gentool_cuda_bce(const BceArgs* a, void* stream) {
  return dispatch(*a, false, stream);
}

int gentool::gentool_cuda_bce_backward(const BceArgs* a, void* stream) {
  return dispatch(*a, true, stream);
}
