"""One image and one training step: variants, workloads, comparison, tables, command."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_zoo import CITYSCAPES, CITYSCAPES_769, SHRINK, narrow_row, tiny_row
from torch import Tensor, nn

from annlib import published_experiments
from annlib.config import RuntimeConfig
from annlib.course.profiler import Timing
from annlib.course.row_costs import noise_batch
from annlib.engine.optimization import segmentation_loss
from annlib.model.ann import ANN
from annlib.seeds import seeded
from benchmarks import common, evaluation, mmseg_reference, network
from benchmarks import network as module
from benchmarks.common import DevicePeak, ProcessMemory, Workload
from benchmarks.mmseg_reference import installed
from benchmarks.network import (
    Measured,
    Report,
    Variant,
    compare_workloads,
    inference,
    make_image,
    make_network,
    number_of_parameters,
    our_network,
    training,
    variants,
    variants_table,
    without_dropout,
)

pytestmark = pytest.mark.all

# Who races: the same function under several names.


ROW, CPU = narrow_row(), torch.device("cpu")
OURS = ("as written", "folded", "frozen")


@pytest.mark.parametrize("reference", [True, False])
def test_reference_is_first_where_it_is_installed(reference: bool, monkeypatch) -> None:
    monkeypatch.setattr(module, "installed", lambda: reference)
    names = [each.name for each in variants("frozen", RuntimeConfig())]
    ours = ["as written", "folded, channels last", "frozen, channels last"]
    assert names == ["reference"] * reference + ours


@pytest.mark.parametrize(
    ("compute", "more"),
    [
        (RuntimeConfig("bf16"), ["bf16"]),
        (RuntimeConfig(compile=True), ["compiled"]),
        (RuntimeConfig("bf16", compile=True), ["bf16", "bf16, compiled"]),
        (
            RuntimeConfig("bf16", compile=True, cuda_graphs=True),
            ["bf16", "bf16, compiled", "bf16, compiled, CUDA graphs"],
        ),
    ],
)
def test_best_of_ours_takes_part_with_more_and_more(compute: RuntimeConfig, more: list) -> None:
    usual, found = variants("folded", RuntimeConfig()), variants("folded", compute)
    assert found[: len(usual)] == usual
    names = [each.name for each in found[len(usual) :]]
    assert names == [f"folded, channels last, {words}" for words in more]
    assert found[-1].compute == compute
    assert "frozen" not in {each.network for each in found}  # it cannot be trained


def test_weights_are_the_same_whenever_a_network_is_built() -> None:
    first = our_network(ROW).state_dict()
    torch.rand(3)  # whatever was drawn before
    second = our_network(ROW).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_no_weight_is_idle() -> None:
    weights = our_network(ROW).state_dict()
    tensors = {name: tensor for name, tensor in weights.items() if name.endswith("weight")}
    assert [name for name, tensor in tensors.items() if not tensor.any()] == []


@pytest.mark.parametrize("name", [*OURS, *["reference"] * installed()])
@pytest.mark.parametrize("channels_last", [True, False])
def test_network_is_in_its_layout(name: str, channels_last: bool) -> None:
    model = make_network(Variant(name, RuntimeConfig(channels_last=channels_last)), ROW, CPU)
    wide = [p for p in model.parameters() if p.ndim == 4 and min(p.shape[1:]) > 1]
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert wide and all(weight.is_contiguous(memory_format=layout) for weight in wide)


def test_only_the_frozen_one_is_frozen() -> None:
    models = {name: make_network(Variant(name), ROW, CPU) for name in OURS}
    kinds = {n: tuple(type(b).__name__ for b in (m.afnb, m.apnb)) for n, m in models.items()}
    assert kinds == {
        "as written": ("AFNB", "APNB"),
        "folded": ("FoldedAFNB", "FoldedAPNB"),
        "frozen": ("ReducedAFNB", "FoldedAPNB"),
    }


# What contestants do: the same, whoever does it.


ROW, CPU = narrow_row(), torch.device("cpu")
LAST = RuntimeConfig(channels_last=True)


@pytest.mark.parametrize("name", [CITYSCAPES, CITYSCAPES_769])
def test_all_contestants_give_the_same_logits(name: str) -> None:
    found = [
        inference(each, narrow_row(name), (65, 81), CPU).call()
        for each in variants("frozen", RuntimeConfig())
    ]
    assert found[0].shape == (1, 19, 65, 81)
    for logits in found[1:]:
        torch.testing.assert_close(logits, found[0], rtol=1e-4, atol=1e-5)


def test_logits_are_those_of_the_network() -> None:
    ready = inference(Variant("folded"), ROW, (40, 48), CPU)
    model = our_network(ROW).eval()
    with torch.inference_mode():
        torch.testing.assert_close(ready.call(), model(make_image((40, 48), CPU)).main)


def test_half_precision_is_close_and_not_the_same() -> None:
    full, half = (
        inference(Variant("frozen", RuntimeConfig(precision)), ROW, (64, 64), CPU)
        for precision in ("fp32", "bf16")
    )
    assert (full.precision, half.precision) == ("fp32", "bf16")
    logits = full.call()
    share = (half.call() - logits).abs().max() / logits.abs().max()
    assert 0 < share < 0.1


def test_all_contestants_lose_the_same_in_training() -> None:
    losses = []
    for each in variants("folded", RuntimeConfig()):
        ready = training(each, ROW, (65, 65), 2, CPU)
        losses.append(torch.stack([ready.call() for _ in range(3)]))
    assert len(set(losses[0].tolist())) == 3  # the weights move
    for loss in losses[1:]:
        torch.testing.assert_close(loss, losses[0], rtol=1e-4, atol=0)


def test_steps_follow_the_recipe() -> None:
    """Written out: loss, gradient, a step of SGD; then the loss again."""
    ready = training(Variant("as written"), ROW, (33, 49), 2, CPU)
    model, config = without_dropout(our_network(ROW)).train(), ROW.experiment.train
    data = replace(ROW.experiment.data, crop_size=(33, 49), batch_size=2)
    with seeded("batch"):
        images, labels = noise_batch(replace(ROW.experiment, data=data), CPU)
    for _ in range(2):
        loss = segmentation_loss(model(images), labels, config.aux_weight)
        torch.testing.assert_close(ready.call(), loss.detach())
        for weight, gradient in zip(
            model.parameters(), torch.autograd.grad(loss, model.parameters()), strict=True
        ):
            # The first step's momentum is the gradient itself.
            weight.data -= config.base_lr * (gradient + config.weight_decay * weight.data)


@pytest.mark.parametrize("work", [inference, training])
def test_parameters_are_those_of_the_network(work) -> None:
    sizes = ((32, 32),) if work is inference else ((32, 32), 2)
    ready = work(Variant("folded", LAST), ROW, *sizes, CPU)
    expected = sum(weight.numel() for weight in ANN(ROW.experiment.model).parameters())
    assert ready.parameters == expected == number_of_parameters(our_network(ROW))


def test_network_without_dropout_is_deterministic_in_training() -> None:
    row = replace(
        ROW, experiment=replace(ROW.experiment, model=replace(ROW.experiment.model, dropout=0.5))
    )
    images = make_image((32, 32), CPU).expand(2, -1, -1, -1)
    with_it, without = our_network(row).train(), without_dropout(our_network(row))
    assert not with_it(images).main.equal(with_it(images).main)
    without.train()
    assert without(images).main.equal(without(images).main)


def test_pictures_are_the_same_and_differ_from_place_to_place() -> None:
    images = make_image((64, 96), CPU)
    assert images.shape == (1, 3, 64, 96) and images.equal(make_image((64, 96), CPU))
    cells = images.unfold(2, 16, 16).unfold(3, 16, 16).mean((-1, -2))
    noise = torch.randn(1, 3, 64, 96).unfold(2, 16, 16).unfold(3, 16, 16).mean((-1, -2))
    assert cells.std() > 3 * noise.std()


# Contests: who is compared with whom, and by what.


CPU = torch.device("cpu")


def works(**numbers: float) -> dict[str, Callable[[], Workload]]:
    """Work whose result is one number."""
    return {
        name: lambda number=number: Workload(*2 * [lambda: torch.tensor([number])], parameters=7)
        for name, number in numbers.items()
    }


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first takes 30 ms, the next 20, the last 10."""

    def race(calls, device: torch.device, repeat: int) -> dict[str, Timing]:
        times = (30.0, 20.0, 10.0)
        return {name: Timing(t, t - 1, t + repeat) for name, t in zip(calls, times, strict=False)}

    monkeypatch.setattr(module, "time_interleaved", race)


