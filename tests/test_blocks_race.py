"""annlib benchmark blocks: every form computes the same, and what is written about it."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from annlib import __main__
from annlib.course import implementations
from annlib.course.implementations import (
    Channels,
    afnb,
    apnb,
    attention_forms,
    block_forms,
    compare_attentions,
    compare_blocks,
)
from annlib.course.timing import SHIFTS, Conditions, made_up, relative_difference, settled
from annlib.model.asymmetric import AFNB, APNB
from benchmarks.mmseg_reference import installed

HERE = Conditions(torch.device("cpu"), repeat=1)
SMALL = Channels(low=6, high=10, hidden=8, key=5, value=5, pool_scales=(1, 2, 3))
SIZE = (9, 13)
LAYOUTS = pytest.mark.parametrize("here", [HERE, replace(HERE, channels_last=False)])


@LAYOUTS
def test_all_forms_agree_in_output_and_gradients(here: Conditions) -> None:
    found = list(compare_blocks([SIZE, (6, 6)], SMALL, here))
    assert [each.title.split(" ")[0] for each in found] == 2 * ["AFNB", "AFNB", "APNB", "APNB"]
    for each in found:
        first, *others = each.finishes
        assert len(others) == 1 + installed() and first.needs.difference is None
        tolerance = 1e-4 if each.title.endswith("step") else 1e-5  # few channels, small gradients
        assert all(other.needs.difference < tolerance for other in others)


@LAYOUTS
def test_all_attentions_agree(here: Conditions) -> None:
    (found,) = compare_attentions([SIZE], SMALL, here)
    differences = {each.name: each.needs.difference for each in found.finishes}
    assert differences.pop("non-local") is differences.pop("APNB") is None
    assert len(differences) == 2 + 2 * installed()
    assert max(differences.values()) < 1e-5


def test_ordinary_and_asymmetric_attention_are_different_functions() -> None:
    ordinary, _, asymmetric, *_ = attention_forms(SMALL, SIZE, HERE)
    assert relative_difference(ordinary.compute(), asymmetric.compute()) > 0.01


def test_work_is_that_of_the_formula() -> None:
    found = [*compare_blocks([SIZE], SMALL, HERE), *compare_attentions([SIZE], SMALL, HERE)]
    finishes = [finish for each in found for finish in each.finishes]
    assert [finish.needs.flops for finish in finishes] == [finish.formula for finish in finishes]


@pytest.mark.parametrize(
    "weight", ["attention.to_output.weight", "attention.to_value.bias", "fuse.0.weight"]
)
@pytest.mark.parametrize("make", [afnb, apnb])
def test_form_that_computes_something_else_is_seen(make: Callable, weight: str) -> None:
    block = make(SMALL, SIZE, HERE)
    with torch.no_grad():
        block.forms["folded"].get_parameter(weight).mul_(1.1)
    plain, folded, *_ = block_forms(block, False, HERE)
    assert relative_difference(folded.compute(), plain.compute()) > 1e-4


@pytest.mark.parametrize("make", [afnb, apnb])
def test_gradients_of_all_inputs_and_weights_are_compared(make: Callable) -> None:
    block = make(SMALL, SIZE, HERE)
    plain, *_ = block_forms(block, True, HERE)
    weights = {name for name, _ in block.forms["plain"].named_parameters()}
    inputs = {f"input {i}" for i in range(len(block.inputs))}
    assert plain.compute().keys() == {"output"} | inputs | weights - set(SHIFTS)


@pytest.mark.parametrize("make", [afnb, apnb])
def test_steps_do_not_add_up(make: Callable) -> None:
    plain, *_ = block_forms(make(SMALL, SIZE, HERE), True, HERE)
    first, second = plain.compute(), plain.compute()
    assert relative_difference(second, first) == 0.0


@pytest.mark.parametrize("make", [afnb, apnb])
def test_forward_and_step_each_compute_in_their_mode(make: Callable) -> None:
    block = make(SMALL, SIZE, HERE)
    statistics = block.forms["plain"].fuse[1].running_mean.clone()
    forward, step = (block_forms(block, steps, HERE)[0] for steps in (False, True))
    assert forward.compute()["output"].is_inference()
    assert torch.equal(block.forms["plain"].fuse[1].running_mean, statistics)
    step.compute()
    assert block.forms["plain"].training
    forward.compute()
    assert not block.forms["plain"].training


@pytest.mark.parametrize("make", [afnb, apnb])
def test_shifts_that_are_not_compared_have_no_gradient(make: Callable) -> None:
    block = make(SMALL, SIZE, HERE)
    plain = block.forms["plain"].double().train()
    output = plain(*(values.double() for values in block.inputs))
    output.backward(torch.randn_like(output))
    for shift in SHIFTS:
        weight = plain.get_parameter(shift.replace("bias", "weight"))
        assert plain.get_parameter(shift).grad.abs().max() < 1e-12 * weight.grad.abs().max()


def test_batch_norm_of_a_settled_block_knows_its_inputs() -> None:
    features = made_up(8, SIZE, HERE)
    block = settled(APNB(8, 5, 5, (1, 2)), features)
    keys = block.attention.to_key[0](features)
    torch.testing.assert_close(block.attention.to_key[1].running_mean, keys.mean((0, 2, 3)))
    assert block.attention.to_output.weight.abs().min() > 0


def test_made_up_maps_are_alike_where_places_are_near() -> None:
    values = made_up(500, (32, 32), HERE)
    near = (values[..., 1:] * values[..., :-1]).mean()
    far = (values[..., 16:] * values[..., :16]).mean()
    assert near > 0.2 > 10 * far.abs()


def test_paper_has_these_channels() -> None:
    paper, half = Channels(), Channels().divided(2)
    assert (paper.low, paper.high, paper.hidden, paper.key, paper.value) == (
        *(2 * count for count in (half.low, half.high, half.hidden, half.key, half.value)),
    )
    assert (paper.high, paper.key) == (2048, 256)
    block = AFNB(paper.low, paper.high, paper.key, paper.value, paper.pool_scales)
    assert sum(weight.numel() for weight in block.parameters()) == 9_968_896  # as in the reference


@pytest.fixture
def annlib(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Runs a command line.  -> what it printed"""

    def run(*words: object) -> str:
        monkeypatch.chdir(tmp_path)
        line = ["annlib", "benchmark", "blocks", "--device", "cpu", *map(str, words)]
        monkeypatch.setattr(sys, "argv", line)
        __main__.main()
        return capsys.readouterr().out

    return run


