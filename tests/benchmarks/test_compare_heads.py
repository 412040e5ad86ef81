"""Heads on Balloon Town: finished runs are kept, changed ones trained again; the tables."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from threading import Event

import pytest
import small_town
import torch

from annlib import experiments
from annlib.config import Experiment
from annlib.engine.metrics import ConfusionMatrix
from annlib.engine.results import to_json
from annlib.engine.trainer import read_experiment
from annlib.model.build import build_model, load_model
from annlib.model.checkpoint import load, write_atomically
from benchmarks import compare_heads, town_attention
from benchmarks.compare_heads import (
    Attention,
    Compare,
    Plateau,
    Result,
    finished_runs,
    house_accuracy,
    release,
    summary,
    write_comparison,
)

pytestmark = pytest.mark.all

# The comparison of heads, in small: what was finished is kept, what has changed is made anew.


HEADS = ("fcn", "ann")
STEPS = 3


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, value in small_town.CHANGES:
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(compare_heads, "town", lambda head: small_town.LAPTOP[f"balloon_{head}"])
    monkeypatch.setattr(compare_heads, "VALIDATION_SCENES", 2)
    monkeypatch.setattr(compare_heads, "VALIDATE_EVERY", 2)


def compared(folder: Path, seeds: tuple[int, ...] = (0,)) -> list[Result]:
    return [compare_heads.finished(head, seed, STEPS, folder) for seed in seeds for head in HEADS]


def test_every_head_meets_every_seed(tmp_path: Path) -> None:
    results = compared(tmp_path, (0, 5))
    assert {(r.head, r.seed) for r in results} == {(h, s) for h in HEADS for s in (0, 5)}
    assert {r.iterations for r in results} == {STEPS}


def test_finished_runs_are_read_not_repeated(tmp_path: Path, monkeypatch) -> None:
    first = compared(tmp_path)
    monkeypatch.setattr(compare_heads, "run_one", None)
    assert repr(compared(tmp_path)) == repr(first)  # NaN equals itself as text


def changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The experiments of the town have got another rate since."""
    town = compare_heads.town

    def with_another_rate(head: str) -> Experiment:
        experiment = town(head)
        return replace(experiment, train=replace(experiment.train, base_lr=0.5))

    monkeypatch.setattr(compare_heads, "town", with_another_rate)


def test_run_of_other_settings_is_trained_anew(tmp_path: Path, monkeypatch) -> None:
    (first, _) = compared(tmp_path)
    changed(monkeypatch)
    (second, _) = compared(tmp_path)
    assert second.miou != first.miou
    assert read_experiment(compare_heads.run_folder(tmp_path, "fcn", STEPS, 0)).train.base_lr == 0.5


def test_run_of_another_version_is_trained_anew(tmp_path: Path) -> None:
    compared(tmp_path)
    path = compare_heads.run_folder(tmp_path, "fcn", STEPS, 0) / "experiment.json"
    settings = path.read_text()
    path.write_text(settings.replace('"depth"', '"deepness"'))
    compared(tmp_path)
    assert path.read_text() == settings


