"""Balloon Town's question to every head: same backbone, same budget, several seeds, one table."""

import json
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch

from annlib.config import Experiment, Head
from annlib.data.loading import make_loader
from annlib.data.scenes import HOUSES
from annlib.data.sources import Halves, open_data
from annlib.engine.evaluate import ConfusionMatrix, evaluate_labels
from annlib.engine.inference import labeller
from annlib.engine.results import Result
from annlib.engine.training import Training, read_experiment
from annlib.experiments import town
from annlib.model.baselines import build_model
from annlib.model.checkpoints import load, restore, save, write_atomically

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


def train_timed(training: Training, halves: Halves) -> Timing:
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
    label = labeller(training.model, training.experiment.test)
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