def test_all_are_compared_with_the_first(clock: None) -> None:
    entries = compare_workloads(works(theirs=2.0, ours=2.5, other=1.0), CPU, repeat=5)
    assert [entry.name for entry in entries] == ["theirs", "ours", "other"]
    assert [entry.times_faster for entry in entries] == [1.0, 1.5, 3.0]
    assert [entry.difference for entry in entries] == [0.0, 0.25, 0.5]
    assert {(entry.agreement, entry.parameters) for entry in entries} == {(None, 7)}


def test_entry_as_json_has_the_rate_and_the_process(clock: None) -> None:
    found = {"a": ProcessMemory(10.0, 20.0), "b": None, "c": None}
    first, second, _ = compare_workloads(works(a=1.0, b=1.0, c=1.0), CPU, 1, processes=found)
    assert first.as_json()["process"] == {"before": 10.0, "peak": 20.0}
    assert second.as_json()["process"] is None
    assert first.as_json()["timing"]["slowest"] == 31.0


def test_rate_is_work_by_time(clock: None) -> None:
    a, b = torch.randn(100, 200), torch.randn(200, 300)
    product = Workload(*2 * [lambda: a @ b])
    *_, last = compare_workloads(dict.fromkeys("abc", lambda: product), CPU, 1)
    assert last.gflops == pytest.approx(2 * 100 * 200 * 300 / 1e9)
    assert last.gflops_per_second == pytest.approx(last.gflops / 0.010)


