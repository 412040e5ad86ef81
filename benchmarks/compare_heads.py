"""python -m benchmarks compare-heads: Balloon Town's heads trained and compared over seeds."""

import json
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
from tyro.conf import subcommand

from annlib.cli.common import at_least_one
from annlib.config import Experiment, Head
from annlib.data.balloon_town.layout import HOUSES
from annlib.data.datasets import DatasetSplits, open_data
from annlib.data.loader import make_loader
from annlib.engine.inference import make_label_predictor
from annlib.engine.metrics import ConfusionMatrix, evaluate_labels
from annlib.engine.results import Result
from annlib.engine.trainer import Training, read_experiment
from annlib.experiments import town
from annlib.model.build import build_model
from annlib.model.checkpoint import load, restore, save, write_atomically
from tools.readme_figures import Pictures

WATCH_EVERY = 50  # steps between two looks at the validation half
WATCHED = 60  # validation scenes of such a look; the final score takes all
GOAL = 0.9  # house accuracy whose time is noted
RESULT = "result.json"  # in the folder of a finished run


class Timing(NamedTuple):
    """Of one training, as in Result."""

    seconds: float
    goal_step: int | None
    goal_seconds: float | None


def compare(
    heads: Sequence[Head], seeds: Sequence[int], iterations: int, folder: Path, jobs: int = 1
) -> Iterator[Result]:
    """Trains every head with every seed on the CPU, `jobs` runs at a time on one thread each.

    A finished run is read from its folder, not repeated; an unfinished one is begun anew, since
    its time is part of the result.
    """
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=begin_worker)
    try:
        tasks = [
            pool.submit(finished, head, seed, iterations, folder)
            for seed in seeds
            for head in heads
        ]
        for task in tasks:
            yield task.result()
    finally:  # an interrupt or an error must not wait for the runs that stand in line
        pool.shutdown(wait=False, cancel_futures=True)


def begin_worker() -> None:
    """One thread; Ctrl-C, which reaches every process of a terminal, ends the worker at once."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finished(head: Head, seed: int, iterations: int, folder: Path) -> Result:
    """The result of a run, from its folder if the same experiment was finished there.

    A run of another experiment (the settings have changed since, say) is replaced.
    """
    experiment = town(head)
    recipe = replace(experiment.train, seed=seed, iterations=iterations)
    wanted = replace(experiment, train=recipe)
    run = run_folder(folder, head, iterations, seed)
    if not is_finished(run, wanted):
        result = run_one(wanted, run)
        write_atomically(run / RESULT, (json.dumps(asdict(result)) + "\n").encode())
    return read_result(run)


def is_finished(run: Path, wanted: Experiment) -> bool:
    """Whether a folder holds the result of exactly this experiment."""
    try:
        return (run / RESULT).is_file() and read_experiment(run) == wanted
    except (FileNotFoundError, ValueError):  # its settings are lost, or of another version
        return False


def read_result(run: Path) -> Result:
    return Result(**json.loads((run / RESULT).read_text(encoding="utf-8")))


def finished_runs(folder: Path, iterations: int) -> dict[Path, Result]:
    """The runs below a folder that were finished with so many steps, by their own folder."""
    runs = sorted(path.parent for path in folder.glob(f"*/{RESULT}"))
    results = {run: read_result(run) for run in runs}
    return {run: result for run, result in results.items() if result.iterations == iterations}


def run_folder(folder: Path, head: Head, iterations: int, seed: int) -> Path:
    return folder / f"balloon_{head}-{iterations}-seed{seed}"


def run_one(experiment: Experiment, folder: Path) -> Result:
    """Trains and scores one head from one seed."""
    for name in (RESULT, "last.safetensors"):  # of an unfinished run, or of another experiment
        (folder / name).unlink(missing_ok=True)
    halves = open_data(experiment.data, None)
    training = Training(experiment, halves.spec, folder, torch.device("cpu"))
    timing = train_timed(training, halves)
    matrix = confusion(training, halves.val)
    scores = matrix.scores()
    training.save({"miou": scores.miou, "house_accuracy": house_accuracy(matrix)})
    return Result(
        experiment.model.head,
        experiment.train.seed,
        experiment.train.iterations,
        count_parameters(training.model),
        scores.miou,
        house_accuracy(matrix),
        float(scores.iou[list(HOUSES)].mean()),
        *timing,
    )


def train_timed(training: Training, halves: DatasetSplits) -> Timing:
    """Trains to the end; the looks at the validation half are not counted as training."""
    watched = torch.utils.data.Subset(halves.val, range(WATCHED))
    for index in range(len(halves.train)):
        halves.train[index]  # drawn before the clock starts: the scenes are kept in memory
    seconds, goal = 0.0, (None, None)
    started = time.perf_counter()
    for step in training.steps(halves.train):
        if step.number % WATCH_EVERY == 0:
            seconds += time.perf_counter() - started
            if goal[0] is None and house_accuracy(confusion(training, watched)) >= GOAL:
                goal = (step.number, seconds)
            started = time.perf_counter()
    return Timing(seconds + time.perf_counter() - started, *goal)


def confusion(training: Training, dataset: torch.utils.data.Dataset) -> ConfusionMatrix:
    label = make_label_predictor(training.model, training.experiment.test)
    samples = make_loader(dataset, 10, training=False)
    return evaluate_labels(label, samples, training.spec.num_classes)


def house_accuracy(matrix: ConfusionMatrix) -> float:
    """Share of right kinds among pixels that are, and were found to be, some house."""
    return matrix.accuracy_among(HOUSES)


def count_parameters(model: torch.nn.Module) -> int:
    """Parameters of everything that is used after training."""
    return sum(p.numel() for name, p in model.named_parameters() if "auxiliary" not in name)


def release(result: Result, folder: Path, out: Path, command: str) -> Path:
    """Writes a run's network without its optimiser, with all that says where it comes from."""
    run = run_folder(folder, result.head, result.iterations, result.seed)
    checkpoint = load(run / "last.safetensors")
    model = build_model(checkpoint.config)
    restore(checkpoint, model)
    path = out / f"balloon_{result.head}.safetensors"
    notes = checkpoint.notes | {"scores": asdict(result), "command": command}
    save(path, model, None, checkpoint.step, notes)
    return path


