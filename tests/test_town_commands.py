"""annlib town: which runs a measurement takes, and what it writes; the measuring is replaced."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from annlib.engine.results import Result
from annlib.model import build
from benchmarks import compare_heads, town_attention
from benchmarks.compare_heads import Attention, Compare, Plateau
from benchmarks.town_attention import Probe, Tally

ANN = Result("ann", 0, 1000, 12345, 0.5, 0.75, 0.25, 61.0, 100, 11.0)
RUNS = {
    "balloon_ann-1000-seed0": ANN,
    "balloon_ann-1000-seed1": None,  # interrupted
    "balloon_ann-30-seed0": replace(ANN, iterations=30, house_accuracy=0.125),
    "balloon_fcn-1000-seed0": replace(ANN, head="fcn"),
}


@pytest.fixture(autouse=True)
def replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        town_attention, "probe", lambda model: {"fuse.attention": Probe(1, 1, 1, 0, 0)}
    )
    monkeypatch.setattr(town_attention, "count_attention", lambda *_: Tally(7, {}, {}, 0.5, 0.5))
    monkeypatch.setattr(compare_heads, "compare", lambda *_: iter([ANN]))
    monkeypatch.setattr(build, "load_model", lambda path: None)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name, result in RUNS.items():
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "last.safetensors").touch()
        if result:
            (folder / "result.json").write_text(json.dumps(asdict(result)))
    return tmp_path / "runs"


@pytest.mark.parametrize(("iterations", "accuracy"), [(1000, "0.750"), (30, "0.125")])
def test_only_finished_runs_of_so_many_steps_are_probed(
    runs: Path, iterations: int, accuracy: str
) -> None:
    Plateau(runs, iterations, Path("plateau.md")).run()
    _, _, *rows = Path("plateau.md").read_text().partition("\n\n")[0].splitlines()
    (row,) = ([cell.strip() for cell in row.strip("|").split("|")] for row in rows)
    assert row[:3] == [f"balloon_ann-{iterations}-seed0", "fuse", accuracy]


def test_missing_runs_are_told_with_the_command_that_makes_them(runs: Path) -> None:
    command = rf"annlib town compare --iterations 40 --runs {runs}"
    with pytest.raises(FileNotFoundError, match=f"No finished run of 40 steps in .*{command}"):
        Plateau(runs, 40).run()


def test_every_table_ends_with_the_command_that_remakes_it(runs: Path) -> None:
    Compare(3, 30, 1, out=Path("compare.md")).run()
    Attention(7, out=Path("attention.md")).run()
    Plateau(runs, 30, Path("plateau.md")).run()
    for name, options in (
        ("compare", "--seeds 3 --iterations 30"),
        ("attention", "--houses 7"),
        ("plateau", "--iterations 30"),
    ):
        text = Path(f"{name}.md").read_text()
        assert text.endswith(f"Remake: `annlib town {name} {options}`\n")