def test_first_calls_are_compared_one_by_one(clock: None) -> None:
    state = torch.zeros(2)

    def call() -> Tensor:
        return state.add_(1)  # the same memory each time, as a compiled network's

    fixed = Workload(*2 * [lambda: torch.tensor([2.0, 2.0])])
    prepare = {"fixed": lambda: fixed, "moving": lambda: Workload(call, call)}
    _, moving = compare_workloads(prepare, CPU, 1, num_results=3)
    assert moving.difference == 1 / 2  # of 1, 2, 3 and 2, 2, 2


def test_result_that_is_not_a_number_is_not_passed_over(clock: None) -> None:
    _, broken = compare_workloads(works(a=1.0, b=float("nan")), CPU, 1)
    assert broken.difference != broken.difference


def test_agreement_is_of_the_best_classes_of_pixels(clock: None) -> None:
    expected = torch.zeros(1, 3, 2, 2)
    expected[0, 1] = 1.0
    found = expected.clone()
    found[0, 2, 0, 1] = 2.0  # another class for one of four pixels
    prepare = {
        name: lambda scores=scores: Workload(*2 * [lambda: scores])
        for name, scores in (("a", expected), ("b", found))
    }
    assert [each.agreement for each in compare_workloads(prepare, CPU, 1)] == [1.0, 0.75]


def test_plain_work_is_counted_and_the_other_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[Callable[[], Tensor]] = []
    monkeypatch.setattr(
        module,
        "time_interleaved",
        lambda calls, *a: timed.extend(calls.values()) or {"a": Timing(1.0, 1.0, 1.0)},
    )
    model, images = nn.Conv2d(3, 4, 3), torch.randn(1, 3, 12, 12)
    ready = Workload(lambda: torch.ones(1), plain=lambda: model(images))
    (entry,) = compare_workloads({"a": lambda: ready}, CPU, 1)
    assert entry.gflops == 2 * 3 * 9 * 4 * 10 * 10 / 1e9
    assert timed == [ready.call]


# What is written about contests.


