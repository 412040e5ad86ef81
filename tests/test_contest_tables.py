"""What is written about contests."""

import json

import pytest
import torch

from annlib.engine.profiler import Timing
from benchmarks.common import DevicePeak, Resident
from benchmarks.network import Entry, Report, contest_table

PEAK = DevicePeak({"fp32": 100.0, "bf16": 400.0}, 20.0)
THEIRS = Entry(
    name="reference",
    timing=Timing(2000.0, 1900.0, 2300.0),
    times_faster=1.0,
    difference=0.0,
    agreement=1.0,
    peak_mib=500.0,
    resident=Resident(800.0, 2000.0),
    parameters=46_228_614,
    precision="fp32",
    gflops=100.0,
)
OURS = Entry(
    name="frozen, bf16",
    timing=Timing(500.0, 490.0, 510.0),
    times_faster=4.0,
    difference=0.0123,
    agreement=0.995,
    peak_mib=250.04,
    resident=Resident(700.0, 1500.0),
    parameters=35_000_000,
    precision="bf16",
    gflops=80.0,
)


def cells(text: str, name: str) -> dict[str, str]:
    """The line of a contestant by the headers of its columns."""
    header, _, *rows = [line.strip("| ").split("|") for line in text.splitlines()]
    (row,) = (row for row in rows if row[0].strip() == name)
    return {key.strip(): cell.strip() for key, cell in zip(header, row, strict=True)}


def without(entry: Entry, **changes: object) -> Entry:
    return Entry(**(vars(entry) | changes))


def test_line_tells_all_that_was_measured() -> None:
    assert cells(contest_table([THEIRS, OURS], PEAK), "frozen, bf16") == {
        "contestant": "frozen, bf16",
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
        ({"resident": None}, {"process MiB", "before"}),
        ({"gflops": 0.0}, {"parameters", "GFLOPs", "GFLOP/s", "peak %"}),
    ],
)
def test_what_was_not_measured_has_no_column(changes: dict, gone: set) -> None:
    entries = [without(entry, **changes) for entry in (THEIRS, OURS)]
    all_columns = cells(contest_table([THEIRS, OURS], PEAK), "reference").keys()
    assert all_columns - cells(contest_table(entries, PEAK), "reference").keys() == gone


def test_report_has_every_contest_and_what_the_device_can_do() -> None:
    report = Report({"A step": [THEIRS], "A picture": [OURS]}, PEAK, torch.device("cpu"), 7)
    text, values = report.text(), json.loads(json.dumps(report.values()))
    assert text.index("A step:") < text.index("| reference") < text.index("A picture:")
    assert "100 in fp32, 400 in bf16 GFLOP/s" in text and "20.0 GB/s" in text
    assert "7 calls each" in text and values["settings"]["repeat"] == 7
    assert values["settings"]["threads"] == torch.get_num_threads()
    assert values["device_peak"]["gflops"] == {"fp32": 100.0, "bf16": 400.0}
    assert values["contests"]["A picture"][0]["gflops_per_second"] == 160.0
