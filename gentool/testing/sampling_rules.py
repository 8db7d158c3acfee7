"""Rules about sampling: right shapes, one seed one picture, nothing else disturbed."""

from __future__ import annotations

import torch

from gentool import options
from gentool.noise import sampling_noise
from gentool.testing.subject import CLASSES, Candidate, Skip, demand, first_difference

CLOSE = 1e-4


def samples(subject: Candidate) -> None:
    """prior and sample give the shapes, types and ranges of the contract."""
    model = subject.prepared().eval()
    z = model.prior(3, sampling_noise(0))
    wanted = (3, *model.latent_shape)
    demand(
        tuple(z.shape) == wanted and z.dtype == torch.float32,
        f"prior(3, noise) is {z.dtype} {tuple(z.shape)}; it must be float32 {wanted}, that is "
        "(n, *latent_shape)",
    )
    for n in (3, 1):
        x = subject.samples(model, n)
        demand(
            tuple(x.shape) == (n, *subject.data.shape),
            f"sample of {n} latents is {tuple(x.shape)}; it must be {(n, *subject.data.shape)}",
        )
        demand(bool(torch.isfinite(x).all()), "samples of a fresh model hold NaN or infinity")
        if subject.data.kind == "image":
            low, high = x.min().item(), x.max().item()
            demand(
                low >= 0 and high <= 1,
                f"samples reach from {low:.3g} to {high:.3g}; images must lie in [0, 1], so map "
                "tanh by (x + 1) / 2, and clamp what has no bounds",
            )


def seed(subject: Candidate) -> None:
    """One seed gives one picture, another seed another, with and without --draw."""
    model = subject.prepared()
    for draw in (False, True):
        torch.manual_seed(1)
        once = subject.samples(model, seed=3, draw=draw)
        torch.manual_seed(2)
        again = subject.samples(model, seed=3, draw=draw)
        demand(
            torch.equal(once, again),
            "one seed gives two different samples; draw from `noise`, not from torch's global "
            "generator, and keep dropout and batch statistics to training mode",
        )
        other = subject.samples(model, seed=4, draw=draw)
        demand(
            not torch.equal(once, other),
            "another seed gives the same samples: sample() ignores z (or prior() its noise); "
            "make x from z",
        )


def rows(subject: Candidate) -> None:
    """A sample does not depend on how many are drawn with it."""
    model = subject.prepared()
    few, many = subject.samples(model, 3), subject.samples(model, 6)[:3]
    gap = (few - many).abs().max().item()
    demand(
        gap <= CLOSE * max(1.0, few.abs().max().item()),
        f"the first 3 of 6 samples differ by {gap:.2g} from 3 samples; rows must not mix, so use "
        "running statistics in eval mode, and draw noise whose first dimension counts rows",
    )
    whole = model.prior(6, sampling_noise(5))
    part = model.prior(2, sampling_noise(5, row_offset=4))
    demand(
        torch.equal(whole[4:], part),
        "prior() gives rows 4 and 5 other values when they are drawn alone; draw from `noise` "
        "with shape (n, …) once, without sorting or normalising over rows",
    )


def gradients(subject: Candidate) -> None:
    """sample() passes gradients to z, and those of one row to that row alone."""
    model = subject.prepared().eval()
    z = model.prior(3, sampling_noise(0)).requires_grad_()
    x = model.sample(z, subject.labels(3))
    found = None
    if x.requires_grad:
        weights = torch.linspace(0.5, 1.5, x[1].numel()).view_as(x[1])
        (found,) = torch.autograd.grad((x[1] * weights).sum(), z, allow_unused=True)
    demand(
        found is not None,
        "sample() passes no gradient to z, so nothing can be inverted, restored or edited; take "
        "no_grad, detach, rounding and numpy out of it",
    )
    assert found is not None
    demand(bool(torch.isfinite(found).all()), "the gradient of sample() holds NaN or infinity")
    demand(bool((found[1] != 0).any()), "the gradient of a sample by its own z is zero everywhere")
    demand(
        bool((found[[0, 2]] == 0).all()),
        "a sample has a gradient by the z of another row; rows must not mix",
    )


def side_effects(subject: Candidate) -> None:
    """Sampling changes neither the model nor torch's generator, so training goes on undisturbed."""
    model = subject.prepared()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    generator = torch.get_rng_state()
    labels = subject.labels(4)
    torch.set_rng_state(generator)
    subject.samples(model, labels=labels, draw=True)
    demand(
        torch.equal(generator, torch.get_rng_state()),
        "sampling draws from torch's global generator; draw from `noise`",
    )
    changed = first_difference(before, model.state_dict())
    demand(changed is None, f"sampling in eval mode changes {changed!r}")


def labels(subject: Candidate) -> None:
    """A conditional model gives each row the class that was asked for, and needs labels."""
    named = {f.name for f in options.fields_of(subject.spec.config)}
    if not subject.conditional:
        if "conditional" not in named:
            raise Skip("the model is not class-conditional")
        given = {**subject.given, "conditional": True}
        config = options.build(subject.spec.config, given)
        subject = Candidate(**{**vars(subject), "config": config, "given": given})
        demand(
            subject.conditional,
            "with conditional=True the model's attribute `classes` is not the number of classes",
        )
    model = subject.prepared()
    demand(
        getattr(model, "classes", 0) == len(CLASSES),
        f"model.classes is {getattr(model, 'classes', 0)}, the data has {len(CLASSES)} classes",
    )
    zeros = torch.zeros(4, dtype=torch.int64)
    ones = torch.tensor([0, 1, 0, 0])
    a, b = subject.samples(model, labels=zeros), subject.samples(model, labels=ones)
    demand(not torch.equal(a[1], b[1]), "another label gives the same sample; use the labels")
    kept = (a - b)[[0, 2, 3]].abs().max().item()
    demand(kept <= CLOSE, "the label of one row changes the sample of another")
    try:
        model.eval().sample(model.prior(4, sampling_noise(0)))
    except (ValueError, TypeError):
        return
    demand(False, "a conditional model samples without labels; raise ValueError")