@dataclass(frozen=True)
class Compare:
    """Train every head with several seeds and write the table of scores, times and parameters.

    A run takes one to two minutes on one core. Finished runs are kept: after an interruption the
    same command goes on.
    """

    seeds: int = 5
    """How many seeds: 0, 1, ..."""
    iterations: int = 1000
    """Steps of each run."""
    jobs: int = 2
    """Runs at a time, one CPU thread each: as many as there are cores."""
    runs: Path = Path("runs/compare")
    """Folder of the runs."""
    out: Path = Path("data/results/balloon_town.md")
    """The table; the single results lie beside it as JSON."""

    def run(self) -> None:
        from annlib.engine.results import write_comparison
        from annlib.experiments import HEADS

        at_least_one("--seeds", self.seeds)
        at_least_one("--iterations", self.iterations)
        at_least_one("--jobs", self.jobs)
        results = []
        seeds = range(self.seeds)
        for result in compare(HEADS, seeds, self.iterations, self.runs, self.jobs):
            results.append(result)
            print(
                f"{result.head} seed {result.seed}: house accuracy {result.house_accuracy:.3f}, "
                f"mIoU {result.miou:.3f}, {result.seconds:.0f} s",
                flush=True,
            )
        command = f"annlib town compare --seeds {self.seeds} --iterations {self.iterations}"
        print(write_comparison(results, self.out, command))


@dataclass(frozen=True)
class Attention:
    """Count where houses look, and whether they follow their balloon when it is repainted."""

    houses: int = 500
    """How many rightly classified houses are asked, on scenes no training has seen."""
    weights: Path | None = None
    """Folder of checkpoints balloon_*.safetensors; the shipped ones if not given."""
    out: Path = Path("data/results/attention.md")
    """The table."""

    def run(self) -> None:
        from annlib.engine.results import write_results
        from annlib.experiments import HEADS
        from annlib.model.build import SHIPPED, load_model
        from benchmarks.town_attention import attention_table, count_attention

        at_least_one("--houses", self.houses)
        folder = self.weights or SHIPPED
        tallies = {
            name: count_attention(load_model(folder / f"{name}.safetensors"), self.houses)
            for name in (f"balloon_{head}" for head in HEADS)
        }
        command = f"annlib town attention --houses {self.houses}"
        if self.weights:
            command += f" --weights {self.weights}"
        print(write_results(attention_table(tallies), self.out, command))


@dataclass(frozen=True)
class Plateau:
    """Say why some runs of `compare` stay with the vote: can attention read the paints there?"""

    runs: Path = Path("runs/compare")
    """Folder of the runs of `annlib town compare`."""
    iterations: int = 1000
    """Steps of the runs that are asked."""
    out: Path = Path("data/results/plateau.md")
    """The table."""

    def run(self) -> None:
        from annlib.engine.results import write_results
        from annlib.model.build import load_model
        from benchmarks.town_attention import probe, probe_table

        at_least_one("--iterations", self.iterations)
        probes = {}
        for run, result in finished_runs(self.runs, self.iterations).items():
            if result.head in ("nonlocal", "apnb", "ann"):
                for block, found in probe(load_model(run / "last.safetensors")).items():
                    probes[run.name, block] = (result.house_accuracy, found)
        if not probes:
            raise FileNotFoundError(
                f"No finished run of {self.iterations} steps in {self.runs}: make them with "
                f"annlib town compare --iterations {self.iterations} --runs {self.runs}"
            )
        command = f"annlib town plateau --iterations {self.iterations}"
        print(write_results(probe_table(probes), self.out, command))


@dataclass(frozen=True)
class Weights:
    """Remake the small networks of data/weights/ by training them again."""

    seed: int = 0
    """The seed of all five."""
    iterations: int = 1500
    """Steps of each training."""
    runs: Path = Path("runs/weights")
    """Folder of the runs; finished ones are kept."""
    jobs: int = 2
    """Runs at a time, one CPU thread each."""
    out: Path = Path("data/weights")
    """Where the weights go."""

    def run(self) -> None:
        from annlib.experiments import HEADS

        at_least_one("--iterations", self.iterations)
        at_least_one("--jobs", self.jobs)
        command = f"annlib town weights --seed {self.seed} --iterations {self.iterations}"
        for result in compare(HEADS, [self.seed], self.iterations, self.runs, self.jobs):
            path = release(result, self.runs, self.out, command)
            print(f"{path}: house accuracy {result.house_accuracy:.3f}, mIoU {result.miou:.3f}")


@dataclass(frozen=True)
class Town:
    """Measure on Balloon Town: compare heads, count attention, remake the weights."""

    what: (
        Annotated[Compare, subcommand("compare", prefix_name=False)]
        | Annotated[Attention, subcommand("attention", prefix_name=False)]
        | Annotated[Plateau, subcommand("plateau", prefix_name=False)]
        | Annotated[Pictures, subcommand("pictures", prefix_name=False)]
        | Annotated[Weights, subcommand("weights", prefix_name=False)]
    )

    def run(self) -> None:
        self.what.run()
