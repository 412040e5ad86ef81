"""A training run on disk: a folder with its settings, its history and its latest checkpoint."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from annlib.config import Experiment, experiment_from
from annlib.data.classes import DatasetSpec
from annlib.data.loading import make_loader
from annlib.engine.evaluate import Scores, evaluate
from annlib.engine.inference import predictor
from annlib.engine.settings import as_json, differences, is_json, settings, to_json, versions
from annlib.engine.train import Step, make_optimizer, train
from annlib.model.baselines import build_model
from annlib.model.checkpoints import load, restore, save, write_atomically
from annlib.seeds import seeded

RECORD_EVERY = 20  # steps between two lines of history
SAVE_EVERY = 200  # steps between two checkpoints
WARM_UP_STEPS, TIMED_STEPS = 5, 20  # of `seconds_per_step`


class Training:
    """A run that can stop after any step and go on as if it had not.

    folder: gets experiment.json, history.jsonl and last.safetensors.
    Raises FileExistsError for a folder that holds another run, ValueError for an experiment that
    differs from the one to resume.
    """

    def __init__(
        self,
        experiment: Experiment,
        spec: DatasetSpec,
        folder: Path,
        device: torch.device,
        resume: bool = False,
    ):
        self.experiment = experiment
        self.spec = spec
        self.folder = Path(folder)
        self.device = device
        self.checkpoint = self.folder / "last.safetensors"
        self.step = 0
        with seeded("model", experiment.train.seed):
            model = build_model(experiment.model)
        # Convolutions read all channels of a pixel together; a third faster on CPUs, too.
        self.model = model.to(device, memory_format=torch.channels_last)
        self.optimizer = make_optimizer(self.model, experiment.train)
        if resume:
            self.resume()
        else:
            self.begin()

    def begin(self) -> None:
        if self.checkpoint.exists():
            raise FileExistsError(
                f"{self.folder} holds a run already. Go on with it (--resume), or choose another "
                "folder (--out): nothing is overwritten."
            )
        write_atomically(self.folder / "experiment.json", to_json(asdict(self.experiment)))
        self.forget_after(0)  # of a run that ended before its first checkpoint

    def resume(self) -> None:
        if not self.checkpoint.exists():
            raise FileNotFoundError(
                f"{self.folder} holds no checkpoint: its run ended before the first one (there is "
                f"one every {SAVE_EVERY} steps). Start it again without --resume."
            )
        checkpoint = load(self.checkpoint)
        before = settings(checkpoint.notes["experiment"], checkpoint.notes["classes"])
        now = settings(as_json(asdict(self.experiment)), as_json(asdict(self.spec)))
        if before != now:
            differing = differences(before, now)
            raise ValueError(
                f"{self.checkpoint} was made by other settings: {', '.join(differing)}. A resumed "
                "run would be neither of the two: use the same settings, or another folder (--out)."
            )
        restore(checkpoint, self.model, self.optimizer)
        self.step = checkpoint.step
        self.forget_after(self.step)

    def steps(self, dataset: Dataset, workers: int = 0) -> Iterator[Step]:
        """Trains to the end, a step at a time, keeping history and checkpoints on the way."""
        config = self.experiment.train
        loader = make_loader(
            dataset,
            self.experiment.data.batch_size,
            training=True,
            seed=config.seed,
            start=self.step,
            workers=workers,
            pin_memory=self.device.type == "cuda",
        )
        for step in train(self.model, self.optimizer, loader, config, self.step):
            self.step = step.number
            if step.number % RECORD_EVERY == 0:
                self.record(step)
            if step.number % SAVE_EVERY == 0:
                self.save()
            yield step

    def save(self, scores: dict[str, Any] | None = None) -> None:
        """Replaces the checkpoint by the present state, with where it comes from."""
        notes = {
            "experiment": as_json(asdict(self.experiment)),
            "classes": as_json(asdict(self.spec)),
            "versions": versions(),
            "scores": scores or {},
        }
        save(self.checkpoint, self.model, self.optimizer, self.step, notes)

    def record(self, step: Step) -> None:
        line = {"step": step.number, "loss": round(float(step.loss), 6), "lr": step.lr}
        with (self.folder / "history.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def history(self) -> list[dict[str, float]]:
        """The recorded steps: {"step", "loss", "lr"} each.

        A last line that was cut off, by a full disk or a power failure, is left out.
        """
        path = self.folder / "history.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        if lines and not is_json(lines[-1]):
            lines.pop()
        return [json.loads(line) for line in lines]

    def forget_after(self, step: int) -> None:
        """Steps after the checkpoint will be taken, and recorded, again."""
        lines = [json.dumps(line) + "\n" for line in self.history() if line["step"] <= step]
        write_atomically(self.folder / "history.jsonl", "".join(lines).encode())


def read_experiment(folder: Path) -> Experiment:
    """The settings of the run in a folder. Raises FileNotFoundError when it holds none."""
    path = Path(folder) / "experiment.json"
    if not path.is_file():
        raise FileNotFoundError(f"There is no run in {folder}: {path} is missing.")
    return experiment_from(json.loads(path.read_text(encoding="utf-8")))


def score(training: Training, dataset: Dataset) -> Scores:
    """Scores on a data set whose pictures may differ in size."""
    config = training.experiment
    matrix = evaluate(
        predictor(training.model, config.test),
        make_loader(dataset, 1, training=False),
        config.model.num_classes,
    )
    return matrix.scores()


def read_once(loader: DataLoader, num_batches: int) -> None:
    """Reads what the first batches will ask for: some data sets make a sample only once."""
    for batch in islice(loader.batch_sampler, num_batches):
        for draw in batch:
            loader.dataset[draw]


def seconds_per_step(
    experiment: Experiment, dataset: Dataset, device: torch.device, workers: int
) -> float:
    """Mean time of a training step, data included, once all that is done only once is done."""
    model = build_model(experiment.model).to(device, memory_format=torch.channels_last)
    optimizer = make_optimizer(model, experiment.train)
    config = replace(experiment.train, iterations=WARM_UP_STEPS + TIMED_STEPS)
    loader = make_loader(
        dataset,
        experiment.data.batch_size,
        training=True,
        seed=config.seed,
        workers=workers,
        pin_memory=device.type == "cuda",
    )
    read_once(loader, config.iterations)
    times = []
    for step in train(model, optimizer, loader, config):
        float(step.loss)  # waits for the device
        times.append(time.perf_counter())
    durations = [b - a for a, b in pairwise(times[WARM_UP_STEPS - 1 :])]
    return sum(durations) / len(durations)
