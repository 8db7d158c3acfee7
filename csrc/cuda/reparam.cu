// Reparameterised sampling and KL, and noise alone, on the GPU: see gentool/ops/reference.py and
// gentool/ops/philox.py for what is computed.
#include "rows.cuh"

namespace gentool {

// Elements that a thread handles at once: 16 bytes of storage, and at least one Philox counter,
// which serves four neighbours.
template <class S>
constexpr int kPackOf = sizeof(S) == 2 ? 8 : 4;

// Blocks that a multiprocessor is to hold, which bounds the registers of a thread. Left alone, ptxas
// spills to fit one block more.
template <class S, bool PACKED>
constexpr int kResident = sizeof(S) == 8 ? 2 : (sizeof(S) == 4 ? 4 : 3) + PACKED;

// N neighbours of a row from position j on. PACKED: they are all there and aligned. Otherwise one
// by one up to the row's end; what lies beyond is left as it is.
template <bool PACKED, int N, class S>
__device__ __forceinline__ void read(const S* row, int j, int end, Pack<S, N>& out) {
  if constexpr (PACKED) {
    out = load_pack<N>(row + j);
  } else {
#pragma unroll
    for (int k = 0; k < N; ++k)
      if (j + k < end) out.value[k] = row[j + k];
  }
}

template <bool PACKED, int N, class S>
__device__ __forceinline__ void write(S* row, int j, int end, const Pack<S, N>& in) {
  if constexpr (PACKED) {
    store_pack<N>(row + j, in);
  } else {
#pragma unroll
    for (int k = 0; k < N; ++k)
      if (j + k < end) row[j + k] = in.value[k];
  }
}

// What each element's noise is keyed by, on the device.
struct Address {
  RoundKeys keys;
  const int64_t* step;  // null where no noise is drawn
  int64_t row_offset;
};

// The words of the four neighbours from position j of a unit on, j a multiple of four. A segment
// begins at a multiple of four as well.
__device__ __forceinline__ Words words_at(const Address& noise, uint64_t step, const Unit& u,
                                          int j) {
  const uint32_t block = static_cast<uint32_t>(u.start >> 2) + (static_cast<uint32_t>(j) >> 2);
  return noise_words(block, static_cast<uint64_t>(noise.row_offset + u.row), step, noise.keys);
}

// ε at the positions j … j + N − 1 of a unit.
template <int N, class T>
__device__ __forceinline__ void draw_normals(const Address& noise, uint64_t step, const Unit& u,
                                             int j, T (&eps)[N]) {
#pragma unroll
  for (int k = 0; k < N; k += 4) {
    float quad[4];
    normals(words_at(noise, step, u, j + k), quad);
#pragma unroll
    for (int i = 0; i < 4; ++i) eps[k + i] = quad[i];
  }
}

// Calls visit at the first position of each N neighbours, the last of which may be fewer. Not
// unrolled: a visit is long, and the registers of two would cost more than the loop does.
template <int N, class Visit>
__device__ __forceinline__ void each_pack(const Unit& u, Visit visit) {
#pragma unroll 1
  for (int j = u.lane * N; j < u.count; j += u.group * N) visit(j);
}

template <class S, bool PACKED, bool DRAW>
__global__ void __launch_bounds__(kBlock, kResident<S, PACKED>)
    reparam_kernel(const ReparamArgs a, const Address noise, const Plan plan) {
  using T = typename Compute<S>::type;
  constexpr int N = kPackOf<S>;
  [[maybe_unused]] const uint64_t step = DRAW ? static_cast<uint64_t>(*noise.step) : 0;
  const Unit u = unit_at(plan, a.width);
  T total = 0;
  if (u.active) {
    const S* mu = address<S>(a.mu, u.row, u.start);
    const S* logvar = address<S>(a.logvar, u.row, u.start);
    S* out = address<S>(a.z, u.row, u.start);
    each_pack<N>(u, [&](int j) {
      Pack<S, N> m = {}, v = {}, z;
      Pack<T, N> eps = {};
      read<PACKED>(mu, j, u.count, m);
      read<PACKED>(logvar, j, u.count, v);
      if constexpr (DRAW)
        draw_normals<N>(noise, step, u, j, eps.value);
      else
        read<PACKED>(address<T>(a.eps, u.row, u.start), j, u.count, eps);
      T sum = 0;
#pragma unroll
      for (int k = 0; k < N; ++k) {
        const T mean = load(m.value[k]), logs = load(v.value[k]), s = sigma(logs);
        store(&z.value[k], madd(s, eps.value[k], mean));
        if (PACKED || j + k < u.count) sum += kl(mean, logs, s);
      }
      total += sum;
      write<PACKED>(out, j, u.count, z);
    });
  }
  put_sum(plan, u, group_sum(total, u), a.kl, a.partial);
}

template <class S, bool PACKED, bool DRAW>
__global__ void __launch_bounds__(kBlock, kResident<S, PACKED>)
    reparam_backward_kernel(const ReparamArgs a, const Address noise, const Plan plan) {
  using T = typename Compute<S>::type;
  constexpr int N = kPackOf<S>;
  [[maybe_unused]] const uint64_t step = DRAW ? static_cast<uint64_t>(*noise.step) : 0;
  const Unit u = unit_at(plan, a.width);
  if (!u.active) return;
  const T grad_kl = value_of<T>(a.kl, u.row);
  const S* mu = address<S>(a.mu, u.row, u.start);
  const S* logvar = address<S>(a.logvar, u.row, u.start);
  const S* grad_z = address<S>(a.z, u.row, u.start);
  each_pack<N>(u, [&](int j) {
    Pack<S, N> m = {}, v = {}, g = {}, grad_mu, grad_logvar;
    Pack<T, N> eps = {};
    read<PACKED>(mu, j, u.count, m);
    read<PACKED>(logvar, j, u.count, v);
    read<PACKED>(grad_z, j, u.count, g);
    if constexpr (DRAW)
      draw_normals<N>(noise, step, u, j, eps.value);
    else
      read<PACKED>(address<T>(a.eps, u.row, u.start), j, u.count, eps);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const T mean = load(m.value[k]), logs = load(v.value[k]), s = sigma(logs);
      const T upstream = load(g.value[k]);
      store(&grad_mu.value[k], madd(grad_kl, mean, upstream));
      store(&grad_logvar.value[k],
            T(0.5) * madd(upstream * s, eps.value[k], grad_kl * variance_excess(logs, s)));
    }
    write<PACKED>(address<S>(a.grad_mu, u.row, u.start), j, u.count, grad_mu);
    write<PACKED>(address<S>(a.grad_logvar, u.row, u.start), j, u.count, grad_logvar);
  });
}

