"""The paper's blocks: pyramid sampling, in both forms, asymmetric attention, AFNB and APNB."""

from math import ceil, floor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import TINY, wake
from torch import Tensor, nn

from annlib.model.asymmetric import AFNB, APNB, AsymmetricAttention, PyramidPool
from annlib.model.fused import cell_means, pyramid_means

SCALES = (1, 2, 3)
SIDE = st.integers(1, 9)
few = settings(max_examples=20, deadline=None)


def attention(share_query_key: bool = False) -> AsymmetricAttention:
    query_channels = 4 if share_query_key else 5
    return wake(AsymmetricAttention(query_channels, 4, 6, 7, SCALES, share_query_key)).eval()


def mean_of_each_cell(x: Tensor, scale: int) -> Tensor:
    """(C, h, w) -> (C, scale * scale): the mean of each cell, cells share rows that do not fit"""
    height, width = x.shape[1:]
    means = []
    for row in range(scale):
        for column in range(scale):
            rows = slice(floor(row * height / scale), ceil((row + 1) * height / scale))
            columns = slice(floor(column * width / scale), ceil((column + 1) * width / scale))
            means.append(x[:, rows, columns].mean((1, 2)))
    return torch.stack(means, dim=1)


@few
@given(height=SIDE, width=SIDE)
def test_pyramid_pool_equals_a_loop_over_cells(height: int, width: int) -> None:
    x = torch.randn(2, 4, height, width)
    expected = [torch.cat([mean_of_each_cell(image, n) for n in SCALES], dim=1) for image in x]
    torch.testing.assert_close(PyramidPool(SCALES)(x), torch.stack(expected))


@few
@given(height=SIDE, width=SIDE, value=st.floats(-3, 3, width=32))
def test_constant_map_gives_constant_anchors(height: int, width: int, value: float) -> None:
    anchors = PyramidPool(SCALES)(torch.full((1, 2, height, width), value))
    torch.testing.assert_close(anchors, torch.full((1, 2, 14), value))


def test_first_anchor_is_the_mean_of_the_map() -> None:
    x = torch.randn(2, 3, 7, 5)
    torch.testing.assert_close(PyramidPool((1, 3, 6, 8))(x)[..., 0], x.mean((2, 3)))


def test_anchors_are_as_many_as_the_configuration_says() -> None:
    assert PyramidPool(TINY.pool_scales)(torch.zeros(1, 1, 7, 5)).shape[2] == TINY.num_anchors
    assert PyramidPool((1, 3, 6, 8))(torch.zeros(1, 1, 7, 5)).shape[2] == 110


@few
@given(height=SIDE, width=SIDE, share=st.booleans())
def test_attention_rows_sum_to_one(height: int, width: int, share: bool) -> None:
    block, weights = attention(share), []
    block.softmax.register_forward_hook(lambda _, __, out: weights.append(out))
    query_map = torch.randn(2, 4 if share else 5, height, width)
    block(query_map, query_map if share else torch.randn(2, 4, 3, 5))
    assert weights[0].shape == (2, height * width, 14)
    torch.testing.assert_close(weights[0].sum(-1), torch.ones(2, height * width))


def test_attention_equals_a_loop_over_positions() -> None:
    block, query_map, key_map = attention(), torch.randn(1, 5, 3, 4), torch.randn(1, 4, 7, 5)
    keys, values = block.pool(block.to_key(key_map))[0], block.pool(block.to_value(key_map))[0]
    query, expected = block.to_query(query_map), torch.zeros(1, 5, 3, 4)
    for row in range(3):
        for column in range(4):
            scores = torch.stack([query[0, :, row, column] @ key for key in keys.T]) / 6**0.5
            shares = scores.exp() / scores.exp().sum()
            context = sum(share * value for share, value in zip(shares, values.T, strict=True))
            expected[..., row, column] = block.to_output(context[None, :, None, None])[..., 0, 0]
    torch.testing.assert_close(block(query_map, key_map), expected, rtol=1e-4, atol=1e-5)


