// The six operations over a device's launchers.
//
// `Launch` says how a device does the work: forward(args, rows, width), and so on. Everything else,
// what is checked, copied and allocated, is the same on both devices and stands here once.
#pragma once

#include "bindings.h"

namespace gentool {

template <class Launch>
struct Operations {
  static BceArgs bce_args(const Tensor& logits, const Tensor& target) {
    BceArgs args{};
    args.rows = logits.size(0);
    args.width = width_of(logits);
    args.logits = rows_of(logits, "logits");
    args.target = rows_of(target, "target");
    // Samples of one order in memory lie one after the other, whatever stride(0) of one row says.
    if (!has_dense_rows(logits)) args.logits.stride = args.target.stride = args.width;
    return args;
  }

  static Tensor bce(const Tensor& logits, const Tensor& target) {
    check_rows(logits, "logits");
    check_like(target, "target", logits, "logits");
    [[maybe_unused]] const auto guard = Launch::guard(logits);
    const bool as_is = same_order(logits, target);
    const Tensor x = as_is ? logits : with_dense_rows(logits);
    const Tensor t = Launch::loadable(as_is ? target : with_dense_rows(target), x);
    Tensor sums = at::empty({x.size(0)}, x.options().dtype(sum_type(x)));
    BceArgs args = bce_args(x, t);
    args.sums = per_row(sums);
    const Tensor scratch = Launch::scratch(x, args.rows, args.width);
    args.partial = scratch.defined() ? scratch.data_ptr<double>() : nullptr;
    if (args.rows > 0) Launch::bce(args);
    return sums;
  }

  static Tensor bce_backward(const Tensor& grad, const Tensor& logits, const Tensor& target) {
    check_rows(logits, "logits");
    check_like(target, "target", logits, "logits");
    check_per_row(grad, "grad", logits);
    [[maybe_unused]] const auto guard = Launch::guard(logits);
    Tensor out = at::empty_like(logits);
    const bool as_is = same_order(logits, target) && out.strides() == logits.strides();
    const Tensor x = as_is ? logits : with_dense_rows(logits);
    const Tensor t = Launch::loadable(as_is ? target : with_dense_rows(target), x);
    Tensor direct = as_is || out.is_contiguous() ? out : at::empty(x.sizes(), x.options());
    const Tensor g = as_sum_grad(grad, x);
    BceArgs args = bce_args(x, t);
    args.sums = per_row(g);
    args.grad_logits = rows_of(direct, "grad_logits");
    if (!has_dense_rows(direct)) args.grad_logits.stride = args.width;
    if (x.numel() > 0) Launch::bce_backward(args);
    return direct.is_same(out) ? out : out.copy_(direct);
  }

  static void check_reparam(const Tensor& mu, const Tensor& logvar, const OptionalTensor& eps) {
    check_rows(mu, "mu");
    check_like(logvar, "logvar", mu, "mu");
    TORCH_CHECK_TYPE(logvar.scalar_type() == mu.scalar_type(), "logvar has dtype ",
                     logvar.scalar_type(), ", expected that of mu, ", mu.scalar_type());
    if (eps.has_value()) check_like(*eps, "eps", mu, "mu");
  }

  static ReparamArgs reparam_args(const Tensor& m, const Tensor& v, const Tensor& eps,
                                  int64_t key, const OptionalTensor& step, int64_t row_offset) {
    ReparamArgs args{};
    args.rows = m.size(0);
    args.width = width_of(m);
    args.mu = rows_of(m, "mu");
    args.logvar = rows_of(v, "logvar");
    if (eps.defined())
      args.eps = rows_of(eps, "eps");
    else
      args.noise = noise_of(step, key, row_offset, m);
    return args;
  }

  // ε in the compute type, with dense rows; undefined where it is to be drawn.
  static Tensor prepared(const OptionalTensor& eps, const Tensor& like) {
    return eps.has_value() ? with_dense_rows(eps->to(sum_type(like))) : Tensor();
  }

