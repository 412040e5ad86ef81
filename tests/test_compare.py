"""The comparison of heads, in small: finished runs are kept, the table says what they hold."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import small_town
import torch

from annlib.engine import compare
from annlib.engine.compare import Result, house_accuracy, release, results_file, summary
from annlib.engine.evaluate import ConfusionMatrix
from annlib.model.baselines import build_model
from annlib.model.checkpoints import load, load_model

HEADS = ("fcn", "ann")
STEPS = 3
EXAMPLE = Result("ann", 0, 600, 12345, 0.5, 0.75, 0.25, 61.0, 100, 11.0)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in small_town.CHANGES:
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(compare, "town", lambda head: small_town.LAPTOP[f"balloon_{head}"])
    monkeypatch.setattr(compare, "WATCHED", 2)
    monkeypatch.setattr(compare, "WATCH_EVERY", 2)


def compared(folder: Path, seeds: tuple[int, ...] = (0,)) -> list[Result]:
    return [compare.finished(head, seed, STEPS, folder) for seed in seeds for head in HEADS]


def test_every_head_meets_every_seed(tmp_path: Path) -> None:
    results = compared(tmp_path, (0, 5))
    assert {(r.head, r.seed) for r in results} == {(h, s) for h in HEADS for s in (0, 5)}
    assert {r.iterations for r in results} == {STEPS}


def test_finished_runs_are_read_not_repeated(tmp_path: Path, monkeypatch) -> None:
    first = compared(tmp_path)
    monkeypatch.setattr(compare, "run_one", None)
    assert repr(compared(tmp_path)) == repr(first)  # NaN equals itself as text


def test_processes_of_their_own_give_the_results_in_order(tmp_path: Path) -> None:
    here = compared(tmp_path, (0, 5))  # done already: the processes only read them
    there = list(compare.compare(HEADS, (0, 5), STEPS, tmp_path, jobs=2))
    assert repr(there) == repr(here)


def test_unfinished_run_is_begun_anew(tmp_path: Path) -> None:
    (first, _) = compared(tmp_path)
    run = compare.run_folder(tmp_path, "fcn", STEPS, 0)
    (run / "result.json").unlink()
    (again, _) = compared(tmp_path)
    assert (again.miou, load(run / "last.safetensors").step) == (first.miou, STEPS)


def test_released_network_is_the_trained_one_without_its_optimizer(tmp_path: Path) -> None:
    (result, _) = compared(tmp_path)
    path = release(result, tmp_path, tmp_path / "out", "the command")
    trained = load(compare.run_folder(tmp_path, "fcn", STEPS, 0) / "last.safetensors")
    released = load_model(path).state_dict()
    assert all(torch.equal(released[key], trained.model[key]) for key in trained.model)
    assert load(path).optimizer is None


def test_released_network_says_where_it_comes_from(tmp_path: Path) -> None:
    (result, _) = compared(tmp_path)
    notes = load(release(result, tmp_path, tmp_path / "out", "the command")).notes
    assert notes["command"] == "the command"
    assert notes["experiment"]["train"]["seed"] == 0
    assert {"scores", "versions", "classes"} <= notes.keys()


def test_auxiliary_head_is_not_counted() -> None:
    model = build_model(small_town.LAPTOP["balloon_ann"].model)
    everything = sum(parameter.numel() for parameter in model.parameters())
    auxiliary = sum(parameter.numel() for parameter in model.auxiliary.parameters())
    assert compare.count_parameters(model) == everything - auxiliary


def test_house_accuracy_is_of_pixels_that_are_and_were_found_houses() -> None:
    torch.manual_seed(0)
    predictions, labels = torch.randint(10, (2, 30, 40))
    matrix = ConfusionMatrix(10)
    matrix.update(predictions, labels)
    both = (predictions >= 7) & (labels >= 7)
    expected = (predictions == labels)[both].double().mean()
    assert house_accuracy(matrix) == pytest.approx(float(expected))


def test_row_of_a_head_shows_mean_worst_and_how_often_the_goal_was_met() -> None:
    bad = replace(EXAMPLE, seed=1, house_accuracy=0.25, goal_step=None, goal_seconds=None)
    row = summary([EXAMPLE, bad]).splitlines()[-1]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [
        "ann",
        "12,345",
        "0.500 ±0.000",
        "0.500 ±0.354 (0.250)",
        "0.250 ±0.000",
        "61",
        "11 (11)",
        "1 of 2",
    ]


def test_head_that_never_meets_the_goal_is_said_to() -> None:
    never = replace(EXAMPLE, goal_step=None, goal_seconds=None)
    assert "never |" in summary([never])


def test_table_and_single_results_are_written(tmp_path: Path) -> None:
    text = results_file([EXAMPLE], tmp_path / "out" / "town.md")
    assert (tmp_path / "out" / "town.md").read_text() == text
    assert json.loads((tmp_path / "out" / "town.json").read_text()) == [asdict(EXAMPLE)]
    assert "Remake: `annlib town compare`" in text
