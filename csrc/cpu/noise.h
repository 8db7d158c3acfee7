// Noise for a tile, in the CPU kernels.
#pragma once

#include "tiles.h"

namespace gentool {

// The tile's draws, flat: standard normals, or uniforms of `bits` bits where bits > 0.
void fill_noise(const Noise& noise, const Tile& tile, int bits, float* out);

}  // namespace gentool
