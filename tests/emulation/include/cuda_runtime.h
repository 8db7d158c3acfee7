// A small stand-in for the CUDA runtime: runs kernels on the CPU, one block after another.
//
// Each thread of a block is a fiber (ucontext). A fiber runs until it meets __syncthreads or a
// shuffle, then waits there until all of its block, or its warp, have come. Blocks with odd
// numbers run their threads backwards, so that code which leans on an order shows it. A block in
// which nobody can go on (a barrier that some threads never reach) ends with an error.
//
// With GENTOOL_RUN_PTX, a launch runs the translation of the kernel's PTX instead (see ../ptx.py).
#pragma once

#include <dlfcn.h>
#include <ucontext.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

using cudaStream_t = void*;
enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidDeviceFunction = 98,
  cudaErrorMisalignedAddress = 716,
  cudaErrorLaunchFailure = 719
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
};

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {

struct Barrier {
  int size = 0, arrived = 0, generation = 0;
};

#ifdef GENTOOL_RUN_PTX
constexpr size_t kStack = 512 * 1024;  // every register of the PTX is a variable of its own
#else
constexpr size_t kStack = 64 * 1024;
#endif

struct Fiber {
  ucontext_t context;
  std::vector<char> stack;
  bool done;
};

struct Warp {
  Barrier barrier;
  uint64_t slot[2][32];  // alternating, so that a late reader still finds its value
};

inline std::vector<Fiber> fibers;
inline std::vector<Warp> warps;
inline Barrier block_barrier;
inline ucontext_t scheduler;
inline std::function<void()> body;
inline size_t current;
inline long progress;
inline cudaError_t fault;

#ifdef GENTOOL_RUN_PTX
// Each kernel's translation, by its mangled name; it runs in place of the C++ that nvcc was given.
using Translated = void (*)(void* const* arguments);

struct Translations {
  Translations(std::initializer_list<std::pair<const std::string, Translated>> more) {
    all().insert(more);
  }
  static std::map<std::string, Translated>& all();
  static Translated of(void* kernel) {
    Dl_info symbol;
    if (dladdr(kernel, &symbol) == 0 || symbol.dli_sname == nullptr) return nullptr;
    const auto found = all().find(symbol.dli_sname);
    return found == all().end() ? nullptr : found->second;
  }
};
#endif

inline void wait_at(Barrier& barrier) {
  const int generation = barrier.generation;
  ++progress;
  if (++barrier.arrived == barrier.size) {
    barrier.arrived = 0;
    ++barrier.generation;
    return;
  }
  while (barrier.generation == generation) swapcontext(&fibers[current].context, &scheduler);
}

inline void fiber_main() {
  body();
  fibers[current].done = true;
  ++progress;
  swapcontext(&fibers[current].context, &scheduler);
}

inline bool run_block(unsigned threads, bool backwards) {
  if (fibers.size() < threads) fibers.resize(threads);
  warps.assign((threads + 31) / 32, Warp{});
  for (auto& warp : warps) warp.barrier.size = 32;
  block_barrier = Barrier{static_cast<int>(threads)};
  for (unsigned i = 0; i < threads; ++i) {
    Fiber& fiber = fibers[i];
    fiber.stack.resize(kStack);
    fiber.done = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    makecontext(&fiber.context, fiber_main, 0);
  }
  for (unsigned left = threads; left > 0;) {
    const long before = progress;
    for (unsigned i = 0; i < threads; ++i) {
      current = backwards ? threads - 1 - i : i;
      if (fibers[current].done) continue;
      threadIdx = dim3(static_cast<unsigned>(current));
      swapcontext(&scheduler, &fibers[current].context);
      left -= fibers[current].done;
    }
    if (progress == before) return false;
  }
  return true;
}

}  // namespace emulation

inline void __syncthreads() {
  emulation::wait_at(emulation::block_barrier);
}

template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  const size_t self = emulation::current;
  auto& warp = emulation::warps[self / 32];
  const int buffer = warp.barrier.generation & 1;
  memcpy(&warp.slot[buffer][self % 32], &value, sizeof value);
  emulation::wait_at(warp.barrier);
  memcpy(&value, &warp.slot[buffer][(self % 32) ^ static_cast<unsigned>(mask)], sizeof value);
  return value;
}

template <class... Expected, class... Given>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Expected...),
                               const Given&... given) {
  const std::tuple<Expected...> args(given...);
#ifdef GENTOOL_RUN_PTX
  const auto translated = emulation::Translations::of(reinterpret_cast<void*>(kernel));
  if (translated == nullptr) return cudaErrorInvalidDeviceFunction;
  const auto addresses = std::apply(
      [](auto&... each) { return std::array<void*, sizeof...(each)>{(void*)&each...}; }, args);
  emulation::body = [&] { translated(addresses.data()); };
#else
  emulation::body = [&] { std::apply(kernel, args); };
#endif
  emulation::fault = cudaSuccess;
  gridDim = config->gridDim, blockDim = config->blockDim;
  for (unsigned b = 0; b < gridDim.x; ++b) {
    blockIdx = dim3(b);
    if (!emulation::run_block(blockDim.x, b % 2 == 1)) return cudaErrorLaunchFailure;
  }
  return emulation::fault;
}
