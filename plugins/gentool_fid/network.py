"""torch-fidelity's Inception network, filled with weights that were checked."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from gentool.errors import UserError, described

FEATURES, LOGITS = "2048", "logits_unbiased"
"""What FID, KID, precision and recall look at, and what the Inception score looks at."""

SIDE = 299
BATCH = 64
"""As torch-fidelity has it, so that sums are rounded alike."""


def fidelity() -> ModuleType:
    """The package, or a sentence on what it lacks; raises UserError."""
    # Another build of torchvision than torch's lacks operators, which is a RuntimeError.
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:
        raise UserError(
            f"fid and its kin need torchvision, which cannot be imported ({described(error)}); "
            "install the build that belongs to your torch: pip install 'gentool[fid]'"
        ) from error
    try:
        import torch_fidelity
    except ImportError as error:
        raise UserError(
            f"fid and its kin need torch-fidelity ({described(error)}); "
            "run: pip install 'gentool[fid]'"
        ) from error
    found: ModuleType = torch_fidelity
    return found


def build(tensors: Mapping[str, Tensor], device: torch.device) -> nn.Module:
    """The network with these weights; raises UserError where they are not its own."""
    fidelity()
    from torch_fidelity import feature_extractor_inceptionv3 as module

    # Its constructor gets weights in one of two ways, and both unpickle without a check. It is
    # given the checked tensors in the place of what it would download.
    with mock.patch.object(module, "load_state_dict_from_url", lambda *a, **k: dict(tensors)):
        try:
            network: nn.Module = module.FeatureExtractorInceptionV3(
                "inception-v3-compat", [FEATURES, LOGITS]
            )
        except RuntimeError as error:
            raise UserError(
                "the file holds weights of another network than FID's Inception; "
                "name the published file with --inception"
            ) from error
    return network.to(device)


class Extractor:
    """Features of images, each set of images looked at once.

    Attributes:
        tf32: whether convolutions may round their factors to TF32: never here, since it moves FID.
    """

    tf32 = False

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self.network, self.device = network, device
        # By identity: the tensor is held, so its id is not given to another.
        self._seen: OrderedDict[int, tuple[Tensor, dict[str, Tensor]]] = OrderedDict()

    def __call__(self, images: Tensor, progress: Any) -> dict[str, Tensor]:
        """Features by name, float32 (n, 2048) and (n, 1008), on the CPU.

        Args:
            images: uint8 (n, 1 or 3, H, W), as they are stored.
        """
        if id(images) not in self._seen:
            self._seen[id(images)] = images, self._look(images, progress)
            while len(self._seen) > 3:  # real training, real test, and one model's samples
                self._seen.popitem(last=False)
        self._seen.move_to_end(id(images))
        return self._seen[id(images)][1]

    @torch.no_grad()
    def _look(self, images: Tensor, progress: Any) -> dict[str, Tensor]:
        parts: list[tuple[Tensor, ...]] = []
        exact = torch.backends.cudnn.flags(
            enabled=torch.backends.cudnn.enabled, deterministic=True, allow_tf32=self.tf32
        )
        with exact:
            for part in images.split(BATCH):
                progress("Inception features", len(parts) * BATCH, len(images))
                shown = widened(part).to(self.device)
                parts.append(tuple(f.cpu() for f in self.network(shown)))
        progress("Inception features", len(images), len(images))
        features, logits = (torch.cat(column) for column in zip(*parts, strict=True))
        return {FEATURES: features, LOGITS: logits}


def widened(images: Tensor) -> Tensor:
    """Grey as RGB with three equal channels; RGB as it is."""
    if images.shape[1] == 1:
        return images.expand(-1, 3, -1, -1)
    return images
