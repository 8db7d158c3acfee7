// Reparameterised sampling and KL on the CPU: see gentool/ops/reference.py for what is computed.
#include "noise.h"

namespace gentool {
namespace {

template <class T>
void samples(const T* __restrict m, const T* __restrict v, const T* __restrict eps,
             T* __restrict z, T* __restrict divergence, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const T s = sigma(v[i]);
    z[i] = madd(s, eps[i], m[i]);
    divergence[i] = kl(m[i], v[i], s);
  }
}

template <class T>
void gradients(const T* __restrict m, const T* __restrict v, const T* __restrict eps,
               const T* __restrict gz, const T* __restrict gk, T* __restrict gm,
               T* __restrict gv, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const T s = sigma(v[i]);
    gm[i] = madd(gk[i], m[i], gz[i]);
    gv[i] = T(0.5) * madd(gz[i] * s, eps[i], gk[i] * variance_excess(v[i], s));
  }
}

template <class T>
const T* noise_for(const ReparamArgs& a, const Tile& tile, T* buffer) {
  if (a.eps.data != nullptr) return gather(a.eps, tile, buffer);
  if constexpr (std::is_same_v<T, float>) {
    fill_noise(a.noise, tile, 0, buffer);
  } else {
    alignas(64) float narrow[kTile];
    fill_noise(a.noise, tile, 0, narrow);
    convert_in(narrow, buffer, tile.count);
  }
  return buffer;
}

template <class T>
void forward(const ReparamArgs& a, int64_t begin, int64_t end) {
  alignas(64) T m[kTile], v[kTile], eps[kTile], values[kTile], buffer[kTile];
  double running = 0;
  for_tiles(a.rows, a.width, begin, end, [&](const Tile& tile) {
    T* z = target_of(a.z, tile, buffer);
    samples(gather(a.mu, tile, m), gather(a.logvar, tile, v), noise_for(a, tile, eps), z, values,
            tile.count);
    scatter(a.z, tile, z);
    add_sums(tile, values, running, a.kl, a.partial);
  });
}

template <class T>
void backward(const ReparamArgs& a, int64_t begin, int64_t end) {
  alignas(64) T m[kTile], v[kTile], eps[kTile], gz[kTile], gk[kTile], gm[kTile], gv[kTile];
  for_tiles(a.rows, a.width, begin, end, [&](const Tile& tile) {
    spread(a.kl, tile, gk);
    T* grad_mu = target_of(a.grad_mu, tile, gm);
    T* grad_logvar = target_of(a.grad_logvar, tile, gv);
    gradients(gather(a.mu, tile, m), gather(a.logvar, tile, v), noise_for(a, tile, eps),
              gather(a.z, tile, gz), gk, grad_mu, grad_logvar, tile.count);
    scatter(a.grad_mu, tile, grad_mu);
    scatter(a.grad_logvar, tile, grad_logvar);
  });
}

}  // namespace
}  // namespace gentool

using namespace gentool;

void gentool::gentool_cpu_reparam(const ReparamArgs* a, int64_t begin, int64_t end) {
  a->mu.dtype == kFloat64 ? forward<double>(*a, begin, end) : forward<float>(*a, begin, end);
}

void gentool::gentool_cpu_reparam_backward(const ReparamArgs* a, int64_t begin, int64_t end) {
  a->mu.dtype == kFloat64 ? backward<double>(*a, begin, end) : backward<float>(*a, begin, end);
}
