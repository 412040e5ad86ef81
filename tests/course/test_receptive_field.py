"""How far a position sees: by kernels, by what really changes, by gradients, and in words."""

from dataclasses import replace

import ipywidgets
import numpy as np
import pytest
import torch
from tiny import TINY
from torch import Tensor, nn

from annlib.course.plots.scenes import receptive_field as draw
from annlib.course.receptive_field import (
    BLOCK,
    REDUCE,
    Field,
    Viewer,
    depths,
    side_of_field,
    theoretical_field,
)
from annlib.course.widgets.explorer import ReceptiveField
from annlib.data.balloon_town.dataset import make_scene
from annlib.experiments import town
from annlib.model.baselines import Baseline
from annlib.model.build import build_model, shipped_model
from annlib.model.resnet import ResNet

SCENE = make_scene(5)
SIZE = (43, 58)
LOCAL = ("stem", "stage2", "stage3", "stage4", "stage5", REDUCE)


def small(head: str = "nonlocal", depth: int = 9) -> Baseline:
    return build_model(replace(TINY, head=head, depth=depth)).eval()


def positive(layers: nn.Module) -> nn.Module:
    """No path can cancel another, and no ReLU shuts: what is connected shows."""
    for name, weights in layers.double().eval().named_parameters():
        is_factor = weights.dim() > 1 or "weight" in name
        nn.init.uniform_(weights, 0.5, 1.0) if is_factor else nn.init.zeros_(weights)
        with torch.no_grad():
            weights /= max(1, weights[0].numel())
    return layers


def changed(layers: nn.Module, position: tuple[int, int], size: tuple[int, int]) -> Field:
    """Perturbs the image row by row, then column by column: which of them move a position?"""

    @torch.no_grad()
    def answers(images: Tensor) -> Tensor:
        return layers(images)[:, :, position[0], position[1]]

    height, width = size
    plain = torch.ones(1, 3, height, width, dtype=torch.float64)
    rows = plain + 50 * torch.eye(height, dtype=torch.float64)[:, None, :, None]
    columns = plain + 50 * torch.eye(width, dtype=torch.float64)[:, None, None, :]
    before = answers(plain)
    moved = [(answers(one) != before).any(1).nonzero()[:, 0] for one in (rows, columns)]
    (top, bottom), (left, right) = [(int(at.min()), int(at.max()) + 1) for at in moved]
    return Field(top, left, bottom, right)