def test_query_and_key_map_may_differ_in_size() -> None:
    high = torch.randn(2, 5, 3, 7)
    assert wake(AFNB(4, 5, 6, 7, SCALES))(torch.randn(2, 4, 9, 5), high).shape == high.shape


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 13)])
def test_apnb_keeps_the_shape_of_any_map(size: tuple[int, int]) -> None:
    features = torch.randn(2, 4, *size)
    assert wake(APNB(4, 6, 7, (1, 3, 6, 8))).eval()(features).shape == features.shape


def test_afnb_with_zero_output_projection_fuses_zeros_with_the_high_map() -> None:
    block, high = AFNB(4, 5, 6, 7, SCALES).eval(), torch.randn(2, 5, 3, 7)
    expected = block.fuse(torch.cat([torch.zeros_like(high), high], dim=1))
    assert torch.equal(block(torch.randn(2, 4, 9, 5), high), expected)


def test_afnb_takes_no_relu_but_apnb_does() -> None:
    torch.manual_seed(0)
    high = torch.randn(2, 4, 3, 7)
    assert AFNB(4, 4, 6, 7, SCALES)(torch.randn(2, 4, 9, 5), high).min() < 0
    assert APNB(4, 6, 7, SCALES)(high).min() == 0


@pytest.mark.parametrize(
    "block", [AFNB(4, 4, 6, 7, SCALES), APNB(4, 6, 7, SCALES)], ids=["afnb", "apnb"]
)
def test_gradient_reaches_every_parameter(block: nn.Module) -> None:
    # In training batch norm takes away what the biases of to_value and to_output add: eval mode.
    wake(block).eval()
    maps = [torch.randn(2, 4, 5, 7) for _ in range(2 if isinstance(block, AFNB) else 1)]
    block(*maps).square().sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_shared_projection_run_once_moves_its_statistics_like_two_runs() -> None:
    block, twice = APNB(4, 6, 7, SCALES), nn.BatchNorm2d(6)
    features = torch.randn(2, 4, 5, 7)
    projected = block.attention.to_key[0](features)
    twice(projected), twice(projected)
    block(features)
    once = block.attention.to_key[1]
    torch.testing.assert_close(once.running_mean, twice.running_mean)
    torch.testing.assert_close(once.running_var, twice.running_var)


SIDES = st.integers(1, 23)
GRIDS = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)
LAYOUTS = st.sampled_from([torch.contiguous_format, torch.channels_last])


@given(height=SIDES, width=SIDES, scales=GRIDS, layout=LAYOUTS)
def test_anchors_are_those_of_adaptive_pooling(
    height: int, width: int, scales: tuple[int, ...], layout: torch.memory_format
) -> None:
    x = torch.randn(2, 3, height, width, dtype=torch.float64).to(memory_format=layout)
    expected = PyramidPool(scales)(x).mT
    torch.testing.assert_close(pyramid_means(x, scales), expected, rtol=0, atol=1e-14)


@given(height=SIDES, width=SIDES, scales=GRIDS, layout=LAYOUTS)
def test_gradients_are_those_of_adaptive_pooling(
    height: int, width: int, scales: tuple[int, ...], layout: torch.memory_format
) -> None:
    x = torch.randn(2, 3, height, width, dtype=torch.float64).to(memory_format=layout)
    x.requires_grad_()
    upstream = torch.randn(2, sum(s * s for s in scales), 3, dtype=torch.float64)
    (ours,) = torch.autograd.grad((pyramid_means(x, scales) * upstream).sum(), x)
    (theirs,) = torch.autograd.grad((PyramidPool(scales)(x).mT * upstream).sum(), x)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)


@given(side=SIDES, scales=GRIDS)
def test_every_cell_is_a_mean(side: int, scales: tuple[int, ...]) -> None:
    means = cell_means(side, scales, torch.empty(0, dtype=torch.float64))
    assert means.shape == (sum(scales), side)
    torch.testing.assert_close(means.sum(1), torch.ones_like(means[:, 0]))
    assert all(len(row[row > 0].unique()) == 1 for row in means)


def test_a_constant_map_has_constant_anchors_in_half_precision_too() -> None:
    x = torch.full((1, 2, 13, 29), 300.0, dtype=torch.float16)
    expected = torch.full((1, 110, 2), 300.0, dtype=torch.float16)
    torch.testing.assert_close(pyramid_means(x, (1, 3, 6, 8)), expected)
