"""The benchmark of implementations: what it writes and refuses."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import mmseg_reference

pytestmark = pytest.mark.all


@pytest.fixture
def run(benchmark):
    """Runs the benchmark.  -> what it printed"""
    return lambda *words: benchmark("implementations", "--device", "cpu", *words)


TINY = ("--divide", 64, "--repeat", 1, "--sizes", 7, 9, "--attention-sizes", 8, 8, 20, 20)


def test_command_writes_what_it_prints(run) -> None:
    printed = run(*TINY, "--limit-gib", 0.001)
    (table,), (numbers,) = (
        Path("data/results/benchmark").glob(f"*.{end}") for end in ("md", "json")
    )
    assert table.read_text() in printed and f"Saved {table}" in printed
    needed = f"{4 * 400 * (2 * 400 + 4 + 4) / 2**30:.3g}"
    assert f"20 x 20, non-local: needs {needed} GiB, and 0.001 GiB may be used." in printed
    values = json.loads(numbers.read_text())
    assert [each["title"] for each in values["attention"]] == ["8 x 8", "20 x 20"]
    assert len(values["blocks"]) == 4 and values["settings"]["channels"]["high"] == 32
    found = values["attention"][0]["measured"]
    assert found["APNB, folded"]["output_bytes"] == 4 * 32 * 8 * 8
    assert values["made"]["versions"]["torch"] == torch.__version__


def test_other_maps_get_another_file(run) -> None:
    run(*TINY)
    run(*TINY, "--no-channels-last")
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
def test_what_cannot_be_measured_is_told(run, words: tuple, message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        run(*words)


def test_reference_takes_part_only_if_it_is_installed(run, monkeypatch) -> None:
    monkeypatch.setattr(mmseg_reference, "installed", lambda: False)
    assert "reference" not in run(*TINY).split("On ")[0]