PEAK = DevicePeak({"fp32": 100.0, "bf16": 400.0}, 20.0)
THEIRS = Measured(
    name="reference",
    timing=Timing(2000.0, 1900.0, 2300.0),
    times_faster=1.0,
    difference=0.0,
    agreement=1.0,
    peak_mib=500.0,
    process=ProcessMemory(800.0, 2000.0),
    parameters=46_228_614,
    precision="fp32",
    gflops=100.0,
)
FROZEN = Measured(
    name="frozen, bf16",
    timing=Timing(500.0, 490.0, 510.0),
    times_faster=4.0,
    difference=0.0123,
    agreement=0.995,
    peak_mib=250.04,
    process=ProcessMemory(700.0, 1500.0),
    parameters=35_000_000,
    precision="bf16",
    gflops=80.0,
)


def cells(text: str, name: str) -> dict[str, str]:
    """The line of a contestant by the headers of its columns."""
    header, _, *rows = [line.strip("| ").split("|") for line in text.splitlines()]
    (row,) = (row for row in rows if row[0].strip() == name)
    return {key.strip(): cell.strip() for key, cell in zip(header, row, strict=True)}


def without(entry: Measured, **changes: object) -> Measured:
    return Measured(**(vars(entry) | changes))


def test_line_tells_all_that_was_measured() -> None:
    assert cells(variants_table([THEIRS, FROZEN], PEAK), "frozen, bf16") == {
        "variant": "frozen, bf16",
        "ms": "500.0 (490.0 to 510.0)",
        "times faster": "4.00",
        "difference": "1e-02",
        "same class %": "99.50",
        "tensors MiB": "250.0",
        "process MiB": "1500 (0.75x)",
        "before": "700",
        "parameters": "35,000,000",
        "GFLOPs": "80.0",
        "GFLOP/s": "160",
        "peak %": "40.00",  # of its own precision's
    }


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({"agreement": None}, {"same class %"}),
        ({"process": None}, {"process MiB", "before"}),
        ({"gflops": 0.0}, {"parameters", "GFLOPs", "GFLOP/s", "peak %"}),
    ],
)
def test_what_was_not_measured_has_no_column(changes: dict, gone: set) -> None:
    entries = [without(entry, **changes) for entry in (THEIRS, FROZEN)]
    all_columns = cells(variants_table([THEIRS, FROZEN], PEAK), "reference").keys()
    assert all_columns - cells(variants_table(entries, PEAK), "reference").keys() == gone


def test_report_has_every_contest_and_what_the_device_can_do() -> None:
    report = Report({"A step": [THEIRS], "An image": [FROZEN]}, PEAK, torch.device("cpu"), 7)
    text, values = report.text(), json.loads(json.dumps(report.values()))
    assert text.index("A step:") < text.index("| reference") < text.index("An image:")
    assert "100 in fp32, 400 in bf16 GFLOP/s" in text and "20.0 GB/s" in text
    assert "7 calls each" in text and values["settings"]["repeat"] == 7
    assert values["settings"]["threads"] == torch.get_num_threads()
    assert values["device_peak"]["gflops"] == {"fp32": 100.0, "bf16": 400.0}
    assert values["comparisons"]["An image"][0]["gflops_per_second"] == 160.0


# The commands: what they measure, say, write and refuse.


FOLDER = Path("data/results/benchmark")
REFERENCE = ["reference"] * installed()
MODEL = ("network", "image", "--size", 32, 48)
TRAIN = ("network", "step", "--crop", 32, 40, "--batch", 2)
EVALUATE = ("evaluation", "--shrink", SHRINK)


@pytest.fixture
def run(benchmark, monkeypatch: pytest.MonkeyPatch):
    """Runs a benchmark with a small network, small matrices and no processes.  -> its output"""
    row = narrow_row() if installed() else tiny_row()
    monkeypatch.setattr(published_experiments, "NAMES", {row.name: row})
    monkeypatch.setattr(common, "SIDE", {"cpu": 16})
    monkeypatch.setattr(common, "COPIED_MIB", {"cpu": 1})
    monkeypatch.setattr(network, "process_memory", lambda prepare: ProcessMemory(10.0, 20.0))
    return lambda *words: benchmark(*words, "--device", "cpu", "--repeat", 1)


