"""The backbones: shapes, sizes, strides, starting weights, and how far the small one sees."""

import pytest
import torch
from golden_rules import golden
from torch import Tensor, nn

from annlib.course.receptive_field import side_of_field
from annlib.model.localnet import BLOCKS_PER_STAGE, LocalNet
from annlib.model.resnet import BLOCKS, Bottleneck, ResNet

# Reference's parameter counts of stem, layer1 ... layer4.
SIZES = {
    50: [28_768, 215_808, 1_219_584, 7_098_368, 14_964_736],
    101: [28_768, 215_808, 1_219_584, 26_090_496, 14_964_736],
}


@pytest.fixture(scope="module")
def resnet() -> ResNet:
    torch.manual_seed(0)
    return ResNet(50).eval()


def on_meta(depth: int, width: int = 64, stem: str = "deep") -> ResNet:
    with torch.device("meta"):
        return ResNet(depth, width, stem)


def run_on_meta(height: int, width: int) -> tuple[Tensor, Tensor]:
    return on_meta(50)(torch.empty(2, 3, height, width, device="meta"))


@pytest.mark.parametrize("depth", sorted(BLOCKS))
def test_every_part_has_as_many_parameters_as_the_reference(depth: int) -> None:
    parts = [part for name, part in on_meta(depth).named_children() if name != "maxpool"]
    assert [sum(p.numel() for p in part.parameters()) for part in parts] == SIZES[depth]


@pytest.mark.parametrize(("height", "width"), [(97, 129), (512, 1024), (769, 769), (1, 1)])
def test_both_maps_have_an_eighth_of_the_size_rounded_up(height: int, width: int) -> None:
    c4, c5 = run_on_meta(height, width)
    size = (-(-height // 8), -(-width // 8))
    assert c4.shape == (2, 1024, *size)
    assert c5.shape == (2, 2048, *size)


@pytest.mark.parametrize(
    ("height", "width"), [(97, 129), pytest.param(512, 1024, marks=pytest.mark.all), (1, 1)]
)
def test_plain_stem_gives_maps_of_the_same_sizes(height: int, width: int) -> None:
    images = torch.empty(2, 3, height, width, device="meta")
    deep, plain = on_meta(50)(images), on_meta(50, stem="plain")(images)
    assert [maps.shape for maps in plain] == [maps.shape for maps in deep]


@pytest.mark.parametrize("depth", sorted(BLOCKS))
def test_plain_resnet_is_torchvision_s_without_its_classifier(depth: int) -> None:
    from torchvision.models import resnet50, resnet101

    with torch.device("meta"):
        theirs = {50: resnet50, 101: resnet101}[depth]().state_dict()
    ours = on_meta(depth, stem="plain").state_dict()
    shapes = [(key.split(".")[-1], tensor.shape) for key, tensor in theirs.items()]
    assert [(key.split(".")[-1], tensor.shape) for key, tensor in ours.items()] == shapes[:-2]


def test_channels_follow_the_width() -> None:
    model = on_meta(50, width=16)
    c4, c5 = model(torch.empty(2, 3, 33, 17, device="meta"))
    assert (c4.shape[1], c5.shape[1]) == (model.low_channels, model.high_channels) == (256, 512)


def test_convolutions_have_the_strides_and_dilations_of_the_reference() -> None:
    modules = {f"backbone.{name}": module for name, module in on_meta(50).named_modules()}
    reference = golden()["structure"]["convs"]
    for name in (name for name in reference if name.startswith("backbone.")):
        assert geometry(modules[name]) == reference[name], name


def geometry(layer: nn.Conv2d | nn.MaxPool2d) -> dict:
    if isinstance(layer, nn.MaxPool2d):
        sides = dict(k=layer.kernel_size, stride=layer.stride, pad=layer.padding)
        return {**sides, "dil": layer.dilation, "bias": False, "io": [None, None]}
    return {
        "k": list(layer.kernel_size),
        "stride": list(layer.stride),
        "pad": list(layer.padding),
        "dil": list(layer.dilation),
        "bias": layer.bias is not None,
        "io": [layer.in_channels, layer.out_channels],
    }


def test_batch_norms_are_those_of_the_reference() -> None:
    kinds = {
        (module.eps, module.momentum, module.affine, module.track_running_stats)
        for module in on_meta(50).modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    assert [list(kind) for kind in kinds] == golden()["structure"]["bn"]


def test_starting_weights_have_the_statistics_of_the_reference(resnet: ResNet) -> None:
    ours = dict(resnet.named_parameters(prefix="backbone"))
    for name, reference in golden()["init"]["after_init_weights"].items():
        if name in ours:
            samples = ours[name].numel()
            std = float(ours[name].detach().std(correction=0))
            # Both are estimates: four standard errors, each std / sqrt(2n), of their difference.
            assert std == pytest.approx(reference["std"], rel=4 * samples**-0.5, abs=0), name
            assert abs(float(ours[name].detach().mean()) - reference["mean"]) <= (
                6 * reference["std"] * samples**-0.5
            ), name


def test_fresh_block_with_a_plain_shortcut_is_the_identity() -> None:
    block, x = ResNet(50, width=8).layer4[1].eval(), torch.rand(2, 256, 5, 7)
    assert isinstance(block, Bottleneck)
    assert torch.equal(block(x), x)


def test_gradient_reaches_every_parameter_once_no_block_is_the_identity() -> None:
    model = ResNet(50, width=8).eval()
    for module in model.modules():
        if isinstance(module, Bottleneck):
            nn.init.ones_(module.bn3.weight)
    sum(maps.square().mean() for maps in model(torch.randn(1, 3, 33, 41))).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


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
    expected = side_of_field(BLOCKS_PER_STAGE[depth], head_kernels)
    network = positive(HighMap(LocalNet(depth, width=8), head_kernels))
    assert seen_by_the_middle(network, 2 * expected + 16) == (expected, expected)


@pytest.mark.parametrize("depth", sorted(BLOCKS_PER_STAGE))
def test_depth_is_the_number_of_convolutions_on_the_way(depth: int) -> None:
    names = [n for n, m in LocalNet(depth, 8).named_modules() if isinstance(m, nn.Conv2d)]
    assert len([name for name in names if "shortcut" not in name]) == depth


@pytest.mark.parametrize(("height", "width"), [(1, 1), (33, 57), (64, 96)])
def test_local_maps_have_an_eighth_of_the_size_rounded_up(height: int, width: int) -> None:
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
