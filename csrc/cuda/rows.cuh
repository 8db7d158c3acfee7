// How the CUDA kernels walk over rows.
//
// A group of threads, a power of two from 1 to 256, takes one row, or one segment of a row where
// there are few and long ones. Which group, depends on the shape alone, and so does the order of
// every sum: no atomics, the same bits on every GPU. Positions are 64-bit.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <type_traits>

#include "../dtypes.h"

namespace gentool {

struct Plan {
  int group;                    // threads of a group
  int64_t segments, segment;    // of a row: how many, and how wide
  int64_t units;                // rows × segments
};

constexpr int kBlock = 256;
constexpr int64_t kEnoughThreads = 1 << 17;  // to fill a GPU of today

// `vector` is the number of elements that a thread loads at once.
inline Plan plan_for(int64_t rows, int64_t width, int vector) {
  Plan plan{1, 1, width, rows};
  if (rows > 0 && rows < 256 && width >= 65536) {
    const int64_t wanted = std::min<int64_t>(width / 8192, (1024 + rows - 1) / rows);
    plan.segment = (width / wanted + 63) / 64 * 64;  // keeps alignment, and Philox's fours
    plan.segments = (width + plan.segment - 1) / plan.segment;
    plan.units = rows * plan.segments;
  }
  // A warp is enough for a row, unless threads would lie idle or the row is long.
  const int64_t loads = (plan.segment + vector - 1) / vector;
  while (plan.group < loads && plan.group < kBlock &&
         (plan.group < 32 || plan.units * plan.group < kEnoughThreads || loads > 64 * plan.group))
    plan.group *= 2;
  return plan;
}

// Starts a kernel on a stream; the result is a cudaError_t.
template <class... Expected, class... Given>
int start(void (*kernel)(Expected...), const Plan& plan, void* stream, const Given&... args) {
  const int64_t per_block = kBlock / plan.group;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(
      std::min<int64_t>((plan.units + per_block - 1) / per_block, 1 << 30)));
  config.blockDim = dim3(kBlock);
  config.stream = static_cast<cudaStream_t>(stream);
  return static_cast<int>(cudaLaunchKernelEx(&config, kernel, args...));
}

// N elements that are loaded and stored together, 16 bytes at a time.
template <class S, int N>
struct alignas(sizeof(S) * N < 16 ? sizeof(S) * N : 16) Pack {
  S value[N];
};

template <int N, class S>
__device__ __forceinline__ Pack<S, N> load_pack(const S* p) {
  return *reinterpret_cast<const Pack<S, N>*>(p);
}

template <int N, class S>
__device__ __forceinline__ void store_pack(S* p, const Pack<S, N>& pack) {
  *reinterpret_cast<Pack<S, N>*>(p) = pack;
}

// Whether N elements of x can be loaded at once at every N-th position of a row's memory.
template <class S, int N>
bool packs_fit(const Rows& x) {
  return reinterpret_cast<uintptr_t>(x.data) % alignof(Pack<S, N>) == 0;
}

template <class S>
__device__ __forceinline__ S* address(const Rows& x, int64_t row, int64_t start) {
  return static_cast<S*>(x.data) + row * x.stride + start;
}

template <class T>
__device__ __forceinline__ T value_of(const PerRow& x, int64_t row) {
  return static_cast<const T*>(x.data)[row * x.stride];
}

// What one group does: a row, or a piece of one.
struct Unit {
  bool active;
  int64_t index, row, start, count;
  int lane, group;
};

__device__ __forceinline__ Unit unit_at(const Plan& plan, int64_t rows_width, int64_t base) {
  Unit u;
  u.group = plan.group;
  u.lane = static_cast<int>(threadIdx.x) & (plan.group - 1);
  u.index = base + threadIdx.x / plan.group;
  u.active = u.index < plan.units;
  u.row = plan.segments == 1 ? u.index : u.index / plan.segments;
  u.start = plan.segments == 1 ? 0 : (u.index - u.row * plan.segments) * plan.segment;
  const int64_t left = rows_width - u.start;
  u.count = left < plan.segment ? left : plan.segment;
  return u;
}

// Calls body(unit) for every unit of this block; the whole block takes part in each call.
template <class Body>
__device__ __forceinline__ void for_units(const Plan& plan, int64_t width, Body body) {
  const int64_t per_block = kBlock / plan.group;
  for (int64_t base = blockIdx.x * per_block; base < plan.units; base += gridDim.x * per_block)
    body(unit_at(plan, width, base));
}

// Visits a unit's elements: `one` at each position outside the packs, `fetch` and then `use` at
// the first position of each pack. UNROLL packs are fetched before the first is used.
template <int N, int UNROLL, class Fetch, class Use, class One>
__device__ __forceinline__ void walk(const Unit& u, int64_t head, Fetch fetch, Use use, One one) {
  head = head < u.count ? head : u.count;
  const int64_t packs = (u.count - head) / N, body = head + packs * N;
  for (int64_t i = u.lane; i < u.count - packs * N; i += u.group)
    one(i < head ? i : body + (i - head));
  for (int64_t first = u.lane; first < packs; first += UNROLL * u.group) {
    decltype(fetch(first)) fetched[UNROLL];
#pragma unroll
    for (int k = 0; k < UNROLL; ++k)
      if (first + k * u.group < packs) fetched[k] = fetch(head + (first + k * u.group) * N);
#pragma unroll
    for (int k = 0; k < UNROLL; ++k)
      if (first + k * u.group < packs) use(head + (first + k * u.group) * N, fetched[k]);
  }
}

// The sum of a group's values, in a fixed order, valid in its first lane. All threads of the
// block must call it.
template <class T>
__device__ __forceinline__ T group_sum(T value, const Unit& u) {
  __shared__ T of_warp[kBlock / 32];
  for (int offset = (u.group < 32 ? u.group : 32) / 2; offset > 0; offset /= 2)
    value += __shfl_xor_sync(0xFFFFFFFFu, value, offset);
  if (u.group <= 32) return value;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  if (threadIdx.x % 32 == 0) of_warp[warp] = value;
  __syncthreads();
  if (u.lane == 0) {
    value = T(0);
    for (int w = 0; w < u.group / 32; ++w) value += of_warp[warp + w];
  }
  __syncthreads();  // before the next unit's sums are written
  return value;
}

// Puts a unit's sum where it belongs: the row's result, or scratch for `fold`.
template <class T>
__device__ __forceinline__ void put_sum(const Plan& plan, const Unit& u, T sum, const PerRow& out,
                                        double* partial) {
  if (!u.active || u.lane != 0) return;
  if (plan.segments == 1)
    static_cast<T*>(out.data)[u.row] = sum;
  else
    partial[u.index] = static_cast<double>(sum);
}

// The second and last step for rows that were split: a block adds up a row's partial sums.
template <class T>
__global__ void __launch_bounds__(kBlock)
    fold_kernel(const double* partial, int64_t segments, PerRow out, const Plan plan) {
  for_units(plan, 0, [&](const Unit& u) {
    double sum = 0;
    for (int64_t s = u.lane; s < segments; s += kBlock) sum += partial[u.row * segments + s];
    sum = group_sum(sum, u);
    if (u.lane == 0) static_cast<T*>(out.data)[u.row] = static_cast<T>(sum);
  });
}

template <class T>
int start_fold(const Plan& plan, int64_t rows, const double* partial, const PerRow& out,
               void* stream) {
  if (plan.segments == 1) return 0;
  const Plan block_a_row{kBlock, 1, 0, rows};
  return start(fold_kernel<T>, block_a_row, stream, partial, plan.segments, out, block_a_row);
}

}  // namespace gentool
