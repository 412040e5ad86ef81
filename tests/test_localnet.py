"""The small backbone: its shapes, and how far it really sees."""

import pytest
import torch
from torch import Tensor, nn

from annlib.model.localnet import BLOCKS_PER_STAGE, LocalNet, receptive_field


def positive(module: nn.Module) -> nn.Module:
    """No path can cancel another and no ReLU blocks one: the gradient shows all that is seen."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.constant_(layer.weight, 1 / layer.weight[0].numel())
    return module.double().eval()


def seen_by_the_middle(network: nn.Module, side: int) -> tuple[int, int]:
    """Height and width of the input pixels that move the middle of the output."""
    images = torch.ones(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    output: Tensor = network(images)
    output[0, :, output.shape[2] // 2, output.shape[3] // 2].sum().backward()
    rows, columns = images.grad[0].sum(0).nonzero(as_tuple=True)
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


class HighMap(nn.Module):
    """A backbone's c5, with 3x3 convolutions behind it."""

    def __init__(self, backbone: LocalNet, head_kernels: int):
        super().__init__()
        channels = backbone.high_channels
        self.backbone = backbone
        self.head = nn.Sequential(
            *[nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(head_kernels)]
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images)[1])


@pytest.mark.parametrize("depth", sorted(BLOCKS_PER_STAGE))
@pytest.mark.parametrize("head_kernels", [0, 1, 2])
def test_receptive_field_is_the_measured_one(depth: int, head_kernels: int) -> None:
    expected = receptive_field(BLOCKS_PER_STAGE[depth], head_kernels)
    network = positive(HighMap(LocalNet(depth, width=8), head_kernels))
    assert seen_by_the_middle(network, 2 * expected + 16) == (expected, expected)


@pytest.mark.parametrize("depth", sorted(BLOCKS_PER_STAGE))
def test_network_knows_its_receptive_field(depth: int) -> None:
    assert LocalNet(depth, 8).receptive_field == receptive_field(BLOCKS_PER_STAGE[depth])


@pytest.mark.parametrize("depth", sorted(BLOCKS_PER_STAGE))
def test_depth_is_the_number_of_convolutions_on_the_way(depth: int) -> None:
    names = [n for n, m in LocalNet(depth, 8).named_modules() if isinstance(m, nn.Conv2d)]
    assert len([name for name in names if "shortcut" not in name]) == depth


@pytest.mark.parametrize(("height", "width"), [(1, 1), (33, 57), (64, 96)])
def test_both_maps_have_an_eighth_of_the_size_rounded_up(height: int, width: int) -> None:
    model = LocalNet(9, width=16)
    c4, c5 = model.eval()(torch.randn(2, 3, height, width))
    size = (-(-height // 8), -(-width // 8))
    assert c4.shape == (2, model.low_channels, *size)
    assert c5.shape == (2, model.high_channels, *size)


def test_maps_have_another_memory() -> None:
    """An in-place ReLU in stage 5 must not reach back into c4."""
    model = LocalNet(9, width=16).eval()
    images = torch.randn(1, 3, 33, 57)
    c4, _ = model(images)
    assert torch.equal(c4, model.stage4(model.stage3(model.stage2(model.stem(images)))))
