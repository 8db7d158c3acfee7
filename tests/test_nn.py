"""The building blocks against the layers that they stand for."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gentool.nn import FromVector, ToVector


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_from_vector_is_the_transposed_convolution(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    layer = FromVector(6, 5, (4, 7)).double().to(memory_format=layout)
    z = torch.randn(3, 6, dtype=torch.float64)
    expected = F.conv_transpose2d(z[:, :, None, None], layer.weight)
    found = layer(z)
    assert found.shape == (3, 5, 4, 7)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, expected)
    gradients = [
        torch.autograd.grad((y * y.detach().cos()).sum(), layer.weight)[0]
        for y in (found, expected)
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("bias", [False, True])
def test_to_vector_is_the_convolution_twice_differentiable(
    layout: torch.memory_format, bias: bool
) -> None:
    torch.manual_seed(0)
    layer = ToVector(5, 3, (4, 7), bias=bias).double().to(memory_format=layout)
    h = torch.randn(2, 5, 4, 7, dtype=torch.float64).contiguous(memory_format=layout)
    expected = F.conv2d(h, layer.weight, layer.bias).flatten(1)
    assert expected.shape == (2, 3)
    torch.testing.assert_close(layer(h), expected)
    assert torch.autograd.gradgradcheck(
        lambda w, x: torch.func.functional_call(layer, {"weight": w}, x).tanh(),
        (layer.weight, h.requires_grad_()),
    )


def test_both_keep_the_names_and_shapes_of_their_weights() -> None:
    first, plain = FromVector(6, 5, (4, 4)), nn.ConvTranspose2d(6, 5, 4, bias=False)
    assert {k: v.shape for k, v in first.state_dict().items()} == {
        k: v.shape for k, v in plain.state_dict().items()
    }
    out, conv = ToVector(5, 3, 4), nn.Conv2d(5, 3, 4)
    out.load_state_dict(conv.state_dict())