def test_result_of_other_settings_is_gone_once_its_run_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    compared(tmp_path)
    changed(monkeypatch)
    monkeypatch.setattr(compare_heads.Trainer, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compared(tmp_path)
    assert [run.name for run in finished_runs(tmp_path, STEPS)] == [f"balloon_ann-{STEPS}-seed0"]


def test_error_in_one_run_does_not_wait_for_those_in_line(tmp_path: Path, monkeypatch) -> None:
    begun, told = [], Event()

    def fail_first(head: str, seed: int, iterations: int, folder: Path) -> None:
        begun.append(seed)
        if seed == 0:
            raise FloatingPointError("no number")
        told.wait(60)

    monkeypatch.setattr(compare_heads, "finished", fail_first)
    monkeypatch.setattr(
        compare_heads, "ProcessPoolExecutor", lambda jobs, **_: ThreadPoolExecutor(jobs)
    )
    with pytest.raises(FloatingPointError, match="no number"):
        list(compare_heads.compare(["fcn"], range(9), STEPS, tmp_path))
    told.set()
    assert set(begun) <= {0, 1}


def test_only_runs_that_were_finished_with_so_many_steps_are_found(tmp_path: Path) -> None:
    compared(tmp_path)
    compare_heads.finished("fcn", 0, 2, tmp_path)
    (compare_heads.run_folder(tmp_path, "ann", STEPS, 0) / "result.json").unlink()
    found = finished_runs(tmp_path, STEPS)
    assert [(run.name, result.head) for run, result in found.items()] == [
        (f"balloon_fcn-{STEPS}-seed0", "fcn")
    ]


@pytest.mark.slow
def test_processes_of_their_own_give_the_results_in_order(tmp_path: Path) -> None:
    written = []  # of the real town: other processes know no small one
    for seed in (0, 5):
        for head in HEADS:
            run = compare_heads.run_folder(tmp_path, head, STEPS, seed)
            experiment = experiments.town(head)
            recipe = replace(experiment.train, seed=seed, iterations=STEPS)
            settings = to_json(asdict(replace(experiment, train=recipe)))
            write_atomically(run / "experiment.json", settings)
            written.append(Result(head, seed, STEPS, 9, 0.5, 0.75, 0.25, 61.0, None, None))
            write_atomically(run / "result.json", to_json(asdict(written[-1])))
    assert list(compare_heads.compare(HEADS, (0, 5), STEPS, tmp_path, jobs=2)) == written


def test_unfinished_run_is_begun_anew(tmp_path: Path) -> None:
    (first, _) = compared(tmp_path)
    run = compare_heads.run_folder(tmp_path, "fcn", STEPS, 0)
    (run / "result.json").unlink()
    (again, _) = compared(tmp_path)
    assert (again.miou, load(run / "last.safetensors").step) == (first.miou, STEPS)


def test_released_network_is_the_trained_one_without_its_optimizer(tmp_path: Path) -> None:
    (result, _) = compared(tmp_path)
    path = release(result, tmp_path, tmp_path / "out", "the command")
    trained = load(compare_heads.run_folder(tmp_path, "fcn", STEPS, 0) / "last.safetensors")
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
    assert compare_heads.count_parameters(model) == everything - auxiliary


def test_house_accuracy_is_of_pixels_that_are_and_were_found_houses() -> None:
    torch.manual_seed(0)
    predictions, labels = torch.randint(10, (2, 30, 40))
    matrix = ConfusionMatrix(10)
    matrix.update(predictions, labels)
    both = (predictions >= 7) & (labels >= 7)
    expected = (predictions == labels)[both].double().mean()
    assert house_accuracy(matrix) == pytest.approx(float(expected))


# Which runs a measurement takes, and what it writes; the measuring is replaced.


ANN = Result("ann", 0, 1000, 12345, 0.5, 0.75, 0.25, 61.0, 100, 11.0)
RUNS = {
    "balloon_ann-1000-seed0": ANN,
    "balloon_ann-1000-seed1": None,  # interrupted
    "balloon_ann-30-seed0": replace(ANN, iterations=30, house_accuracy=0.125),
    "balloon_fcn-1000-seed0": replace(ANN, head="fcn"),
}


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        town_attention,
        "probe",
        lambda model: {"fuse.attention": town_attention.Probe(1, 1, 1, 0, 0)},
    )
    monkeypatch.setattr(
        town_attention, "count_attention", lambda *_: town_attention.Tally(7, {}, {}, 0.5, 0.5)
    )
    monkeypatch.setattr(compare_heads, "compare", lambda *_: iter([ANN]))
    monkeypatch.setattr(compare_heads, "load_model", lambda path: None)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def runs(replaced: None, tmp_path: Path) -> Path:
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
    command = rf"python -m benchmarks.compare_heads compare --iterations 40 --runs {runs}"
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
        assert text.endswith(f"Remake: `python -m benchmarks.compare_heads {name} {options}`\n")


# Tables


EXAMPLE = Result("ann", 0, 600, 12345, 0.5, 0.75, 0.25, 61.0, 100, 11.0)


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
    text = write_comparison([EXAMPLE], tmp_path / "out" / "town.md", "the command")
    assert (tmp_path / "out" / "town.md").read_text() == text
    assert json.loads((tmp_path / "out" / "town.json").read_text()) == [asdict(EXAMPLE)]
    assert "600 steps of batch 8 on one CPU thread, 1 seeds" in text
