"""Who takes part in a race: the reference, and the ways of ours to compute the same function."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn

from annlib.config import Compute
from annlib.engine.machine import placed
from annlib.model.ann import ANN
from annlib.model.asymmetric import AsymmetricAttention
from annlib.model.frozen import frozen
from annlib.model.resnet import Bottleneck
from annlib.seeds import seeded
from annlib.speed.reference import installed, reference_model
from annlib.zoo import Published

Network = Literal["reference", "as written", "folded", "frozen"]
AS_IT_COMES = Compute(channels_last=False)


@dataclass(frozen=True)
class Contestant:
    """A network, and how the machine computes it."""

    network: Network
    compute: Compute = AS_IT_COMES

    @property
    def name(self) -> str:
        """Of its line in a table."""
        words: list[str] = [self.network]
        words += ["channels last"] * self.compute.channels_last
        words += [self.compute.precision] * (self.compute.precision != "fp32")
        words += ["compiled"] * self.compute.compile
        words += ["CUDA graphs"] * self.compute.cuda_graphs
        return ", ".join(words)


def field(best: Network, compute: Compute) -> list[Contestant]:
    """All that take part in fp32, and the best of ours with more and more of what `compute` asks.

    The first of them is who the others are compared with: the reference where it is installed.
    """
    ours = ("folded", "frozen") if best == "frozen" else ("folded",)
    found = [Contestant("reference")] if installed() else []
    found += [Contestant("as written"), *(Contestant(network, Compute()) for network in ours)]
    steps = (
        replace(compute, compile=False, cuda_graphs=False),
        replace(compute, cuda_graphs=False),
        compute,
    )
    return list(dict.fromkeys([*found, *(Contestant(best, step) for step in steps)]))


def our_network(row: Published, folded: bool) -> ANN:
    """ANN with weights that are the same whenever it is built, and of which none is idle.

    Training starts from zeros at the end of each residual block and of each attention: with them
    networks would agree whatever those parts compute.
    """
    with seeded("speed", row.name):
        model = ANN(row.experiment.model, folded=folded)
        for module in model.modules():
            if isinstance(module, Bottleneck):
                nn.init.uniform_(module.bn3.weight, 0.0, 0.5)
            if isinstance(module, AsymmetricAttention):
                module.to_output.reset_parameters()
    return model


def network(contestant: Contestant, row: Published, device: torch.device) -> nn.Module:
    """The network of a contestant on its device, in its layout, not compiled yet."""
    match contestant.network:
        case "reference":
            model = reference_model(row, our_network(row, folded=False))
        case "as written":
            model = our_network(row, folded=False)
        case "folded":
            model = our_network(row, folded=True)
        case "frozen":
            model = frozen(our_network(row, folded=True).eval())
    return placed(model, device, contestant.compute)
