// How the CUDA kernels walk over rows.
//
// A group of threads, a power of two from 1 to 256, takes one row, or one segment of a row where
// there are few and long ones. Which group, depends on the shape alone, and so does the order of
// every sum: no atomics, the same bits on every GPU. Offsets of rows are 64-bit; positions within
// a segment are 32-bit, which halves the instructions spent on them.
//
// Kernels have external linkage, so that tests find them by name.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <type_traits>

#include "../dtypes.h"

namespace gentool {

constexpr int kBlock = 256;
constexpr int64_t kEnoughThreads = 1 << 17;  // to fill a GPU of today
constexpr int64_t kLongest = 1 << 30;        // segment, so that positions fit 32 bits
constexpr int64_t kMostBlocks = (int64_t{1} << 31) - 1;

struct Plan {
  int shift = 0, group = 1;       // threads of a group, and the logarithm of that
  int64_t segments = 1, segment;  // of a row: how many, and how wide
  int64_t units;                  // rows × segments
};

inline int64_t pieces(int64_t whole, int64_t piece) { return (whole + piece - 1) / piece; }

// `vector` is the number of elements that a thread loads at once.
inline Plan plan_for(int64_t rows, int64_t width, int vector) {
  Plan plan;
  int64_t wanted = pieces(width, kLongest);
  if (rows > 0 && rows < 256 && width >= 65536)
    wanted = std::max(wanted, std::min(width / 8192, pieces(1024, rows)));
  plan.segment = width;
  if (wanted > 1) {
    plan.segment = pieces(width / wanted, 64) * 64;  // keeps alignment, and Philox's fours
    plan.segments = pieces(width, plan.segment);
  }
  plan.units = rows * plan.segments;
  const int64_t loads = pieces(plan.segment, vector);
  // Where there are threads for everybody, one makes four loads, which share what it costs to find
  // the row; beyond a warp the threads' sums need barriers, so it makes many.
  const auto suffices = [&] {
    const int64_t most = plan.group < 32 ? 4 : 64;
    return plan.units * plan.group >= kEnoughThreads && loads <= most * plan.group;
  };
  while (plan.group < loads && plan.group < kBlock && !suffices()) plan.group = 1 << ++plan.shift;
  return plan;
}

// Starts a kernel on a stream, a group for each unit; the result is a cudaError_t.
template <class... Expected, class... Given>
int start(void (*kernel)(Expected...), const Plan& plan, void* stream, const Given&... args) {
  const int64_t blocks = pieces(plan.units, kBlock >> plan.shift);
  if (blocks > kMostBlocks) return static_cast<int>(cudaErrorInvalidConfiguration);
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
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
#if defined(__CUDA_ARCH__)
  // Spelt out, since nvcc takes the assignment of a Pack apart into stores of four bytes.
  if constexpr (sizeof pack % 16 == 0) {
    uint32_t words[sizeof pack / 4];
    memcpy(words, &pack, sizeof pack);
#pragma unroll
    for (int k = 0; k < static_cast<int>(sizeof pack) / 4; k += 4)
      asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" ::"l"(
                       __cvta_generic_to_global(reinterpret_cast<uint32_t*>(p) + k)),
                   "r"(words[k]), "r"(words[k + 1]), "r"(words[k + 2]), "r"(words[k + 3])
                   : "memory");
    return;
  }
#endif
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
  int64_t index, row, start;
  int count, lane, group;
};

// The unit of this thread's group. Integer divisions cost a dozen instructions each and 64-bit ones
// a hundred: a group's size is a power of two, and rows are divided only where they are split.
__device__ __forceinline__ Unit unit_at(const Plan& plan, int64_t width) {
  Unit u;
  u.group = plan.group;
  u.lane = static_cast<int>(threadIdx.x) & (plan.group - 1);
  u.index = static_cast<int64_t>(blockIdx.x) * (kBlock >> plan.shift) +
            static_cast<int>(threadIdx.x >> plan.shift);
  u.active = u.index < plan.units;
  u.row = u.index;
  u.start = 0;
  u.count = static_cast<int>(width);
  if (plan.segments > 1) {
    const uint32_t index = static_cast<uint32_t>(u.index);
    const uint32_t row = index / static_cast<uint32_t>(plan.segments);
    u.row = row;
    u.start = (index - row * static_cast<uint32_t>(plan.segments)) * plan.segment;
    const int64_t left = width - u.start;
    u.count = static_cast<int>(left < plan.segment ? left : plan.segment);
  }
  return u;
}

// Visits a unit's elements: `one` at each position outside the packs, `fetch` and then `use` at
// the first position of each pack. UNROLL packs are fetched before the first is used.
template <int N, int UNROLL, class Fetch, class Use, class One>
__device__ __forceinline__ void walk(const Unit& u, int head, Fetch fetch, Use use, One one) {
  head = head < u.count ? head : u.count;
  const int packs = static_cast<int>(static_cast<unsigned>(u.count - head) / N);
  const int body = head + packs * N;
  for (int i = u.lane; i < u.count - packs * N; i += u.group)
    one(i < head ? i : body + (i - head));
  for (int first = u.lane; first < packs; first += UNROLL * u.group) {
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
  const Unit u = unit_at(plan, 0);
  double sum = 0;
  for (int64_t s = u.lane; s < segments; s += kBlock) sum += partial[u.row * segments + s];
  sum = group_sum(sum, u);
  if (u.lane == 0) static_cast<T*>(out.data)[u.row] = static_cast<T>(sum);
}

template <class T>
int start_fold(const Plan& plan, int64_t rows, const double* partial, const PerRow& out,
               void* stream) {
  if (plan.segments == 1) return 0;
  Plan block_a_row;
  block_a_row.shift = 8, block_a_row.group = kBlock;
  block_a_row.segment = 0, block_a_row.units = rows;
  return start(fold_kernel<T>, block_a_row, stream, partial, plan.segments, out, block_a_row);
}

}  // namespace gentool
