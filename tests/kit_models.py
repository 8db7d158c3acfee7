"""A model that keeps the contract, and breaks one rule of it for each `flaw`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from kit_door import Config
from torch import Tensor, nn
from torch.nn.functional import softplus

from gentool.model import Adam, Batch, Model, Objective, Player, Step
from gentool.nn import at_least_fp32
from gentool.noise import Noise
from gentool.spec import DataSpec


class Affine(nn.Module):
    """u = mean[label] + exp(log_scale)·z."""

    def __init__(self, size: int, classes: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.randn(max(1, classes), size))
        self.log_scale = nn.Parameter(torch.zeros(size))


class Good(Model):
    """A Gaussian fitted by maximum likelihood, and a judge who tells data from noise."""

    def __init__(self, config: Config, data: DataSpec) -> None:
        super().__init__()
        self.config, self.data, self.latent_shape = config, data, (data.size,)
        self.classes = len(data.classes) if config.conditional else 0
        self.body = Affine(data.size, self.classes)
        self.judge = nn.Linear(data.size, 1)
        self.register_buffer("drift", torch.zeros(()), persistent=not self.has("not persistent"))
        self.offset = torch.zeros(()) if self.has("attribute") else 0.0
        self.calls = 0
        if self.has("orphan"):
            self.orphan = nn.Linear(2, 2)
        if self.has("unused"):
            self.judge.spare = nn.Parameter(torch.zeros(3))
        if self.has("numpy start"):
            self.body.mean.data = torch.from_numpy(np.random.randn(*self.body.mean.shape)).float()
        if self.has("reads values"):
            assert self.body.mean.sum().item() < 1e9
        self.hidden = [nn.Linear(data.size, 1)]  # in a list: not a part of the model

    def has(self, flaw: str) -> bool:
        return self.config.flaw == flaw

    def players(self) -> Sequence[Player]:
        judge = self.hidden[0] if self.has("not a part") else self.judge
        judge = nn.ModuleList([self.judge, self.body]) if self.has("shared") else judge
        rate = 0.0 if self.has("stands still") else 1e-2
        after = self.by_chance if self.has("chance") else None
        return [
            Player("fit", self.body, self.fit_loss, Adam(rate), steps=2, after_step=after),
            Player("judge", judge, self.judge_loss, Adam(1e-3)),
        ]

    def by_chance(self) -> None:
        self.body.mean.add_(float(np.random.randn()))

    def inward(self, x: Tensor) -> Tensor:
        u = x.flatten(1)
        return torch.logit(u.clamp(0.01, 0.99)) if self.data.kind == "image" else u

    def standard(self, u: Tensor, labels: Tensor | None) -> Tensor:
        mean = self.body.mean[0] if not self.classes else self.body.mean[labels]
        return (u - mean) * torch.exp(-self.body.log_scale)

    def log_prob(self, u: Tensor, labels: Tensor | None) -> Tensor:
        z = self.standard(u, labels)
        constant = 0.0 if self.has("no constant") else 0.5 * math.log(2 * math.pi)
        return -(0.5 * z.square() + self.body.log_scale + constant).sum(1)

    def fit_loss(self, batch: Batch, step: Step) -> Objective:
        if self.data.shape in ((1,), (3, 17, 23)) and self.has("one size"):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
        nll = -self.log_prob(self.inward(batch.x), batch.labels)
        if self.training:
            self.drift += 1
            self.offset, self.calls = self.offset + 1, self.calls + 1
        loss = nll.sum() if self.has("sum") else nll if self.has("vector") else nll.mean()
        if self.has("detached"):
            loss = loss.detach().requires_grad_()
            loss = loss.detach()
        if self.has("infinite"):
            loss = loss / 0
        if self.has("half"):
            loss = loss.to(torch.float16)
        if self.has("counter"):
            loss = loss * (1 + 0.1 * self.calls)
        if self.has("meddles"):
            self.judge.weight.data.add_(1.0)
        if self.has("no objective"):
            return loss  # type: ignore[return-value]
        return Objective(loss, {"nll": 1.0 if self.has("number") else nll.mean()})

    def judge_loss(self, batch: Batch, step: Step) -> Objective:
        u = self.inward(batch.x)
        fake = step.noise.normal("fake", tuple(u.shape))
        judge = self.hidden[0] if self.has("not a part") else self.judge
        real, forged = (at_least_fp32(judge(v)) for v in (u, fake))
        loss = softplus(-real).mean() + softplus(forged).mean()
        if self.has("shared"):
            loss = loss + self.body.mean.sum() + self.body.log_scale.sum()
        return Objective(loss)

    def prior(self, n: int, noise: Noise) -> Tensor:
        if self.has("prior shape"):
            return noise.normal("z", (n, self.data.size + 1))
        return super().prior(n, noise)

    def sample(self, z: Tensor, labels: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        if self.classes and labels is None:
            raise ValueError("this model is class-conditional and needs labels")
        if self.has("ignores seed"):
            z = torch.zeros_like(z)
        if self.has("global"):
            z = torch.randn_like(z)
        if self.has("over rows"):
            z = z - z.mean(0)
        if self.has("no gradient"):
            z = z.detach()
        if self.has("wastes chance"):
            torch.rand(1)
        if self.has("writes"):
            self.drift += 1
        if self.has("ignores labels") or not self.classes:
            mean = self.body.mean[0]
        else:
            mean = self.body.mean[labels]
        u = mean + torch.exp(self.body.log_scale) * z
        if self.has("not persistent"):
            u = u + 0.1 * self.drift
        if self.has("attribute"):
            u = u + self.offset
        if self.data.kind == "image":
            x = torch.tanh(u) if self.has("tanh") else torch.sigmoid(u)
        else:
            x = u
        return x if self.has("flat") else x.unflatten(1, self.data.shape)

    def encode(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        z = self.standard(self.inward(x), labels)
        return z - z.mean(0) if self.has("encodes over rows") else z

    def log_weights(self, batch: Batch, k: int, noise: Noise) -> Tensor:
        found = self.log_prob(self.inward(batch.x), batch.labels)
        if self.has("transposed"):
            return found[:, None].expand(-1, k)
        return found.expand(k, -1)

    def score(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        found = self.judge(self.inward(x))
        return found if self.has("column") else found.squeeze(1)
