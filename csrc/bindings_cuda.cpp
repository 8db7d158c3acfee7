// The CUDA kernels under torch's CUDA key: on the current stream, with the device guarded.
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "bindings_ops.h"

namespace gentool {
namespace {

struct CudaLaunch {
  static c10::cuda::CUDAGuard guard(const Tensor& x) { return c10::cuda::CUDAGuard(x.device()); }

  // The kernels take targets in uint8, in the compute type and in the type of the logits.
  static Tensor loadable(const Tensor& target, const Tensor& logits) {
    const at::ScalarType type = target.scalar_type();
    const bool taken =
        type == at::kByte || type == sum_type(logits) || type == logits.scalar_type();
    return taken ? target : target.to(sum_type(logits));
  }

  static Tensor scratch(const Tensor& x, int64_t rows, int64_t width) {
    const int64_t segments = gentool_cuda_segments(rows, width);
    return segments > 1 ? at::empty({rows, segments}, x.options().dtype(at::kDouble)) : Tensor();
  }

  template <class Args>
  static void launch(const Args& args, int (*kernel)(const Args*, void*)) {
    const int status = kernel(&args, c10::cuda::getCurrentCUDAStream().stream());
    C10_CUDA_CHECK(static_cast<cudaError_t>(status));
  }

  static void bce(const BceArgs& args) { launch(args, gentool_cuda_bce); }
  static void bce_backward(const BceArgs& args) { launch(args, gentool_cuda_bce_backward); }
  static void reparam(const ReparamArgs& args) { launch(args, gentool_cuda_reparam); }
  static void reparam_backward(const ReparamArgs& args) {
    launch(args, gentool_cuda_reparam_backward);
  }
  static void draw(const DrawArgs& args) { launch(args, gentool_cuda_draw); }
};

}  // namespace
}  // namespace gentool

TORCH_LIBRARY_IMPL(gentool, CUDA, library) {
  gentool::Operations<gentool::CudaLaunch>::register_in(library);
}
