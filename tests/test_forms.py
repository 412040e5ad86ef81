"""Forms of one computation side by side: what is compared, measured, and left out."""

from math import isnan

import pytest
import torch
from torch import Tensor

from annlib.course.implementations import forms_table
from annlib.course.timing import (
    Comparison,
    Conditions,
    Cost,
    Finish,
    Form,
    Results,
    compare_forms,
    full_float32,
    relative_difference,
)
from annlib.engine.profiler import Timing

HERE = Conditions(torch.device("cpu"), repeat=2)
SIZE = (4, 4)
MIB = 2**20


def doubling(x: Tensor, extra: float = 0.0):
    return lambda: {"output": 2 * x + extra}


def form(name: str, **others: object) -> Form:
    return Form(name, doubling(torch.ones(4, 4)), flops=0, **others)


def used_up() -> Results:
    raise torch.OutOfMemoryError("out of memory")


def test_difference_is_the_largest_share_of_a_map() -> None:
    expected = {"output": torch.tensor([1.0, -4.0]), "input 0": torch.tensor([100.0])}
    found = {"output": torch.tensor([1.0, -5.0]), "input 0": torch.tensor([101.0])}
    assert relative_difference(found, expected) == 0.25


def test_weight_and_bias_of_a_layer_share_their_measure() -> None:
    expected = {"a.weight": torch.tensor([10.0]), "a.bias": torch.tensor([0.0])}
    found = {"a.weight": torch.tensor([10.0]), "a.bias": torch.tensor([1.0])}
    assert relative_difference(found, expected) == pytest.approx(0.1)


@pytest.mark.parametrize("place", [0, 1])
def test_nan_is_no_agreement(place: int) -> None:
    sound, broken = torch.ones(2), torch.tensor([1.0, torch.nan])
    found = {"output": broken if place == 0 else sound, "x": broken if place == 1 else sound}
    assert isnan(relative_difference(found, {"output": sound, "x": sound}))
    assert isnan(relative_difference({"output": sound, "x": sound}, found))


def test_missing_result_is_no_agreement() -> None:
    with pytest.raises(KeyError):
        relative_difference({}, {"output": torch.ones(1)})


def test_forms_are_compared_with_the_one_that_they_are_like() -> None:
    x = torch.rand(4, 4) + 1
    forms = [
        Form("a", doubling(x), 0),
        Form("b", doubling(x, 0.5), 0),
        Form("like a", doubling(x), 0, like="a"),
        Form("unlike b", doubling(x), 0, like="b"),
    ]
    found = compare_forms("race", SIZE, forms, HERE)
    a, b, like, unlike = (finish.needs.difference for finish in found.finishes)
    assert a is b is None and like == 0.0
    assert unlike == pytest.approx(0.5 / (2 * x + 0.5).max().item())


def test_memory_output_and_work_are_of_one_call() -> None:
    a, b = torch.randn(512, 256), torch.randn(256, 1024)
    found = compare_forms("race", SIZE, [Form("product", lambda: {"output": a @ b}, 7)], HERE)
    (finish,) = found.finishes
    assert finish.needs.output_bytes == finish.needs.peak_bytes == 512 * 1024 * 4
    assert finish.needs.flops == 2 * 512 * 256 * 1024 and finish.formula == 7


def test_form_that_needs_more_than_is_allowed_is_left_out() -> None:
    here = Conditions(HERE.device, 1, limit_bytes=2 * 2**30)
    forms = [form("small"), form("large", bytes=3 * 2**30), form("like it", like="large")]
    found = compare_forms("race", SIZE, forms, here)
    assert [finish.name for finish in found.finishes] == ["small", "like it"]
    assert found.notes == ("race, large: needs 3 GiB, and 2 GiB may be used.",)
    assert found.finish("large") is None and found.finish("like it").needs.difference is None


def test_form_that_runs_out_of_memory_does_not_end_the_others() -> None:
    forms = [Form("large", used_up, 0), form("small")]
    found = compare_forms("race", SIZE, forms, HERE)
    assert [finish.name for finish in found.finishes] == ["small"]
    assert found.notes == ("race, large: out of memory.",)


def test_other_errors_are_not_taken_for_a_full_memory() -> None:
    def broken() -> Results:
        raise RuntimeError("sizes differ")

    with pytest.raises(RuntimeError, match="sizes differ"):
        compare_forms("race", SIZE, [Form("broken", broken, 0)], HERE)


@pytest.mark.parametrize("before", [True, False])
def test_gpu_does_not_round_to_tf32_meanwhile(before: bool) -> None:
    backends = (torch.backends.cudnn, torch.backends.cuda.matmul)
    usual = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = before
        with full_float32():
            assert [backend.allow_tf32 for backend in backends] == [False, False]
        assert [backend.allow_tf32 for backend in backends] == [before, before]
    finally:
        for backend, allowed in zip(backends, usual, strict=True):
            backend.allow_tf32 = allowed


def finish(name: str, milliseconds: float, mebibytes: int, difference: float | None) -> Finish:
    timing = Timing(milliseconds, milliseconds - 1, milliseconds + 2)
    return Finish(name, 4 * 10**9, Cost(mebibytes * MIB, 2 * MIB, 3 * 10**9, difference), timing)


SLOW, FAST = finish("slow", 30, 50, None), finish("fast", 10, 4, 3e-7)
SIDE_BY_SIDE = Comparison("4 x 4", SIZE, (SLOW, FAST), ("4 x 4, huge: out of memory.",))


def rows(text: str) -> list[list[str]]:
    lines = text.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_table_shows_each_form_beside_its_rivals() -> None:
    text = forms_table("form", [SIDE_BY_SIDE], ["slow", "fast"])
    times, work = "10.0 (9.0 to 12.0)", ["3.00", "4.00", "3e-07"]
    assert rows(text)[1] == ["4 x 4: fast", times, "3.00", "1.00", "4.0", "12.50", "2.00", *work]
    assert rows(text)[0][2:4] == ["1.00", "0.33"] and rows(text)[0][-1] == "-"
    assert "4 x 4, huge: out of memory." in text


def test_rival_that_was_not_measured_is_compared_with_nothing() -> None:
    (row,) = rows(forms_table("form", [Comparison("4 x 4", SIZE, (FAST,), ())], ["slow"]))
    assert row[2] == row[4] == "-"
