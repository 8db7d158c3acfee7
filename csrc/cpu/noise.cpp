// Philox noise on the CPU, sixteen counters at a time where the vectors are that wide.
#include "noise.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace gentool {
namespace {

constexpr int kBlocks = 128;  // counters in one batch; each gives four numbers

struct Counters {
  alignas(64) uint32_t block[kBlocks], row[kBlocks], high[kBlocks];
};

// Philox works on 32-bit words whose products have 64 bits. Each word lies in a 64-bit lane, so
// that one instruction multiplies a vector of them; what is left in a lane's upper half does no
// harm, since the next multiplication looks at the lower half alone. Compilers do not find this.
#if defined(__AVX512F__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
typedef uint64_t Lanes __attribute__((vector_size(8 * kLanes)));
typedef uint32_t Halves __attribute__((vector_size(4 * kLanes)));

GENTOOL_FN Lanes product(Lanes x, uint64_t factor) {
  const Lanes factors = Lanes{} + factor;
#if defined(__AVX512F__)
  return (Lanes)_mm512_mul_epu32((__m512i)x, (__m512i)factors);
#elif defined(__AVX2__)
  return (Lanes)_mm256_mul_epu32((__m256i)x, (__m256i)factors);
#else
  return (x & 0xFFFFFFFF) * factors;
#endif
}

GENTOOL_FN Lanes widened(const uint32_t* p) {
  Halves x;
  memcpy(&x, p, sizeof x);
  return __builtin_convertvector(x, Lanes);
}

// As `philox` in math.h, kLanes counters at a time; n is rounded up to that.
void words(const Counters& c, uint32_t step, uint64_t key, int n, uint32_t (&out)[4][kBlocks]) {
  for (int i = 0; i < n; i += kLanes) {
    Lanes x[4] = {widened(c.block + i), widened(c.row + i), Lanes{} + step, widened(c.high + i)};
    uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
    GENTOOL_UNROLL
    for (int round = 0; round < 10; ++round) {
      const Lanes p0 = product(x[0], 0xD2511F53u), p1 = product(x[2], 0xCD9E8D57u);
      x[0] = (p1 >> 32) ^ x[1] ^ uint64_t{k0};
      x[2] = (p0 >> 32) ^ x[3] ^ uint64_t{k1};
      x[1] = p1;
      x[3] = p0;
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    for (int k = 0; k < 4; ++k) {
      const Halves low = __builtin_convertvector(x[k], Halves);
      memcpy(out[k] + i, &low, sizeof low);
    }
  }
}

void normal_blocks(const uint32_t (&x)[4][kBlocks], int n, float* __restrict out) {
  for (int i = 0; i < n; ++i) {
    float z[4];
    normals({{x[0][i], x[1][i], x[2][i], x[3][i]}}, z);
    for (int k = 0; k < 4; ++k) out[4 * i + k] = z[k];
  }
}

void uniform_blocks(const uint32_t (&x)[4][kBlocks], int n, int bits, float* __restrict out) {
  for (int i = 0; i < n; ++i)
    for (int k = 0; k < 4; ++k) out[4 * i + k] = unit_interval(x[k][i], bits);
}

template <class S>
void draw(const DrawArgs& a, int bits, int64_t begin, int64_t end) {
  using T = typename Compute<S>::type;
  alignas(64) float values[kTile];
  for_tiles(a.rows, a.width, begin, end, [&](const Tile& tile) {
    fill_noise(a.noise, tile, bits, values);
    S* out = address<S>(a.out, tile.row, tile.start);
    for (int64_t i = 0; i < tile.count; ++i) store(out + i, static_cast<T>(values[i]));
  });
}

}  // namespace

void fill_noise(const Noise& noise, const Tile& tile, int bits, float* out) {
  const uint64_t step = static_cast<uint64_t>(*noise.step);
  const int64_t per_row = (tile.width + 3) / 4, total = tile.rows * per_row;
  const bool dense = tile.width % 4 == 0;  // else each row ends in numbers nobody wants
  Counters c;
  alignas(64) uint32_t random[4][kBlocks];
  alignas(64) float padded[4 * kBlocks];
  int64_t row = 0, block = 0;
  for (int64_t done = 0; done < total; done += kBlocks) {
    const int n = static_cast<int>(std::min<int64_t>(kBlocks, total - done));
    const int64_t first_row = row, first_block = block;
    for (int i = 0; i < n;) {  // the next n counters, row by row
      const int run = static_cast<int>(std::min<int64_t>(n - i, per_row - block));
      const uint64_t global = static_cast<uint64_t>(noise.row_offset + tile.row + row);
      for (int k = 0; k < run; ++k) {
        c.block[i + k] = static_cast<uint32_t>(tile.start / 4 + block + k);
        c.row[i + k] = static_cast<uint32_t>(global);
        c.high[i + k] = high_word(global, step);
      }
      i += run, block += run;
      if (block == per_row) block = 0, ++row;
    }
    float* batch = dense ? out + 4 * done : padded;
    words(c, static_cast<uint32_t>(step), noise.key, n, random);
    bits > 0 ? uniform_blocks(random, n, bits, batch) : normal_blocks(random, n, batch);
    if (dense) continue;
    int64_t r = first_row, b = first_block;
    for (int i = 0; i < n; b = 0, ++r) {
      const int64_t run = std::min<int64_t>(n - i, per_row - b);
      const int64_t keep = std::min<int64_t>(4 * run, tile.width - 4 * b);
      std::copy_n(padded + 4 * i, keep, out + r * tile.width + 4 * b);
      i += static_cast<int>(run);
    }
  }
}

}  // namespace gentool

using namespace gentool;

void gentool::gentool_cpu_draw(const DrawArgs* a, int64_t begin, int64_t end) {
  const int grain = a->out.dtype == kFloat16 ? 11 : a->out.dtype == kBFloat16 ? 8 : 24;
  const int bits = a->normal ? 0 : grain;
  with_float_type(a->out.dtype,
                  [&](auto tag) { draw<decltype(tag)>(*a, bits, begin, end); });
}