def results() -> dict:
    (path,) = FOLDER.glob("*.json")
    return json.loads(path.read_text())


def names_of(entries: list[dict]) -> list[str]:
    return [entry["name"] for entry in entries]


@pytest.mark.parametrize(
    ("words", "title", "ours"),
    [
        (
            MODEL,
            "One image of 32 x 48 to logits of its size",
            ["as written", "folded, channels last", "frozen, channels last"],
        ),
        (
            TRAIN,
            "A training step on 2 x 32 x 40 (its result: the loss)",
            ["as written", "folded, channels last"],
        ),
    ],
)
def test_race_is_run_printed_and_kept(run, words: tuple, title: str, ours: list) -> None:
    printed = run(*words)
    ((name, entries),) = results()["comparisons"].items()
    assert name == title and names_of(entries) == REFERENCE + ours
    assert max(entry["difference"] for entry in entries) < 1e-3
    (table,) = FOLDER.glob("*.md")
    assert table.read_text() in printed and title in printed
    assert "process MiB" in printed and entries[0]["process"] == {"before": 10.0, "peak": 20.0}


def test_evaluation_is_raced_whole_and_in_parts(run) -> None:
    run(*EVALUATE)
    contests = results()["comparisons"]
    ours = ["as written", "folded, channels last", "frozen, channels last"]
    assert {title: names_of(entries) for title, entries in contests.items()} == {
        "Image to counts, 64 x 128": REFERENCE + ours,
        "From logits to counts, 64 x 128": [*REFERENCE, "whole map", "tiled"],
        "Counting, 64 x 128": ["bincount", *REFERENCE, "ours"],
    }


def test_parts_alone_take_another_file(run) -> None:
    run(*EVALUATE, "--no-network", "--no-processes")
    assert len(results()["comparisons"]) == 2
    run(*EVALUATE, "--no-processes")
    assert len(list(FOLDER.glob("evaluate_*.json"))) == 2


def test_best_of_ours_takes_part_in_half_precision(run) -> None:
    run(*MODEL, "--precision", "bf16", "--no-processes")
    found = results()
    ((entries),) = found["comparisons"].values()
    assert entries[-1]["name"] == "frozen, channels last, bf16"
    assert found["device_peak"]["gflops"].keys() == {"fp32", "bf16"}
    assert not any(entry["process"] for entry in entries)


def test_other_settings_take_other_files(run) -> None:
    for words in (MODEL, ("network", "image", "--size", 32, 32), (*MODEL, "--precision", "bf16")):
        run(*words, "--no-processes")
    assert len(list(FOLDER.glob("*.json"))) == 3


def test_race_goes_on_without_a_compiler(run, monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_nothing(*_: object, **options: object) -> None:
        raise RuntimeError("No working C++ compiler.")

    monkeypatch.setattr(torch, "compile", compile_nothing)
    printed = run(*MODEL, "--compile", "--no-processes")
    assert "nothing is compiled. No working C++ compiler." in printed
    ((entries),) = results()["comparisons"].values()
    assert not any("compiled" in name for name in names_of(entries))


def test_race_goes_on_without_the_reference(run, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in (mmseg_reference, network, evaluation):
        monkeypatch.setattr(each, "installed", lambda: False)
    assert "pip install -e '.[reference]'" in run(*MODEL, "--no-processes")
    ((entries),) = results()["comparisons"].values()
    assert entries[0]["name"] == "as written" and entries[0]["times_faster"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("network", "image", "--row", "ann_r50"), "No published row 'ann_r50'"),
        (("network", "image", "--size", 0, 5), "--size is 0"),
        (("network", "step", "--crop", 32, -1), "--crop is -1"),
        (("network", "step", "--batch", 0), "--batch is 0"),
        (("evaluation", "--shrink", 0), "--shrink"),
        (("evaluation", "--row", CITYSCAPES, "--shrink", 17), "17.*--shrink"),
    ],
)
def test_what_cannot_be_measured_is_told(run, words: tuple, message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        run(*words)
    assert not FOLDER.exists()
