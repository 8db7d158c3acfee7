"""A few steps of training, for tests of whether a model learns."""

from __future__ import annotations

import tempfile

import torch

from gentool import data, options, plugins
from gentool.data.options import DataOptions
from gentool.loading import LoadedModel
from gentool.model import Prepares
from gentool.train.batches import some_examples
from gentool.train.distributed import World
from gentool.train.loop import Trainer
from gentool.train.settings import TrainSettings
from gentool.weights import Header


def train_briefly(
    name: str,
    *,
    source: str = "ring:2000",
    steps: int = 200,
    batch_size: int = 64,
    seed: int = 0,
    **given: object,
) -> LoadedModel:
    """Train an installed model on the CPU for some steps, leaving no files.

    Args:
        source: what ``--data`` would take.
        given: the model's own options.

    Returns:
        the model as `gentool.load` gives it: ``train_briefly("flow").sample(100)``.
    """
    plugin = plugins.find(name)
    spec = plugins.spec_of(plugin)
    config = options.build(spec.config, given)
    with tempfile.TemporaryDirectory(prefix="gentool-brief-") as folder:
        dataset = data.load(DataOptions(data=source, cache=folder))
        torch.manual_seed(seed)
        model = spec.load_factory()(config, dataset.spec)
        if isinstance(model, Prepares):
            model.prepare(some_examples(dataset.train, 10_000))
        settings = TrainSettings(steps=steps, batch_size=batch_size, seed=seed)
        header = Header(
            plugin.name,
            plugin.distribution,
            plugin.version,
            options.to_json(config),
            dataset.spec,
            {},
        )
        trainer = Trainer(model, spec, dataset, settings, World(torch.device("cpu")))
        model.train()
        for _ in range(steps):
            trainer.take_step()
    return LoadedModel(model.eval(), header, spec, config)
