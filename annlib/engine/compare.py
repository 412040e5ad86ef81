"""Balloon Town's question to every head: same backbone, same budget, several seeds, one table."""

import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev

import torch

from annlib.config import Experiment, Head
from annlib.data.loading import make_loader
from annlib.data.scenes import HOUSES
from annlib.data.sources import open_data
from annlib.engine.evaluate import ConfusionMatrix, evaluate
from annlib.engine.inference import predictor
from annlib.engine.tables import table
from annlib.engine.training import Training
from annlib.experiments import town
from annlib.model.baselines import build_model
from annlib.model.checkpoints import load, restore, save, write_atomically

WATCH_EVERY = 50  # steps between two looks at the validation half
WATCHED = 60  # validation scenes of such a look; the final score takes all
GOAL = 0.9  # house accuracy whose time is noted


@dataclass(frozen=True)
class Result:
    """One finished run. Shares are between 0 and 1; seconds are of training alone."""

    head: Head
    seed: int
    iterations: int
    parameters: int  # without the auxiliary head, which only training uses
    miou: float
    house_accuracy: float  # right among the pixels that were found to be a house
    house_iou: float
    seconds: float
    goal_step: int | None  # first look at which the house accuracy was at least 0.9
    goal_seconds: float | None


def compare(
    heads: Sequence[Head], seeds: Sequence[int], iterations: int, folder: Path, jobs: int = 1
) -> Iterator[Result]:
    """Trains every head with every seed on the CPU, `jobs` runs at a time on one thread each.

    A finished run is read from its folder, not repeated; an unfinished one is begun anew, since
    its time is part of the result.
    """
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        tasks = [
            pool.submit(finished, head, seed, iterations, folder)
            for seed in seeds
            for head in heads
        ]
        for task in tasks:
            yield task.result()


def finished(head: Head, seed: int, iterations: int, folder: Path) -> Result:
    """The result of a run, from its folder if it is there."""
    experiment = town(head)
    recipe = replace(experiment.train, seed=seed, iterations=iterations)
    run = run_folder(folder, head, iterations, seed)
    path = run / "result.json"
    if not path.is_file():
        result = run_one(replace(experiment, train=recipe), run)
        write_atomically(path, (json.dumps(asdict(result)) + "\n").encode())
    return Result(**json.loads(path.read_text()))


def run_folder(folder: Path, head: Head, iterations: int, seed: int) -> Path:
    return folder / f"balloon_{head}-{iterations}-seed{seed}"


def run_one(experiment: Experiment, folder: Path) -> Result:
    """Trains and scores one head from one seed."""
    (folder / "last.safetensors").unlink(missing_ok=True)
    halves = open_data(experiment.data, None)
    watched = torch.utils.data.Subset(halves.val, range(WATCHED))
    training = Training(experiment, halves.spec, folder, torch.device("cpu"))
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
    seconds += time.perf_counter() - started
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
        seconds,
        *goal,
    )


def confusion(training: Training, dataset: torch.utils.data.Dataset) -> ConfusionMatrix:
    predict = predictor(training.model, training.experiment.test)
    return evaluate(predict, make_loader(dataset, 10, training=False), training.spec.num_classes)


def house_accuracy(matrix: ConfusionMatrix) -> float:
    """Share of right kinds among pixels that are, and were found to be, some house."""
    return matrix.accuracy_among(HOUSES)


def count_parameters(model: torch.nn.Module) -> int:
    """Parameters of everything that is used after training."""
    return sum(p.numel() for name, p in model.named_parameters() if "auxiliary" not in name)


def summary(results: Sequence[Result]) -> str:
    """The Markdown table of a comparison: mean and deviation over seeds, worst seed."""
    heads = list(dict.fromkeys(result.head for result in results))
    rows = [summary_row([r for r in results if r.head == head]) for head in heads]
    header = [
        "head",
        "parameters",
        "mIoU",
        "house accuracy (worst)",
        "house IoU",
        "seconds",
        "seconds to 0.9 (worst)",
        "seeds that reach 0.9",
    ]
    return table(header, rows)


def summary_row(results: Sequence[Result]) -> list[str]:
    accuracies = [r.house_accuracy for r in results]
    goals = [r.goal_seconds for r in results if r.goal_seconds is not None]
    return [
        results[0].head,
        f"{results[0].parameters:,}",
        spread([r.miou for r in results]),
        f"{spread(accuracies)} ({min(accuracies):.3f})",
        spread([r.house_iou for r in results]),
        f"{mean(r.seconds for r in results):.0f}",
        f"{mean(goals):.0f} ({max(goals):.0f})" if goals else "never",
        f"{len(goals)} of {len(results)}",
    ]


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds."""
    return f"{mean(values):.3f}" + (f" ±{stdev(values):.3f}" if len(values) > 1 else "")


def results_file(results: Sequence[Result], path: Path) -> str:
    """Writes the table with date and machine, and the single results beside it as JSON."""
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, one thread a run"
    text = (
        f"{summary(results)}\n\n{results[0].iterations} steps of batch 8, "
        f"{len({r.seed for r in results})} seeds, 200 unseen scenes. {date.today()}, {machine}, "
        f"torch {torch.__version__}. Remake: `annlib town compare`\n"
    )
    write_atomically(path, text.encode())
    values = json.dumps([asdict(result) for result in results], indent=1)
    write_atomically(path.with_suffix(".json"), f"{values}\n".encode())
    return text


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
