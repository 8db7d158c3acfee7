"""A VAE 784-400-20 on MNIST in JAX, as one writes it for speed: data resident, an epoch one scan.

    python benchmarks/jax_vae.py MNIST_FOLDER --epochs 6      # needs jax and optax

Prints a JSON line an epoch: seconds, and the test loss in nats an image. The first epoch compiles.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

BATCH, SHAPES = 128, {"h": (784, 400), "mu": (400, 20), "logvar": (400, 20), "g": (20, 400)}
SHAPES |= {"x": (400, 784)}


def images(folder: Path, split: str) -> jax.Array:
    """uint8 (N, 784)."""
    raw = gzip.decompress((folder / f"{split}-images-idx3-ubyte.gz").read_bytes())
    return jnp.asarray(np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 784))


def initial(key: jax.Array) -> dict[str, Any]:
    """Weights and biases within ±1/√fan_in, as torch begins."""
    found = {}
    for name, (rows, columns) in SHAPES.items():
        key, w, b = jax.random.split(key, 3)
        limit = 1 / math.sqrt(rows)
        found[name] = (
            jax.random.uniform(w, (rows, columns), minval=-limit, maxval=limit),
            jax.random.uniform(b, (columns,), minval=-limit, maxval=limit),
        )
    return found


def neg_elbo(params: dict[str, Any], x: jax.Array, key: jax.Array) -> jax.Array:
    """Summed over the batch: binary cross-entropy and KL, one draw of z."""

    def dense(name: str, v: jax.Array) -> jax.Array:
        w, b = params[name]
        return v @ w + b

    hidden = jax.nn.relu(dense("h", x))
    mu, logvar = dense("mu", hidden), dense("logvar", hidden)
    z = mu + jnp.exp(logvar / 2) * jax.random.normal(key, mu.shape)
    logits = dense("x", jax.nn.relu(dense("g", z)))
    recon = jnp.sum(jax.nn.softplus(logits) - x * logits)
    return recon + 0.5 * jnp.sum(mu**2 + jnp.exp(logvar) - 1 - logvar)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=6)
    asked = parser.parse_args()
    train, test = images(asked.folder, "train"), images(asked.folder, "t10k")
    adam, steps = optax.adam(1e-3), len(train) // BATCH

    def update(carry: Any, at: Any) -> tuple[Any, jax.Array]:
        (params, state), (rows, key) = carry, at
        x = train[rows].astype(jnp.float32) / 255
        loss, grads = jax.value_and_grad(neg_elbo)(params, x, key)
        change, state = adam.update(jax.tree.map(lambda g: g / BATCH, grads), state, params)
        return (optax.apply_updates(params, change), state), loss

    def epoch(carry: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        shuffle, draws = jax.random.split(key)
        order = jax.random.permutation(shuffle, len(train))[: steps * BATCH]
        return jax.lax.scan(
            update, carry, (order.reshape(steps, BATCH), jax.random.split(draws, steps))
        )

    def tested(params: Any, key: jax.Array) -> jax.Array:
        return neg_elbo(params, test.astype(jnp.float32) / 255, key) / len(test)

    run, evaluate = jax.jit(epoch, donate_argnums=0), jax.jit(tested)
    key = jax.random.key(0, impl="rbg")
    params = initial(key)
    carry = (params, adam.init(params))
    for number in range(asked.epochs):
        began = time.perf_counter()
        carry, losses = run(carry, jax.random.fold_in(key, number))
        losses.block_until_ready()
        seconds = time.perf_counter() - began
        loss = float(evaluate(carry[0], key))
        print(json.dumps({"seconds": seconds, "images": steps * BATCH, "test": loss}), flush=True)


if __name__ == "__main__":
    main()
