"""The last weights of a run, whose model file holds their moving average."""

from __future__ import annotations

import torch

from gentool.errors import UserError, printable
from gentool.loading import LoadedModel
from gentool.runs import Run
from gentool.train.checks import most_bytes
from gentool.train.claim import newest
from gentool.weights import check_tensors


def with_last_weights(loaded: LoadedModel, run: Run) -> None:
    """Give a run's model, in place, the weights of its newest checkpoint as they were trained.

    Raises:
        UserError: where the run has no checkpoint that fits the model.
    """
    own = loaded.model.state_dict()
    checkpoint = newest(run, most_bytes(own))
    if checkpoint is None:
        raise UserError(f"the run {printable(str(run.path))} has no checkpoint, which --raw reads")
    weights = checkpoint.groups["weights"]
    check_tensors(weights, own, f"the checkpoint {printable(str(checkpoint.path))}")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(weights[name])
