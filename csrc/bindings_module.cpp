// gentool._C: the facts of this build, for `gentool kernels status`. The operations themselves
// register with torch when the library is loaded.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

#ifdef GENTOOL_WITH_CUDA
#include <cuda_runtime_api.h>
#else
#define CUDART_VERSION 0
#endif

#ifndef GENTOOL_CUDA_TARGETS
#define GENTOOL_CUDA_TARGETS
#endif
#define GENTOOL_TEXT_OF(...) #__VA_ARGS__
#define GENTOOL_TEXT(...) GENTOOL_TEXT_OF(__VA_ARGS__)

namespace {

std::string compiler() {
#if defined(__clang__)
  return std::string("clang ") + __clang_version__;
#else
  return std::string("gcc ") + __VERSION__;
#endif
}

std::string vectors() {
#if defined(__AVX512F__)
  return "AVX-512";
#elif defined(__AVX2__)
  return "AVX2";
#elif defined(__ARM_NEON)
  return "NEON";
#else
  return "SSE2";
#endif
}

}  // namespace

PYBIND11_MODULE(_C, module) {
  module.doc() = "Facts about gentool's compiled kernels";
  std::vector<std::string> devices = {"cpu"};
  if (CUDART_VERSION > 0) devices.push_back("cuda");
  module.attr("devices") = devices;
  module.attr("dtypes") = std::vector<std::string>{"float32", "float16", "bfloat16", "float64"};
  module.attr("compiler") = compiler();
  module.attr("cpu_vectors") = vectors();
  module.attr("cuda_version") = CUDART_VERSION;
  module.attr("cuda_targets") = GENTOOL_TEXT(GENTOOL_CUDA_TARGETS);
#ifdef _OPENMP
  module.attr("threads") = "OpenMP, torch's own";
#else
  module.attr("threads") = "one";
#endif
}
