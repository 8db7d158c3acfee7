"""Plain eager training loops, written as example programs usually are.

A DataLoader with a per-sample transform, one optimizer step after another, `.item()` every step.
They are what `train_speed.py` compares with; networks and settings are those of gentool's models.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from gentool.data.dataset import Split


class Samples(Dataset[tuple[Tensor, int]]):
    """One picture and its label at a time, through Pillow, as the usual data set and transform do:

    a row of a tensor → numpy → Pillow image → numpy copy → tensor (H, W, C) → (C, H, W) → float.
    """

    def __init__(self, split: Split) -> None:
        x = torch.from_numpy(np.array(split.x))
        self.x = x[:, 0] if x.shape[1] == 1 else x.permute(0, 2, 3, 1).contiguous()
        labels = np.zeros(len(x), np.int64) if split.labels is None else split.labels
        self.labels = torch.from_numpy(np.array(labels))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        pixels, label = self.x[i], int(self.labels[i])
        image = Image.fromarray(pixels.numpy())
        copy = torch.from_numpy(np.array(image, np.uint8, copy=True))
        channels = copy.view(image.size[1], image.size[0], len(image.getbands()))
        return channels.permute((2, 0, 1)).contiguous().to(torch.float32).div(255), label


Batches = DataLoader[tuple[Tensor, int]]


def loader(split: Split, batch_size: int) -> Batches:
    return DataLoader(Samples(split), batch_size=batch_size, shuffle=True)


class VAE(nn.Module):
    """784-400-20, as in the well-known example."""

    def __init__(self, size: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.fc1, self.mu = nn.Linear(size, hidden), nn.Linear(hidden, latent)
        self.logvar = nn.Linear(hidden, latent)
        self.fc3, self.fc4 = nn.Linear(latent, hidden), nn.Linear(hidden, size)

    def loss(self, x: Tensor) -> Tensor:
        """−ELBO, summed over the batch, in nats."""
        x = x.flatten(1)
        h = F.relu(self.fc1(x))
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        x_hat = torch.sigmoid(self.fc4(F.relu(self.fc3(z))))
        bce = F.binary_cross_entropy(x_hat, x, reduction="sum")
        return bce - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())


def vae_epoch(
    model: VAE,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    device: torch.device,
) -> float:
    """One epoch; returns the mean training loss."""
    model.train()
    total, seen = 0.0, 0
    for x, _ in batches:
        optimizer.zero_grad()
        loss = model.loss(x.to(device))
        loss.backward()
        total += loss.item()
        seen += len(x)
        optimizer.step()
    return total / seen


def game_epoch(
    generator: nn.Module,
    discriminator: nn.Module,
    batches: Batches,
    latent: Callable[[int], Tensor],
    optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer],
    steps: int,
    device: torch.device,
) -> None:
    """Rounds of the non-saturating game, both players on one generated batch."""
    optimizer_d, optimizer_g = optimizers
    for x, _ in islice(batches, steps):
        real, fake = 2 * x.to(device) - 1, generator(latent(len(x)))
        one, zero = torch.ones(len(x), device=device), torch.zeros(len(x), device=device)
        optimizer_d.zero_grad()
        loss = F.binary_cross_entropy_with_logits(discriminator(real).flatten(), one)
        loss = loss + F.binary_cross_entropy_with_logits(
            discriminator(fake.detach()).flatten(), zero
        )
        loss.backward()
        optimizer_d.step()
        loss.item()
        optimizer_g.zero_grad()
        loss = F.binary_cross_entropy_with_logits(discriminator(fake).flatten(), one)
        loss.backward()
        optimizer_g.step()
        loss.item()


def critic_epoch(
    generator: nn.Module,
    critic: nn.Module,
    batches: Batches,
    latent: Callable[[int], Tensor],
    optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer],
    steps: int,
    device: torch.device,
    penalty: float = 10.0,
    n_critic: int = 5,
) -> None:
    """Rounds of WGAN-GP: five critic steps, one generator step."""
    optimizer_c, optimizer_g = optimizers
    for i, (x, _) in enumerate(islice(batches, steps)):
        real, fake = 2 * x.to(device) - 1, generator(latent(len(x))).detach()
        between = torch.rand(len(x), 1, 1, 1, device=device)
        mixed = (between * real + (1 - between) * fake).requires_grad_()
        (slope,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
        gp = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        optimizer_c.zero_grad()
        loss = critic(fake).mean() - critic(real).mean() + penalty * gp
        loss.backward()
        optimizer_c.step()
        loss.item()
        if (i + 1) % n_critic == 0:
            optimizer_g.zero_grad()
            loss = -critic(generator(latent(len(x)))).mean()
            loss.backward()
            optimizer_g.step()
            loss.item()
