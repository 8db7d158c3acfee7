// The gradients of gentool/ops/library.py once more, in C++: the same formulas over the same
// operations, registered for the CPU and CUDA ahead of the Python ones, because those cost more
// than a small batch's kernels.
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

namespace {

using at::Tensor;
using OptionalTensor = std::optional<Tensor>;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

using Bce = Tensor(const Tensor&, const Tensor&);
using BceBackward = Tensor(const Tensor&, const Tensor&, const Tensor&);
using Pair = std::tuple<Tensor, Tensor>;
using Reparam = Pair(const Tensor&, const Tensor&, const OptionalTensor&, int64_t,
                     const OptionalTensor&, int64_t);
using ReparamBackward = Pair(const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                             const OptionalTensor&, int64_t, const OptionalTensor&, int64_t);

template <class Signature>
c10::TypedOperatorHandle<Signature> find(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
}

bool recorded(const Tensor& a, const Tensor& b) {
  return at::GradMode::is_enabled() && (a.requires_grad() || b.requires_grad());
}

// Calls an operation below autograd, except where a graph of the backward pass is wanted: then
// through it, so that a second differentiation meets the refusal that library.py registers.
template <class Op, class... Args>
auto call_backward(const Op& op, const Args&... args) {
  std::optional<at::AutoDispatchBelowAutograd> below;
  if (!at::GradMode::is_enabled()) below.emplace();
  return op.call(args...);
}

struct BceFunction : Function<BceFunction> {
  static Tensor forward(AutogradContext* context, const Tensor& logits, const Tensor& target) {
    static const auto op = find<Bce>("gentool::bce_with_logits");
    at::AutoDispatchBelowADInplaceOrView below;
    context->save_for_backward({logits, target});
    return op.call(logits, target);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    static const auto op = find<BceBackward>("gentool::bce_with_logits_backward");
    const auto saved = context->get_saved_variables();
    return {call_backward(op, grads[0], saved[0], saved[1]), Tensor()};
  }
};

Tensor bce(const Tensor& logits, const Tensor& target) {
  if (recorded(logits, target)) return BceFunction::apply(logits, target);
  static const auto op = find<Bce>("gentool::bce_with_logits");
  at::AutoDispatchBelowADInplaceOrView below;
  return op.call(logits, target);
}

OptionalTensor optional(const Tensor& x) { return x.defined() ? OptionalTensor(x) : std::nullopt; }

struct ReparamFunction : Function<ReparamFunction> {
  static variable_list forward(AutogradContext* context, const Tensor& mu, const Tensor& logvar,
                               const OptionalTensor& eps, int64_t key, const OptionalTensor& step,
                               int64_t row_offset) {
    static const auto op = find<Reparam>("gentool::reparam_kl");
    at::AutoDispatchBelowADInplaceOrView below;
    context->save_for_backward({mu, logvar, eps.value_or(Tensor()), step.value_or(Tensor())});
    context->saved_data["key"] = key;
    context->saved_data["row_offset"] = row_offset;
    auto [z, kl] = op.call(mu, logvar, eps, key, step, row_offset);
    return {z, kl};
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    static const auto op = find<ReparamBackward>("gentool::reparam_kl_backward");
    const auto saved = context->get_saved_variables();
    auto [mu, logvar] =
        call_backward(op, grads[0], grads[1], saved[0], saved[1], optional(saved[2]),
                      context->saved_data["key"].toInt(), optional(saved[3]),
                      context->saved_data["row_offset"].toInt());
    return {mu, logvar, Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

Pair reparam(const Tensor& mu, const Tensor& logvar, const OptionalTensor& eps, int64_t key,
             const OptionalTensor& step, int64_t row_offset) {
  if (recorded(mu, logvar)) {
    auto results = ReparamFunction::apply(mu, logvar, eps, key, step, row_offset);
    return {results[0], results[1]};
  }
  static const auto op = find<Reparam>("gentool::reparam_kl");
  at::AutoDispatchBelowADInplaceOrView below;
  return op.call(mu, logvar, eps, key, step, row_offset);
}

}  // namespace

TORCH_LIBRARY_IMPL(gentool, AutogradCPU, library) {
  library.impl("bce_with_logits", bce);
  library.impl("reparam_kl", reparam);
}

TORCH_LIBRARY_IMPL(gentool, AutogradCUDA, library) {
  library.impl("bce_with_logits", bce);
  library.impl("reparam_kl", reparam);
}
