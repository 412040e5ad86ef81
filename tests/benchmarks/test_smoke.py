"""Every benchmark is a program of its own; the quick ones run once, on the smallest network."""

import runpy
import sys
from pathlib import Path

import pytest
from tiny_zoo import CITYSCAPES, SHRINK, tiny_row

from annlib import published_experiments
from benchmarks import common, dataloading, evaluation, network

PROGRAMS = ("implementations", "scaling", "network", "evaluation", "dataloading")
PROGRAMS += (
    "published_rows",
    "compare_heads",
    "verify_zoo",
    "../tools/readme_figures",
    "../tools/record_claims",
)


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_shows_its_help(name: str, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    path = Path(common.__file__).parent / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(path.resolve()), run_name="__main__")
    shown = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0 and "Example: python -m " in shown


@pytest.mark.parametrize(
    "words",
    [
        ("implementations", "--divide", 64, "--sizes", 7, 9, "--attention-sizes", 8, 8),
        ("network", "image", "--size", 32, 48, "--no-processes"),
        ("network", "step", "--crop", 32, 40, "--no-processes"),
        ("evaluation", "--no-network", "--no-processes", "--shrink", SHRINK),
        ("dataloading", "--no-training", "--images", 1, "--shrink", SHRINK),
        ("published_rows", CITYSCAPES, "--no-training", "--shrink", SHRINK),
    ],
    ids=lambda words: " ".join(map(str, words[:2])),
)
def test_benchmark_writes_what_it_prints(
    benchmark, monkeypatch: pytest.MonkeyPatch, words: tuple
) -> None:
    monkeypatch.setattr(published_experiments, "NAMES", {CITYSCAPES: tiny_row()})
    monkeypatch.setattr(common, "SIDE", {"cpu": 16})
    monkeypatch.setattr(common, "COPIED_MIB", {"cpu": 1})
    for module in (network, evaluation, dataloading):
        monkeypatch.setattr(module, "installed", lambda: False)
    printed = benchmark(*words, "--device", "cpu", "--repeat", 1)
    (table,) = Path("data/results/benchmark").glob("*.md")
    assert table.read_text() in printed and f"Saved {table}" in printed
    assert f"Remake: `python -m benchmarks.{words[0]} " in printed
    assert table.with_suffix(".json").exists()
