"""Heads on Balloon Town and on streets: compared over seeds, their attention, their weights."""

import json
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev

import torch

from annlib.cli.common import at_least_one
from annlib.config import Experiment, Head
from annlib.data.balloon_town.layout import HOUSES
from annlib.data.datasets import open_data
from annlib.engine.metrics import ConfusionMatrix, table
from annlib.engine.optimization import Step
from annlib.engine.results import write_results
from annlib.engine.trainer import Trainer, read_experiment
from annlib.experiments import HEADS, town
from annlib.model.build import SHIPPED, build_model, load_model
from annlib.model.checkpoint import load, restore, save, write_atomically
from benchmarks import town_attention
from benchmarks.common import main
from benchmarks.street_heads import Streets, StreetWeights

VALIDATE_EVERY = 50  # steps
VALIDATION_SCENES = 60  # of these validations; the final score takes all
GOAL = 0.9  # house accuracy whose time is noted
RESULT = "result.json"  # in the folder of a finished run
HEADER = ("head", "parameters", "mIoU", "house accuracy (worst)", "house IoU", "seconds")
HEADER += ("seconds to 0.9 (worst)", "seeds that reach 0.9")


@dataclass(frozen=True)
class Result:
    """One finished run. Shares are between 0 and 1; seconds are of training alone."""

    head: Head
    seed: int
    iterations: int
    parameters: int  # without the auxiliary head, which only training uses
    miou: float
    house_accuracy: float  # correct among the pixels that were predicted as a house
    house_iou: float
    seconds: float
    goal_step: int | None  # first validation whose house accuracy was at least GOAL
    goal_seconds: float | None


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds."""
    return f"{mean(values):.3f}" + (f" ±{stdev(values):.3f}" if len(values) > 1 else "")


def summary(results: Sequence[Result]) -> str:
    """The Markdown table of a comparison: mean and deviation over seeds, worst seed."""
    rows = []
    for head in dict.fromkeys(result.head for result in results):
        own = [result for result in results if result.head == head]
        accuracies = [r.house_accuracy for r in own]
        goals = [r.goal_seconds for r in own if r.goal_seconds is not None]
        rows.append(
            [
                head,
                f"{own[0].parameters:,}",
                spread([r.miou for r in own]),
                f"{spread(accuracies)} ({min(accuracies):.3f})",
                spread([r.house_iou for r in own]),
                f"{mean(r.seconds for r in own):.0f}",
                f"{mean(goals):.0f} ({max(goals):.0f})" if goals else "never",
                f"{len(goals)} of {len(own)}",
            ]
        )
    return table(HEADER, rows)


def write_comparison(results: Sequence[Result], path: Path, command: str) -> str:
    """Writes the table of a comparison, and the single results next to it as JSON."""
    values = json.dumps([asdict(result) for result in results], indent=1)
    write_atomically(path.with_suffix(".json"), f"{values}\n".encode())
    budget = (
        f"{results[0].iterations} steps of batch 8 on one CPU thread, "
        f"{len({r.seed for r in results})} seeds, 200 unseen scenes."
    )
    return write_results(f"{summary(results)}\n\n{budget}", path, command)


def compare(
    heads: Sequence[Head], seeds: Sequence[int], iterations: int, folder: Path, jobs: int = 1
) -> Iterator[Result]:
    """Trains every head with every seed on the CPU, `jobs` runs at a time on one thread each.

    A finished run is read from its folder; an unfinished one starts again, because its time is part
    of the result.
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
    finally:  # an interrupt or an error must not wait for the runs in the queue
        pool.shutdown(wait=False, cancel_futures=True)


def begin_worker() -> None:
    """One thread; Ctrl-C, which reaches every process of a terminal, ends the worker."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finished(head: Head, seed: int, iterations: int, folder: Path) -> Result:
    """The result of a run, from its folder if the same experiment was finished there.

    A run of another experiment (after a change of settings, for example) is replaced.
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
    """Trains and scores one head from one seed; scoring is not counted as training time."""
    for name in (RESULT, "last.safetensors"):  # of an unfinished run, or of another experiment
        (folder / name).unlink(missing_ok=True)
    splits = open_data(experiment.data, None)
    trainer = Trainer(experiment, splits.spec, folder, torch.device("cpu"))
    watched = torch.utils.data.Subset(splits.val, range(VALIDATION_SCENES))
    goal: list[tuple[int, float]] = []

    def watch(step: Step) -> None:
        is_due = step.number % VALIDATE_EVERY == 0 and not goal
        if is_due and house_accuracy(trainer.evaluate(watched, 10)) >= GOAL:
            goal.append((step.number, trainer.seconds))

    for index in range(len(splits.train)):
        splits.train[index]  # drawn before the clock starts: the scenes are kept in memory
    trainer.fit(splits.train, on_step=watch)
    matrix = trainer.evaluate(splits.val, 10)
    scores = matrix.scores()
    trainer.save({"miou": scores.miou, "house_accuracy": house_accuracy(matrix)})
    return Result(
        experiment.model.head,
        experiment.train.seed,
        experiment.train.iterations,
        count_parameters(trainer.model),
        scores.miou,
        house_accuracy(matrix),
        float(scores.iou[list(HOUSES)].mean()),
        trainer.seconds,
        *(goal[0] if goal else (None, None)),
    )


