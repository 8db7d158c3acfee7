// The CPU kernels under torch's CPU key.
#include <ATen/Parallel.h>

#include "bindings_ops.h"

namespace gentool {
namespace {

// Below this many elements a thread costs more than it saves.
constexpr int64_t kGrain = 8192;

struct CpuLaunch {
  static int guard(const Tensor&) { return 0; }
  static const Tensor& loadable(const Tensor& target, const Tensor&) { return target; }

  static Tensor scratch(const Tensor& x, int64_t rows, int64_t width) {
    const int64_t segments = gentool_cpu_segments(width);
    return segments > 1 ? at::empty({rows, segments}, x.options().dtype(at::kDouble)) : Tensor();
  }

  // Shares the units out among torch's threads; which thread does which changes no result.
  template <class Args>
  static void share(const Args& args, void (*kernel)(const Args*, int64_t, int64_t)) {
    const int64_t units = gentool_cpu_units(args.rows, args.width);
    const int64_t per_unit = std::max<int64_t>(args.rows * args.width / units, 1);
    at::parallel_for(0, units, std::max<int64_t>(kGrain / per_unit, 1),
                     [&](int64_t begin, int64_t end) { kernel(&args, begin, end); });
  }

  static void fold(const double* partial, int64_t rows, int64_t width, PerRow sums, Dtype dtype) {
    if (partial != nullptr)
      gentool_cpu_fold(partial, rows, gentool_cpu_segments(width), sums, dtype == kFloat64);
  }

  static void bce(const BceArgs& args) {
    share(args, gentool_cpu_bce);
    fold(args.partial, args.rows, args.width, args.sums, args.logits.dtype);
  }

  static void reparam(const ReparamArgs& args) {
    share(args, gentool_cpu_reparam);
    fold(args.partial, args.rows, args.width, args.kl, args.mu.dtype);
  }

  static void bce_backward(const BceArgs& args) { share(args, gentool_cpu_bce_backward); }
  static void reparam_backward(const ReparamArgs& args) {
    share(args, gentool_cpu_reparam_backward);
  }
  static void draw(const DrawArgs& args) { share(args, gentool_cpu_draw); }
};

}  // namespace
}  // namespace gentool

TORCH_LIBRARY_IMPL(gentool, CPU, library) {
  gentool::Operations<gentool::CpuLaunch>::register_in(library);
}
