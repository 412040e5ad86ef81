"""Costs by formula against the counter, and what the figures and widgets say of them."""

from itertools import product
from math import inf

import pytest
import torch

from annlib.course.costs import (
    HEADS,
    Setting,
    bills,
    block_shape,
    network_bill,
    operations,
    step_gflops,
)
from annlib.course.implementations import (
    Channels,
    Shape,
    asymmetric_flops,
    attention_implementations,
    exchange,
    layers,
    nonlocal_flops,
)
from annlib.course.plots.costs import cost_curves, orders
from annlib.course.profiler import Conditions, operation_counter, peak_bytes
from annlib.course.widgets import attention, costs
from annlib.course.widgets.costs import GRIDS
from annlib.model.asymmetric import AFNB, APNB
from annlib.model.fused import FoldedAFNB, FoldedAPNB

BLOCKS = {"AFNB": (AFNB, FoldedAFNB), "APNB": (APNB, FoldedAPNB)}
CPU = Conditions(torch.device("cpu"), repeat=2)


@pytest.mark.parametrize(("size", "channels"), [((7, 12), 16), ((128, 256), 256)])
def test_operations_are_those_of_the_formulas_that_torch_confirms(
    size: tuple[int, int], channels: int
) -> None:
    shape = Shape(8 * channels, 8 * channels, channels, channels, size)
    positions = size[0] * size[1]
    assert operations(positions, positions, channels) == nonlocal_flops(shape)
    assert operations(positions, 110, channels) == asymmetric_flops(shape)


def test_memory_by_formula_is_near_what_is_held() -> None:
    channels, size = Channels().divided(8), (48, 64)
    expected = bills(48 * 64, 110, channels.key)
    for each in attention_implementations(channels, size, CPU):
        if each.name in expected:
            held = peak_bytes(each.compute, CPU.device)
            assert held == pytest.approx(expected[each.name].num_bytes, rel=0.15)


@pytest.mark.parametrize("name", ["AFNB", "APNB"])
@pytest.mark.parametrize("size", [(9, 13), (64, 128)])
def test_steps_of_a_block_add_up_to_what_torch_counts(name: str, size: tuple[int, int]) -> None:
    shape = block_shape(name, size, 64)
    widths = (shape.key_in_channels, shape.channels)[name == "APNB" :]
    inner = shape.key_channels, shape.value_channels, shape.pool_scales
    with torch.device("meta"):
        maps = [torch.empty(1, count, *size) for count in widths]
        modules = [kind(*widths, *inner).eval() for kind in BLOCKS[name]]
    for module, folded in zip(modules, (False, True), strict=True):
        with operation_counter() as counter, torch.no_grad():
            module(*maps)
        counted = pytest.approx(counter.get_total_flops() / 1e9)
        assert sum(step_gflops(shape, folded).values()) == counted


def test_network_with_more_blocks_takes_more() -> None:
    totals = [sum(network_bill(head, (64, 64)).values()) for head in HEADS]
    assert totals[1] < totals[2]


def test_cost_explorer_answers_for_every_state() -> None:
    widget = costs.CostExplorer(2**33)
    states = product((8, 256), (8, 256), (32, 512), (GRIDS[0], GRIDS[-1]))
    shown = [widget.draw(*state)[0].alt for state in states]
    assert len(set(shown)) == len(shown) == 16
    assert any("does not fit here" in text for text in shown)


def test_slider_of_anchors_names_as_many_as_its_grids_have() -> None:
    named = {name: int(name.split()[0]) for name in costs.LEVELS}
    made = {name: Shape(8, 8, 1, 1, (9, 9), grids).anchors for name, grids in costs.LEVELS.items()}
    assert named == made and list(named.values()) == [1, 10, 46, 110, 366, 1390]


def test_curves_without_known_memory_draw_no_limit() -> None:
    assert "does not fit" not in cost_curves(Setting((256, 256), 512, GRIDS[3]), inf).alt


@pytest.mark.parametrize("head", [list(HEADS)[-1]])
def test_network_bill_answers_for_every_head(head: str) -> None:
    widget = costs.network_cost()
    shown = [widget.draw(head, size)[0].alt for size in costs.SIZES.values()]
    assert all("GFLOPs in all" in text for text in shown)


def test_fold_bill_answers_for_the_ends_of_its_sliders() -> None:
    widget = costs.folding_cost()
    states = product(("AFNB", "APNB"), (8, 256), (8, 256), (64, 2048))
    assert len({widget.draw(*state).alt for state in states}) == 16


@pytest.mark.all
def test_order_swap_says_who_may_change_places() -> None:
    widget = attention.layer_order(layers(4), torch.randn(2, 4, 16, 24))
    states = product(layers(4), widget.controls["n x n"].options)
    shown = [widget.draw(name, cells, 3).alt for name, cells in states]
    may = {text.split(",")[0] for text in shown if "They commute" in text}
    assert may == {"1 x 1 convolution", "batch norm"}
    assert not any("batch norm, training" in text for text in shown if "They commute" in text)


def test_orders_that_agree_are_said_to_agree_by_rounding() -> None:
    found = exchange(torch.nn.Identity(), torch.randn(2, 3, 8, 9), 3)
    assert "rounding" in orders(found, 0, "nothing").alt
