"""Contests: who is compared with whom, and by what."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from annlib.engine.profiler import Timing
from benchmarks import network as module
from benchmarks.common import Ready, Resident
from benchmarks.network import (
    agreement,
    contest,
    counted_gflops,
    difference,
    first_results,
    processes_of,
)

CPU = torch.device("cpu")


def works(**numbers: float) -> dict[str, Callable[[], Ready]]:
    """Work whose result is one number."""
    return {
        name: lambda number=number: Ready(*2 * [lambda: torch.tensor([number])], parameters=7)
        for name, number in numbers.items()
    }


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first takes 30 ms, the next 20, the last 10."""

    def race(calls, device: torch.device, repeat: int) -> dict[str, Timing]:
        times = (30.0, 20.0, 10.0)
        return {name: Timing(t, t - 1, t + repeat) for name, t in zip(calls, times, strict=True)}

    monkeypatch.setattr(module, "race", race)


def test_all_are_compared_with_the_first(clock: None) -> None:
    entries = contest(works(theirs=2.0, ours=2.5, other=1.0), CPU, repeat=5)
    assert [entry.name for entry in entries] == ["theirs", "ours", "other"]
    assert [entry.times_faster for entry in entries] == [1.0, 1.5, 3.0]
    assert [entry.difference for entry in entries] == [0.0, 0.25, 0.5]
    assert {(entry.agreement, entry.parameters) for entry in entries} == {(None, 7)}


def test_entry_as_json_has_the_rate_and_the_process(clock: None) -> None:
    found = {"a": Resident(10.0, 20.0), "b": None, "c": None}
    first, second, _ = contest(works(a=1.0, b=1.0, c=1.0), CPU, 1, processes=found)
    assert first.as_json()["resident"] == {"before": 10.0, "peak": 20.0}
    assert second.as_json()["resident"] is None
    assert first.as_json()["timing"]["slowest"] == 31.0


def test_rate_is_work_by_time(clock: None) -> None:
    a, b = torch.randn(100, 200), torch.randn(200, 300)
    product = Ready(*2 * [lambda: a @ b])
    *_, last = contest(dict.fromkeys("abc", lambda: product), CPU, 1)
    assert last.gflops == pytest.approx(2 * 100 * 200 * 300 / 1e9)
    assert last.gflops_per_second == pytest.approx(last.gflops / 0.010)


def test_first_calls_are_compared_one_by_one() -> None:
    state = torch.zeros(2)

    def call() -> Tensor:
        return state.add_(1)  # the same memory each time, as a compiled network's

    assert first_results(call, looks=3).tolist() == [[1, 1], [2, 2], [3, 3]]


def test_difference_is_a_share_of_the_largest_expected() -> None:
    expected = torch.tensor([0.0, -8.0, 4.0])
    assert difference(torch.tensor([1.0, -8.0, 2.0]), expected) == 2 / 8
    assert difference(expected, expected) == 0


def test_result_that_is_no_number_is_not_passed_over() -> None:
    found = difference(torch.tensor([1.0, float("nan")]), torch.ones(2))
    assert found != found


def test_agreement_is_of_the_best_classes_of_pixels() -> None:
    expected = torch.zeros(1, 1, 3, 2, 2)
    expected[0, 0, 1] = 1.0
    found = expected.clone()
    found[0, 0, 2, 0, 1] = 2.0  # another class for one of four pixels
    assert agreement(found, expected) == 0.75
    assert agreement(torch.ones(3), torch.ones(3)) is None


def test_plain_work_is_counted_and_the_other_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[Callable[[], Tensor]] = []
    monkeypatch.setattr(
        module,
        "race",
        lambda calls, *a: timed.extend(calls.values()) or {"a": Timing(1.0, 1.0, 1.0)},
    )
    model, images = nn.Conv2d(3, 4, 3), torch.randn(1, 3, 12, 12)
    ready = Ready(lambda: torch.ones(1), plain=lambda: model(images))
    (entry,) = contest({"a": lambda: ready}, CPU, 1)
    assert entry.gflops == 2 * 3 * 9 * 4 * 10 * 10 / 1e9
    assert timed == [ready.call]


def test_fused_attention_is_counted() -> None:
    q, k = torch.randn(1, 1, 50, 8), torch.randn(1, 1, 30, 8)
    fused = counted_gflops(lambda: scaled_dot_product_attention(q, k, k))
    assert fused == 2 * 2 * 50 * 30 * 8 / 1e9


def test_work_of_a_gpu_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "resident", lambda prepare: Resident(1.0, 2.0))
    work = works(a=1.0, b=2.0)
    assert processes_of(work, torch.device("cuda")) == {"a": None, "b": None}
    assert processes_of(work, CPU) == dict.fromkeys("ab", Resident(1.0, 2.0))
