"""Modules and maps made ready to be compared, and calls that make them work."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from annlib.model.ann import resize_bilinear
from annlib.model.asymmetric import AsymmetricAttention
from annlib.speed.forms import Conditions, Results

COARSE = (8, 8)
# Batch norm takes back what these add everywhere: their gradients are zero, but for rounding.
SHIFTS = ("attention.to_value.bias", "attention.to_output.bias")


def layout(conditions: Conditions) -> torch.memory_format:
    return torch.channels_last if conditions.channels_last else torch.contiguous_format


def made_up(channels: int, size: tuple[int, int], conditions: Conditions) -> Tensor:
    """Numbers that, as those of a network, are alike where places are near.  (1, channels, *size)

    Of noise alone all large cells have one mean, and all anchors are the same.
    """
    coarse = torch.randn(1, channels, *COARSE, device=conditions.device)
    values = resize_bilinear(coarse, size, align_corners=False)
    values += torch.randn(values.shape, device=conditions.device)
    return values.to(memory_format=layout(conditions))


def placed(module: nn.Module, conditions: Conditions) -> nn.Module:
    """On the device, in the layout of the maps."""
    return module.to(conditions.device, memory_format=layout(conditions))


@torch.no_grad()
def settled(module: nn.Module, *inputs: Tensor) -> nn.Module:
    """As after a training: outputs are projected by no zeros, batch norm knows its inputs.

    With the zeros that a training starts from all forms would agree, whatever they compute. With
    foreign statistics scores would be so large that every position takes one anchor and no other,
    which magnifies rounding.
    """
    for part in module.modules():
        if isinstance(part, AsymmetricAttention):
            part.to_output.reset_parameters()
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 1.0  # what it remembers is the batch at hand
    module.train()(*inputs)
    return module


def inference(module: nn.Module, inputs: Sequence[Tensor]) -> Callable[[], Results]:
    """A call that computes the output alone."""

    def compute() -> Results:
        module.eval()
        with torch.inference_mode():
            return {"output": module(*inputs)}

    return compute


def taken_gradients(leaves: Mapping[str, Tensor]) -> Results:
    """The gradients, which are no longer the leaves' own: the next call begins without."""
    found = {name: leaf.grad for name, leaf in leaves.items()}
    for leaf in leaves.values():
        leaf.grad = None
    return found


def training(
    module: nn.Module,
    inputs: Sequence[Tensor],
    upstream: Tensor,
    our_names: Callable[[Results], Results] = lambda gradients: gradients,
) -> Callable[[], Results]:
    """A call that computes the output and the gradients of all inputs and weights, to be compared.

    upstream: gradient of the output. our_names: gradients by the module's names -> by ours.
    """
    leaves = {f"input {i}": x.detach().requires_grad_() for i, x in enumerate(inputs)}
    weights = dict(module.named_parameters())

    def compute() -> Results:
        module.train()
        output = module(*leaves.values())
        output.backward(upstream)
        of_weights = our_names(taken_gradients(weights))
        compared = {name: of_weights[name] for name in of_weights if name not in SHIFTS}
        return {"output": output.detach(), **taken_gradients(leaves), **compared}

    return compute
