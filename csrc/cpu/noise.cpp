// Philox noise on the CPU, sixteen counters at a time where the vectors are that wide.
#include "noise.h"

namespace gentool {
namespace {

constexpr int kBlocks = 128;  // counters in one batch; each gives four numbers

struct Counters {
  alignas(64) uint32_t block[kBlocks], row[kBlocks], high[kBlocks];
};

void normal_blocks(const Counters& c, uint32_t step, uint64_t key, int n, float* __restrict out) {
  for (int i = 0; i < n; ++i) {
    const Words w = philox(c.block[i], c.row[i], step, c.high[i], key);
    float z[4];
    normals(w, z);
    for (int k = 0; k < 4; ++k) out[4 * i + k] = z[k];
  }
}

void uniform_blocks(const Counters& c, uint32_t step, uint64_t key, int n, int bits,
                    float* __restrict out) {
  for (int i = 0; i < n; ++i) {
    const Words w = philox(c.block[i], c.row[i], step, c.high[i], key);
    for (int k = 0; k < 4; ++k) out[4 * i + k] = unit_interval(w.x[k], bits);
  }
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
    if (bits > 0)
      uniform_blocks(c, static_cast<uint32_t>(step), noise.key, n, bits, batch);
    else
      normal_blocks(c, static_cast<uint32_t>(step), noise.key, n, batch);
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