TINY = ("--divide", 64, "--repeat", 1, "--sizes", 7, 9, "--attention-sizes", 8, 8, 20, 20)


def test_command_writes_what_it_prints(annlib) -> None:
    printed = annlib(*TINY, "--limit-gib", 0.001)
    (table,), (numbers,) = (
        Path("data/results/benchmark").glob(f"*.{end}") for end in ("md", "json")
    )
    assert table.read_text() in printed and f"Saved {table}" in printed
    needed = f"{4 * 400 * (2 * 400 + 4 + 4) / 2**30:.3g}"
    assert f"20 x 20, non-local: needs {needed} GiB, and 0.001 GiB may be used." in printed
    values = json.loads(numbers.read_text())
    assert [each["title"] for each in values["attention"]] == ["8 x 8", "20 x 20"]
    assert len(values["blocks"]) == 4 and values["settings"]["channels"]["high"] == 32
    forms = {finish["name"]: finish for finish in values["attention"][0]["finishes"]}
    assert forms["APNB, folded"]["needs"]["output_bytes"] == 4 * 32 * 8 * 8
    assert values["made"]["versions"]["torch"] == torch.__version__


def test_other_maps_get_another_file(annlib) -> None:
    annlib(*TINY)
    annlib(*TINY, "--no-channels-last")
    names = sorted(path.stem for path in Path("data/results/benchmark").glob("*.md"))
    assert len(names) == 2
    assert names[0].startswith("blocks_channels-by-64_7x9_attention-8x8_attention-20x20_")
    assert names[1].startswith("blocks_channels-by-64_contiguous_7x9_")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--sizes", 0, 5), "--sizes"),
        (("--attention-sizes", 5, 0), "--attention-sizes"),
        (("--divide", 0), "divided by 0"),
        (("--divide", 129), "256 channels cannot be divided by 129.* Divide by 1 to 128"),
        (("--repeat", 0), "--repeat"),
    ],
)
def test_what_cannot_be_measured_is_told(annlib, words: tuple, message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        annlib(*words)


def test_reference_takes_part_only_if_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (implementations, implementations):
        monkeypatch.setattr(module, "installed", lambda: False)
    assert set(afnb(SMALL, SIZE, HERE).forms) == {"plain", "folded"}
    assert len(attention_forms(SMALL, SIZE, HERE)) == 4
