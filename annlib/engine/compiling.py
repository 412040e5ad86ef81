"""torch.compile and CUDA graphs: whether they work on a device, and how a network is given them."""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import nn

from annlib.config import Compute


class Possible(NamedTuple):
    """What a device can do of what was asked for."""

    compute: Compute
    obstacle: str | None  # why it is less than that


def compiled(model: nn.Module, compute: Compute) -> nn.Module:
    """The model, or what torch.compile makes of it: with the same parameters, called the same way.

    Its first calls take a minute or more, in which kernels are written and compiled; so do those
    with pictures of another size. CUDA graphs record all kernels of a call, and replay them
    without asking Python again: that pays where maps are small and a GPU waits for the next launch.
    """
    if not compute.compile:
        return model
    return torch.compile(model, mode="reduce-overhead" if compute.cuda_graphs else "default")


def possible(compute: Compute, device: torch.device) -> Possible:
    """Compiling and CUDA graphs where the device can do them; else without, and the reason.

    Raises ValueError for CUDA graphs without compiling, and for those of gradients that several
    parts of a batch add up: a replay writes them to where those of the part before are.
    """
    if compute.cuda_graphs and not compute.compile:
        raise ValueError("CUDA graphs are made in compiling: give --compile with --cuda-graphs.")
    if compute.cuda_graphs and compute.accumulate > 1:
        raise ValueError(
            f"CUDA graphs (--cuda-graphs) cannot add up the gradients of {compute.accumulate} "
            "parts of a batch: leave out --cuda-graphs or --accumulate."
        )
    if compute.cuda_graphs and device.type != "cuda":
        compute = replace(compute, cuda_graphs=False)
        return Possible(compute, f"There are no CUDA graphs on a {device.type}: going on without.")
    obstacle = why_not_compile(device) if compute.compile else None
    if obstacle is None:
        return Possible(compute, None)
    told = f"torch.compile does not work here, so nothing is compiled. {obstacle}"
    return Possible(replace(compute, compile=False, cuda_graphs=False), told)


def why_not_compile(device: torch.device) -> str | None:
    """None where it works; else one line. It needs a C++ compiler, and Triton for a GPU.

    Found out by compiling a sum, which takes some seconds the first time.
    """
    try:
        torch.compile(lambda x: x + 1)(torch.ones(2, device=device))
    except RuntimeError as error:  # all that torch.compile raises is one
        return str(error).splitlines()[0]
    return None