  static std::tuple<Tensor, Tensor> reparam(const Tensor& mu, const Tensor& logvar,
                                            const OptionalTensor& eps, int64_t key,
                                            const OptionalTensor& step, int64_t row_offset) {
    check_reparam(mu, logvar, eps);
    [[maybe_unused]] const auto guard = Launch::guard(mu);
    const Tensor m = with_dense_rows(mu), v = with_dense_rows(logvar), e = prepared(eps, mu);
    Tensor z = at::empty(m.sizes(), m.options());
    Tensor kl = at::empty({m.size(0)}, m.options().dtype(sum_type(m)));
    ReparamArgs args = reparam_args(m, v, e, key, step, row_offset);
    args.z = rows_of(z, "z");
    args.kl = per_row(kl);
    const Tensor scratch = Launch::scratch(m, args.rows, args.width);
    args.partial = scratch.defined() ? scratch.data_ptr<double>() : nullptr;
    if (args.rows > 0) Launch::reparam(args);
    return {z, kl};
  }

  static std::tuple<Tensor, Tensor> reparam_backward(
      const Tensor& grad_z, const Tensor& grad_kl, const Tensor& mu, const Tensor& logvar,
      const OptionalTensor& eps, int64_t key, const OptionalTensor& step, int64_t row_offset) {
    check_reparam(mu, logvar, eps);
    check_like(grad_z, "grad_z", mu, "mu");
    check_per_row(grad_kl, "grad_kl", mu);
    [[maybe_unused]] const auto guard = Launch::guard(mu);
    const Tensor m = with_dense_rows(mu), v = with_dense_rows(logvar), e = prepared(eps, mu);
    const Tensor gz = with_dense_rows(grad_z.to(mu.scalar_type()));
    const Tensor gk = as_sum_grad(grad_kl, m);
    Tensor grad_mu = at::empty(m.sizes(), m.options());
    Tensor grad_logvar = at::empty(m.sizes(), m.options());
    ReparamArgs args = reparam_args(m, v, e, key, step, row_offset);
    args.z = rows_of(gz, "grad_z");
    args.kl = per_row(gk);
    args.grad_mu = rows_of(grad_mu, "grad_mu");
    args.grad_logvar = rows_of(grad_logvar, "grad_logvar");
    if (m.numel() > 0) Launch::reparam_backward(args);
    return {grad_mu, grad_logvar};
  }

  static Tensor draw(c10::SymIntArrayRef shape, int64_t key, const Tensor& step,
                     int64_t row_offset, at::ScalarType dtype, bool normal) {
    [[maybe_unused]] const auto guard = Launch::guard(step);
    Tensor out = at::empty(C10_AS_INTARRAYREF_SLOW(shape), step.options().dtype(dtype));
    DrawArgs args{};
    args.rows = out.dim() > 0 ? out.size(0) : 1;
    args.width = width_of(out);
    args.noise = noise_of(step, key, row_offset, out);
    args.out = {out.data_ptr(), args.width, dtype_of(out, "noise")};
    args.normal = normal;
    if (out.numel() > 0) Launch::draw(args);
    return out;
  }

  static Tensor normal(c10::SymIntArrayRef shape, int64_t key, const Tensor& step,
                       int64_t row_offset, at::ScalarType dtype) {
    return draw(shape, key, step, row_offset, dtype, true);
  }

  static Tensor uniform(c10::SymIntArrayRef shape, int64_t key, const Tensor& step,
                        int64_t row_offset, at::ScalarType dtype) {
    return draw(shape, key, step, row_offset, dtype, false);
  }

  static void register_in(torch::Library& library) {
    library.impl("bce_with_logits", bce);
    library.impl("bce_with_logits_backward", bce_backward);
    library.impl("reparam_kl", reparam);
    library.impl("reparam_kl_backward", reparam_backward);
    library.impl("normal", normal);
    library.impl("uniform", uniform);
  }
};

}  // namespace gentool