def house_accuracy(matrix: ConfusionMatrix) -> float:
    """Share of correct kinds among pixels that are, and were predicted as, a house."""
    return matrix.accuracy_among(HOUSES)


def count_parameters(model: torch.nn.Module) -> int:
    """Parameters that are used after training."""
    return sum(p.numel() for name, p in model.named_parameters() if "auxiliary" not in name)


def release(result: Result, folder: Path, out: Path, command: str) -> Path:
    """Writes a run's network without its optimiser, with its provenance."""
    run = run_folder(folder, result.head, result.iterations, result.seed)
    checkpoint = load(run / "last.safetensors")
    model = build_model(checkpoint.config)
    restore(checkpoint, model)
    path = out / f"balloon_{result.head}.safetensors"
    notes = checkpoint.notes | {"scores": asdict(result), "command": command}
    save(path, model, None, checkpoint.step, notes)
    return path


def remake(name: str, **options: object) -> str:
    """The command that measures the same again."""
    words = [f"--{option} {value}" for option, value in options.items() if value]
    return " ".join(["python -m benchmarks.compare_heads", name, *words])


@dataclass(frozen=True)
class Compare:
    """Train every head with several seeds and write the table of scores, times and parameters.

    A run takes one to two minutes on one core. Finished runs are kept: after an interruption the
    same command continues.
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
    """The table, next to a JSON file of the single results."""

    def run(self) -> None:
        at_least_one("--seeds", self.seeds)
        at_least_one("--iterations", self.iterations)
        at_least_one("--jobs", self.jobs)
        results = []
        for result in compare(HEADS, range(self.seeds), self.iterations, self.runs, self.jobs):
            results.append(result)
            print(
                f"{result.head} seed {result.seed}: house accuracy {result.house_accuracy:.3f}, "
                f"mIoU {result.miou:.3f}, {result.seconds:.0f} s",
                flush=True,
            )
        command = remake("compare", seeds=self.seeds, iterations=self.iterations)
        print(write_comparison(results, self.out, command))


@dataclass(frozen=True)
class Attention:
    """Count what houses attend to, and whether predictions follow a repainted balloon."""

    houses: int = 500
    """How many correctly classified houses, on scenes that no network was trained on."""
    weights: Path | None = None
    """Folder of checkpoints balloon_*.safetensors; the shipped ones if not given."""
    out: Path = Path("data/results/attention.md")
    """The table."""

    def run(self) -> None:
        at_least_one("--houses", self.houses)
        folder = self.weights or SHIPPED
        tallies = {
            name: town_attention.count_attention(
                load_model(folder / f"{name}.safetensors"), self.houses
            )
            for name in (f"balloon_{head}" for head in HEADS)
        }
        command = remake("attention", houses=self.houses, weights=self.weights)
        print(write_results(town_attention.attention_table(tallies), self.out, command))


@dataclass(frozen=True)
class Plateau:
    """Probe whether the attention of unsuccessful runs of `compare` can read the paints."""

    runs: Path = Path("runs/compare")
    """Folder of the runs of `compare`."""
    iterations: int = 1000
    """Steps of the runs that are probed."""
    out: Path = Path("data/results/plateau.md")
    """The table."""

    def run(self) -> None:
        at_least_one("--iterations", self.iterations)
        probes = {}
        for run, result in finished_runs(self.runs, self.iterations).items():
            if result.head in ("nonlocal", "apnb", "ann"):
                for block, found in town_attention.probe(
                    load_model(run / "last.safetensors")
                ).items():
                    probes[run.name, block] = (result.house_accuracy, found)
        if not probes:
            command = remake("compare", iterations=self.iterations, runs=self.runs)
            raise FileNotFoundError(
                f"No finished run of {self.iterations} steps in {self.runs}: make them with "
                f"{command}"
            )
        command = remake("plateau", iterations=self.iterations)
        print(write_results(town_attention.probe_table(probes), self.out, command))


@dataclass(frozen=True)
class Weights:
    """Train the small networks of data/weights/ again."""

    seed: int = 0
    """The seed of all five."""
    iterations: int = 1500
    """Steps of each training."""
    runs: Path = Path("runs/weights")
    """Folder of the runs; finished ones are kept."""
    jobs: int = 2
    """Runs at a time, one CPU thread each."""
    out: Path = Path("data/weights")
    """Folder of the weights."""

    def run(self) -> None:
        at_least_one("--iterations", self.iterations)
        at_least_one("--jobs", self.jobs)
        command = f"{remake('weights')} --seed {self.seed} --iterations {self.iterations}"
        for result in compare(HEADS, [self.seed], self.iterations, self.runs, self.jobs):
            path = release(result, self.runs, self.out, command)
            print(f"{path}: house accuracy {result.house_accuracy:.3f}, mIoU {result.miou:.3f}")


COMMANDS = {"compare": Compare, "attention": Attention, "plateau": Plateau, "weights": Weights}
COMMANDS |= {"streets": Streets, "street-weights": StreetWeights}
if __name__ == "__main__":
    main("benchmarks.compare_heads", COMMANDS, __doc__, "compare --seeds 5")
