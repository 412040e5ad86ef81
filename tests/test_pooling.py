"""The anchors in one pass are those of adaptive pooling, grid by grid."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from annlib.model.asymmetric import PyramidPool
from annlib.model.fused import cell_means, pyramid_means

SIDES = st.integers(1, 23)
SCALES = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)
LAYOUTS = st.sampled_from([torch.contiguous_format, torch.channels_last])


@given(height=SIDES, width=SIDES, scales=SCALES, layout=LAYOUTS)
def test_anchors_are_those_of_adaptive_pooling(
    height: int, width: int, scales: tuple[int, ...], layout: torch.memory_format
) -> None:
    x = torch.randn(2, 3, height, width, dtype=torch.float64).to(memory_format=layout)
    expected = PyramidPool(scales)(x).mT
    torch.testing.assert_close(pyramid_means(x, scales), expected, rtol=0, atol=1e-14)


@given(height=SIDES, width=SIDES, scales=SCALES, layout=LAYOUTS)
def test_gradients_are_those_of_adaptive_pooling(
    height: int, width: int, scales: tuple[int, ...], layout: torch.memory_format
) -> None:
    x = torch.randn(2, 3, height, width, dtype=torch.float64).to(memory_format=layout)
    x.requires_grad_()
    upstream = torch.randn(2, sum(s * s for s in scales), 3, dtype=torch.float64)
    (ours,) = torch.autograd.grad((pyramid_means(x, scales) * upstream).sum(), x)
    (theirs,) = torch.autograd.grad((PyramidPool(scales)(x).mT * upstream).sum(), x)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)


@given(side=SIDES, scales=SCALES)
def test_every_cell_is_a_mean(side: int, scales: tuple[int, ...]) -> None:
    means = cell_means(side, scales, torch.empty(0, dtype=torch.float64))
    assert means.shape == (sum(scales), side)
    torch.testing.assert_close(means.sum(1), torch.ones_like(means[:, 0]))
    assert all(len(row[row > 0].unique()) == 1 for row in means)


def test_a_constant_map_has_constant_anchors_in_half_precision_too() -> None:
    x = torch.full((1, 2, 13, 29), 300.0, dtype=torch.float16)
    expected = torch.full((1, 110, 2), 300.0, dtype=torch.float16)
    torch.testing.assert_close(pyramid_means(x, (1, 3, 6, 8)), expected)
