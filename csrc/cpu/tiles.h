// How the CPU kernels walk over rows.
//
// A tile is at most kTile elements: several whole rows where rows are short, a piece of one row
// where they are long. A tile's inputs are brought into flat arrays of the compute type (or used
// where they lie, if they are that already), so that every loop over elements is a plain one over
// `count` floats, whatever the dtypes, strides and width; the compiler vectorises each of them.
#pragma once

#include <algorithm>
#include <type_traits>

#include "../dtypes.h"

namespace gentool {

constexpr int kTile = 512;
constexpr int64_t kSegment = 16 * kTile;  // elements of a long row that make one unit of work

struct Tile {
  int64_t row, rows;          // first row, number of rows
  int64_t start;              // first position in the row
  int64_t count, width;       // elements in all, and in each row
  int64_t segment, segments;  // which unit of a long row, of how many
  bool first, last;           // within the segment
};

// Calls f(tile) for the tiles of units [begin, end).
template <class F>
void for_tiles(int64_t rows, int64_t width, int64_t begin, int64_t end, F f) {
  if (width <= kTile) {
    const int64_t step = kTile / std::max<int64_t>(width, 1);
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t row = unit * step, n = std::min(step, rows - row);
      f(Tile{row, n, 0, n * width, width, 0, 1, true, true});
    }
    return;
  }
  const int64_t segments = gentool_cpu_segments(width);
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t row = unit / segments, segment = unit % segments;
    const int64_t from = segment * kSegment, to = std::min(width, from + kSegment);
    for (int64_t start = from; start < to; start += kTile) {
      const int64_t n = std::min<int64_t>(kTile, to - start);
      f(Tile{row, 1, start, n, n, segment, segments, start == from, start + n == to});
    }
  }
}

template <class S>
S* address(const Rows& x, int64_t row, int64_t start) {
  return static_cast<S*>(x.data) + row * x.stride + start;
}

template <class T, class S>
void convert_in(const S* __restrict source, T* __restrict out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<T>(load(source[i]));
}

// The tile's elements of x as a flat array of T: in place if they are that, else in `buffer`.
template <class T>
const T* gather(const Rows& x, const Tile& tile, T* buffer) {
  const auto rows = [&](auto tag) -> const T* {
    using S = decltype(tag);
    const bool flat = tile.rows == 1 || x.stride == tile.width;
    if constexpr (std::is_same_v<S, T>) {
      if (flat) return address<S>(x, tile.row, tile.start);
    }
    if (flat) {
      convert_in(address<S>(x, tile.row, tile.start), buffer, tile.count);
    } else {
      for (int64_t r = 0; r < tile.rows; ++r)
        convert_in(address<S>(x, tile.row + r, tile.start), buffer + r * tile.width, tile.width);
    }
    return buffer;
  };
  return x.dtype == kUInt8 ? rows(typename Byte<T>::type{}) : with_float_type(x.dtype, rows);
}

// Where the tile's results go: straight to x if it is a flat array of T, else `buffer`.
template <class T>
T* target_of(const Rows& x, const Tile& tile, T* buffer) {
  const bool same = x.dtype == (sizeof(T) == 8 ? kFloat64 : kFloat32);
  return same && (tile.rows == 1 || x.stride == tile.width) ? address<T>(x, tile.row, tile.start)
                                                            : buffer;
}

template <class T, class S>
void convert_out(const T* __restrict source, S* __restrict out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) store(out + i, static_cast<typename Compute<S>::type>(source[i]));
}

// Brings results from `buffer` to x, where `target_of` chose the buffer.
template <class T>
void scatter(const Rows& x, const Tile& tile, const T* results) {
  with_float_type(x.dtype, [&](auto tag) {
    using S = decltype(tag);
    if (static_cast<const void*>(results) == address<S>(x, tile.row, tile.start)) return;
    for (int64_t r = 0; r < tile.rows; ++r)
      convert_out(results + r * tile.width, address<S>(x, tile.row + r, tile.start), tile.width);
  });
}

// Each row's value, repeated for the elements of the tile.
template <class T>
void spread(const PerRow& x, const Tile& tile, T* out) {
  for (int64_t r = 0; r < tile.rows; ++r)
    std::fill_n(out + r * tile.width, tile.width,
                static_cast<const T*>(x.data)[(tile.row + r) * x.stride]);
}

// A sum in an order that depends on n alone: 32 running sums, then a tree.
template <class T>
double sum(const T* x, int64_t n) {
  constexpr int kLanes = 32;
  T lane[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int k = 0; k < kLanes; ++k) lane[k] += x[i + k];
  for (int k = 0; i + k < n; ++k) lane[k] += x[i + k];
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int k = 0; k < half; ++k) lane[k] += lane[k + half];
  return lane[0];
}

// Sums a tile's values by row, adding to `running` the tiles of a long row, and writes what is done.
template <class T>
void add_sums(const Tile& tile, const T* values, double& running, PerRow sums, double* partial) {
  for (int64_t r = 0; r < tile.rows; ++r) {
    const double value = sum(values + r * tile.width, tile.width);
    running = tile.first ? value : running + value;
    if (!tile.last) continue;
    if (tile.segments > 1)
      partial[tile.row * tile.segments + tile.segment] = running;
    else
      static_cast<T*>(sums.data)[tile.row + r] = static_cast<T>(running);
  }
}

}  // namespace gentool