@pytest.mark.parametrize("depth", ["stem", "stage3", "stage5", REDUCE])
def test_field_is_what_really_moves_a_position(depth: str) -> None:
    layers = positive(depths(small())[depth])
    height, width = layers(torch.ones(1, 3, *SIZE, dtype=torch.float64)).shape[2:]
    for position in ((0, 0), (height // 2, width // 3), (height - 1, width - 1)):
        expected = changed(layers, position, SIZE)
        assert theoretical_field(layers, position).inside(SIZE) == expected


@pytest.mark.parametrize("stem", ["deep", "plain"])
def test_field_counts_stem_pooling_and_strides_of_a_resnet(stem: str) -> None:
    network, size = ResNet(50, 4, stem), (59, 75)
    layers = positive(nn.Sequential(network.stem, network.maxpool, network.layer1, network.layer2))
    for position in ((0, 0), (4, 5)):
        assert theoretical_field(layers, position).inside(size) == changed(layers, position, size)


def test_field_counts_dilation() -> None:
    chain = (
        nn.Conv2d(3, 2, 3, stride=2, padding=1),
        nn.Conv2d(2, 2, 3, padding=2, dilation=2),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(2, 2, 5, padding=6, dilation=3),
    )
    layers = positive(nn.Sequential(*chain))
    expected = changed(layers, (9, 11), (75, 90))
    assert theoretical_field(layers, (9, 11)).inside((75, 90)) == expected


@pytest.mark.parametrize("depth", [9, 17, 25])
def test_side_is_that_of_the_networks_own_formula(depth: int) -> None:
    found = depths(small(depth=depth))
    blocks = {9: 1, 17: 2, 25: 3}[depth]
    assert theoretical_field(found["stage5"], (9, 9)).size[0] == side_of_field(blocks)
    assert theoretical_field(found[REDUCE], (9, 9)).size[1] == side_of_field(blocks, 1)


@pytest.mark.parametrize("head", ["nonlocal", "apnb"])
def test_behind_the_block_every_row_and_column_moves_a_position(head: str) -> None:
    layers = positive(depths(small(head))[BLOCK])
    assert changed(layers, (1, 2), SIZE) == Field(0, 0, *SIZE)


def test_gradient_is_inside_the_field_and_beyond_it_only_by_the_block() -> None:
    viewer = Viewer(shipped_model("balloon_nonlocal"), SCENE.image)
    for depth in LOCAL:
        assert viewer.view(depth, 60, 90).share_far == pytest.approx(0, abs=1e-6)
    assert 0.01 < viewer.view(BLOCK, 60, 90).share_far < 1


def test_view_is_the_gradient_of_the_sum_of_the_channels() -> None:
    viewer = Viewer(small().double(), SCENE.image)
    viewer.images = viewer.images.detach().double().requires_grad_()
    view = viewer.view("stage3", 40, 100)
    y, x = view.position

    @torch.no_grad()
    def moved_by(pixel: tuple[int, int]) -> float:
        """Sum over colours of how steeply the position answers, by a small step."""
        total = 0.0
        for colour in range(3):
            step = torch.zeros_like(viewer.images)
            step[0, colour, *pixel] = 1e-6
            up, down = (viewer.layers["stage3"](viewer.images + s * step) for s in (1, -1))
            total += abs(float((up - down)[0, :, y, x].sum())) / 2e-6
        return total

    near, far = [(40, 100), (43, 97)]
    expected = moved_by(near) / moved_by(far)
    assert view.light[near] / view.light[far] == pytest.approx(expected, rel=1e-3)


def test_training_mode_and_weights_are_left_alone() -> None:
    model = small().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    Viewer(model, SCENE.image).view(BLOCK, 5, 5)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())
    assert all(weights.grad is None for weights in model.parameters())


@pytest.mark.parametrize("head", ["ann", "fcn", "ppm"])
def test_networks_without_a_chain_to_a_block_are_refused(head: str) -> None:
    with pytest.raises(ValueError, match="'nonlocal'"):
        depths(build_model(town(head).model))


def test_central_half_of_a_field_is_a_quarter_of_its_pixels() -> None:
    height, width = Field(-4, 10, 12, 34).central_half().size
    assert 4 * height * width == 16 * 24


def test_figure_says_frame_and_gradient_in_words() -> None:
    viewer = Viewer(build_model(town("nonlocal").model), SCENE.image)
    near = draw(SCENE.image, viewer.view("stage5", 0, 191), (0, 191), "stage5").alt
    assert "47 x 47 pixels" in near and "row 0, column 23 of the 16 x 24 map" in near
    assert "rows 0 to" in near and "to 191" in near and "central half" in near
    far = draw(SCENE.image, viewer.view(BLOCK, 0, 191), (0, 191), BLOCK).alt
    assert "every pixel" in far and "63 x 63" in far


def test_position_that_nothing_moves_is_told_and_drawn_dark() -> None:
    model = small()
    nn.init.constant_(model.backbone.stem[1].bias, -100.0)
    view = Viewer(model, SCENE.image).view("stem", 5, 5)
    assert not np.any(view.light)
    assert "No pixel changes it" in draw(SCENE.image, view, (5, 5), "stem").alt


def test_widget_follows_pixel_and_depth() -> None:
    widget = ReceptiveField(shipped_model("balloon_nonlocal"), SCENE)
    said = [widget.words()]
    widget.picker.xy = (150, 20)
    said.append(widget.words())
    widget.controls["depth"].value = BLOCK
    said.append(widget.words())
    assert len(set(said)) == 3 and "column 18" in said[1] and "every pixel" in said[2]


def test_closed_widget_leaves_nothing_behind() -> None:
    before = set(ipywidgets.widgets.widget._instances)
    widget = ReceptiveField(shipped_model("balloon_nonlocal"), SCENE)
    picker = widget.picker
    widget.close()
    assert set(ipywidgets.widgets.widget._instances) == before
    assert not any(picker._trait_notifiers.values())
