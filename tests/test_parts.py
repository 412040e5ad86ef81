"""A network's cost, part by part."""

from dataclasses import replace
from itertools import count

import pytest
import torch
from tiny import HEADS, TINY
from tiny_zoo import CITYSCAPES_769, SHRINK, tiny_row

from annlib.config import Head, ModelConfig
from annlib.engine.row_costs import (
    REST,
    Measuring,
    gflops_by_part,
    milliseconds_by_part,
    network_input,
    parameters_by_part,
    parts_of,
    parts_table,
    spent_by_part,
)
from annlib.model.ann import ANN
from annlib.model.build import build_model
from annlib.zoo import published
from benchmarks.verify_zoo import reference_costs

R50 = ModelConfig(50, num_classes=19)
PARAMETERS = {  # mmseg's, counted there
    "stem": 28_768,
    "layer1": 215_808,
    "layer2": 1_219_584,
    "layer3": 7_098_368,
    "layer4": 14_964_736,
    "afnb": 9_968_896,
    "reduce": 9_438_208,
    "apnb": 919_808,
    "classifier": 9_747,
    "auxiliary": 2_364_691,
    REST: 0,
}
GFLOPS = {"afnb": 164.13, "reduce": 154.62, "classifier": 0.16, "auxiliary": 38.73, REST: 0.0}
BACKBONE = ("stem", "layer1", "layer2", "layer3", "layer4")
SMALL = Measuring(torch.device("cpu"), shrink=SHRINK, repeat=1)


def test_parameters_of_each_part_are_the_references() -> None:
    assert parameters_by_part(R50) == PARAMETERS
    assert sum(PARAMETERS.values()) == reference_costs()["r50_19"]["parameters"]


@pytest.mark.slow
def test_gflops_of_each_part_are_the_references() -> None:
    found = gflops_by_part(R50, 1, (512, 1024), folded=False)
    assert sum(found[name] for name in BACKBONE) == pytest.approx(403.68, abs=0.01)
    for name, gflops in GFLOPS.items():
        assert found[name] == pytest.approx(gflops, abs=0.01), name
    shared = 2 * 512 * 256 * 64 * 128 / 1e9  # the projection that the reference computes twice
    assert found["apnb"] == pytest.approx(18.10 - shared, abs=0.01)


@pytest.mark.parametrize("head", HEADS)
def test_parts_of_every_head_hold_all_parameters(head: Head) -> None:
    counts = parameters_by_part(replace(TINY, head=head))
    model = build_model(replace(TINY, head=head))
    assert counts[REST] == 0
    assert sum(counts.values()) == sum(weight.numel() for weight in model.parameters())


def test_parts_add_up_to_all_that_a_clock_advances() -> None:
    ticks = count()
    spent = spent_by_part(ANN(TINY), torch.randn(1, 3, 32, 40), lambda: float(next(ticks)))
    assert sum(spent.values()) == next(ticks) - 1  # from the first look to the last
    assert all(spent[name] == 1 for name in spent if name != REST)  # one look at either end


def test_nothing_is_left_on_the_network() -> None:
    model = ANN(TINY).train()
    spent_by_part(model, torch.randn(1, 3, 32, 40), lambda: 0.0)
    assert model.training
    for part in parts_of(model).values():
        assert not part._forward_hooks and not part._forward_pre_hooks


def test_nothing_is_left_on_the_network_after_an_error() -> None:
    model = ANN(TINY)

    def broken() -> float:
        raise RuntimeError("no clock")

    with pytest.raises(RuntimeError, match="no clock"):
        spent_by_part(model, torch.randn(1, 3, 32, 40), broken)
    model(torch.randn(1, 3, 32, 40))


def test_time_goes_into_every_part() -> None:
    spent = milliseconds_by_part(TINY, (32, 40), SMALL)
    assert all(milliseconds > 0 for milliseconds in spent.values())


def test_sliding_row_is_measured_on_a_window_others_on_the_picture() -> None:
    full = Measuring(torch.device("cpu"))
    rows = ("ann_r50-d8_769x769_40k_cityscapes", "ann_r50-d8_512x512_20k_voc12aug")
    sizes = [network_input(published(name).experiment, full) for name in rows]
    assert sizes == [(769, 769), (512, 683)]


def test_last_line_of_the_table_is_the_sum_of_the_others() -> None:
    rule, text = 1, parts_table(tiny_row(CITYSCAPES_769).experiment, SMALL)
    lines = text.split("\n\n")[0].splitlines()[rule + 1 :]
    *parts, total = [[cell.strip() for cell in line.strip("|").split("|")][1:] for line in lines]
    for column in range(3):
        numbers = [float(part[column].replace(",", "")) for part in parts]
        assert sum(numbers) == pytest.approx(float(total[column].replace(",", "")), abs=0.06)
    assert "1 x 3 x 49 x 49" in text