template <class S, bool PACKED, bool NORMAL>
__global__ void __launch_bounds__(kBlock)
    draw_kernel(const DrawArgs a, const Address noise, const Plan plan, const int bits) {
  constexpr int N = kPackOf<S>;
  const uint64_t step = static_cast<uint64_t>(*noise.step);
  const Unit u = unit_at(plan, a.width);
  if (!u.active) return;
  each_pack<N>(u, [&](int j) {
    Pack<S, N> out;
#pragma unroll
    for (int k = 0; k < N; k += 4) {
      const Words w = words_at(noise, step, u, j + k);
      float quad[4];
      if constexpr (NORMAL) {
        normals(w, quad);
      } else {
#pragma unroll
        for (int i = 0; i < 4; ++i) quad[i] = unit_interval(w.x[i], bits);
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) store(&out.value[k + i], quad[i]);
    }
    write<PACKED>(address<S>(a.out, u.row, u.start), j, u.count, out);
  });
}

namespace {

Address address_of(const Noise& noise) {
  return {round_keys(noise.key), noise.step, noise.row_offset};
}

// Rows whose positions 0, N, 2N, … can all be loaded as packs.
template <class S, int N>
bool aligned(const Rows& x) {
  return packs_fit<S, N>(x) && x.stride % N == 0;
}

template <class S, bool PACKED, bool DRAW>
int launch(const ReparamArgs& a, bool backward, void* stream) {
  using T = typename Compute<S>::type;
  const Plan plan = plan_for(a.rows, a.width, kPackOf<S>);
  const Address noise = address_of(a.noise);
  if (backward)
    return start(reparam_backward_kernel<S, PACKED, DRAW>, plan, stream, a, noise, plan);
  const int status = start(reparam_kernel<S, PACKED, DRAW>, plan, stream, a, noise, plan);
  return status != 0 ? status : start_fold<T>(plan, a.rows, a.partial, a.kl, stream);
}

int dispatch(const ReparamArgs& a, bool backward, void* stream) {
  return with_float_type(a.mu.dtype, [&](auto tag) -> int {
    using S = decltype(tag);
    using T = typename Compute<S>::type;
    constexpr int N = kPackOf<S>;
    const bool draw = a.eps.data == nullptr;
    const bool packed = a.width % N == 0 && aligned<S, N>(a.mu) && aligned<S, N>(a.logvar) &&
                        aligned<S, N>(a.z) && (draw || aligned<T, N>(a.eps)) &&
                        (!backward ||
                         (aligned<S, N>(a.grad_mu) && aligned<S, N>(a.grad_logvar)));
    if (packed)
      return draw ? launch<S, true, true>(a, backward, stream)
                  : launch<S, true, false>(a, backward, stream);
    return draw ? launch<S, false, true>(a, backward, stream)
                : launch<S, false, false>(a, backward, stream);
  });
}

}  // namespace
}  // namespace gentool

using namespace gentool;

int gentool::gentool_cuda_reparam(const ReparamArgs* a, void* stream) {
  return dispatch(*a, false, stream);
}

int gentool::gentool_cuda_reparam_backward(const ReparamArgs* a, void* stream) {
  return dispatch(*a, true, stream);
}

int gentool::gentool_cuda_draw(const DrawArgs* a, void* stream) {
  return with_float_type(a->out.dtype, [&](auto tag) -> int {
    using S = decltype(tag);
    constexpr int N = kPackOf<S>;
    const int bits = a->out.dtype == kFloat16 ? 11 : a->out.dtype == kBFloat16 ? 8 : 24;
    const bool packed = a->width % N == 0 && aligned<S, N>(a->out);
    const Plan plan = plan_for(a->rows, a->width, N);
    if (a->normal)
      return start(packed ? draw_kernel<S, true, true> : draw_kernel<S, false, true>, plan, stream,
                   *a, address_of(a->noise), plan, bits);
    return start(packed ? draw_kernel<S, true, false> : draw_kernel<S, false, false>, plan, stream,
                 *a, address_of(a->noise), plan, bits);
  });
}
