"""Closed formulas of work and memory, against torch's counter and its allocator."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from annlib.course.implementations import (
    Shape,
    asymmetric_flops,
    block_flops,
    both_poolings_flops,
    folded_block_flops,
    folded_flops,
    nonlocal_bytes,
    nonlocal_flops,
    pooling_flops,
    training_flops,
)
from annlib.engine.profiler import operation_counter, peak_bytes
from annlib.model.asymmetric import AFNB, APNB, AsymmetricAttention
from annlib.model.baselines import NonLocalAttention
from annlib.model.fused import FoldedAFNB, FoldedAPNB, FoldedAttention, pyramid_means

few = settings(max_examples=25, deadline=None)
COUNT = st.integers(1, 6)
SIDE = st.integers(4, 9)


@st.composite
def shapes(draw: st.DrawFn, of_one_map: bool) -> Shape:
    """Of AFNB or, if one map asks itself, of APNB and the ordinary block."""
    channels = draw(COUNT)
    return Shape(
        channels=channels,
        key_in_channels=channels if of_one_map else draw(COUNT),
        key_channels=draw(COUNT),
        value_channels=draw(COUNT),
        size=(draw(SIDE), draw(SIDE)),
        pool_scales=tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))),
        shared=of_one_map,
        batch=draw(st.integers(2, 3)),  # 1: a pooled map has one value a channel, too few to norm
    )


OF_ONE_MAP, OF_TWO = shapes(of_one_map=True), shapes(of_one_map=False)


def counted(module: nn.Module, shape: Shape, num_maps: int, backward: bool = False) -> int:
    """What torch counts; the maps are the one that answers and the one that asks."""
    widths = (shape.key_in_channels, shape.channels)[-num_maps:]
    maps = [torch.randn(shape.batch, c, *shape.size, requires_grad=True) for c in widths]
    with operation_counter() as counter, torch.set_grad_enabled(backward):
        output = module(*maps)
        if backward:
            output.sum().backward()
    return counter.get_total_flops()


class AskedLast(nn.Module):
    """Attention as the blocks call it: the map that asks comes second."""

    def __init__(self, attention: AsymmetricAttention):
        super().__init__()
        self.attention = attention

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """(B, Ck, H, W), (B, Cq, H, W) -> (B, Cq, H, W)"""
        return self.attention(high, low)


def inner(shape: Shape) -> tuple[int, int]:
    return shape.key_channels, shape.value_channels


@few
@given(OF_ONE_MAP)
def test_ordinary_attention_is_counted_alike(shape: Shape) -> None:
    module = NonLocalAttention(shape.channels, *inner(shape))
    assert counted(module, shape, 1) == nonlocal_flops(shape)


@few
@given(OF_TWO | OF_ONE_MAP)
@pytest.mark.parametrize(
    ("form", "formula"),
    [(AsymmetricAttention, asymmetric_flops), (FoldedAttention, folded_flops)],
)
def test_asymmetric_attention_is_counted_alike(form: type, formula, shape: Shape) -> None:
    widths = (shape.channels, shape.key_in_channels, *inner(shape), shape.pool_scales)
    module = AskedLast(form(*widths, shape.shared))
    assert counted(module, shape, 2) == formula(shape)


BLOCKS = [
    (AFNB, APNB, block_flops, lambda shape: 0),
    (FoldedAFNB, FoldedAPNB, folded_block_flops, both_poolings_flops),
]


@few
@given(OF_TWO, st.booleans())
@pytest.mark.parametrize("forms", BLOCKS, ids=["plain", "folded"])
def test_afnb_is_counted_alike(forms: tuple, shape: Shape, backward: bool) -> None:
    form, _, formula, fixed = forms
    widths = (shape.key_in_channels, shape.channels, *inner(shape), shape.pool_scales)
    expected = formula(shape)
    if backward:
        expected = training_flops(expected, fixed(shape))
    assert counted(form(*widths), shape, 2, backward) == expected


@few
@given(OF_ONE_MAP, st.booleans())
@pytest.mark.parametrize("forms", BLOCKS, ids=["plain", "folded"])
def test_apnb_is_counted_alike(forms: tuple, shape: Shape, backward: bool) -> None:
    _, form, formula, fixed = forms
    expected = formula(shape)
    if backward:
        expected = training_flops(expected, fixed(shape))
    module = form(shape.channels, *inner(shape), shape.pool_scales)
    assert counted(module, shape, 1, backward) == expected


@few
@given(OF_ONE_MAP)
def test_pooling_is_counted_alike(shape: Shape) -> None:
    x = torch.randn(shape.batch, shape.channels, *shape.size)
    with operation_counter() as counter:
        pyramid_means(x, shape.pool_scales)
    assert counter.get_total_flops() == pooling_flops(shape, shape.channels)


@settings(max_examples=5, deadline=None)
@given(st.integers(20, 30), st.integers(20, 30))
def test_memory_of_the_ordinary_block_is_foretold(height: int, width: int) -> None:
    shape = Shape(6, 6, 5, 5, (height, width))
    module, x = NonLocalAttention(6, 5, 5).eval(), torch.randn(1, 6, height, width)
    with torch.inference_mode():
        peak = peak_bytes(lambda: module(x), x.device)
    assert peak == pytest.approx(nonlocal_bytes(shape), rel=0.01)
