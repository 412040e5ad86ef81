"""Folders of runs as a training leaves them, without the training."""

from dataclasses import asdict, replace
from pathlib import Path

import torch
from tiny import TINY

from annlib.config import RuntimeConfig
from annlib.engine.metrics import ConfusionMatrix, Scores
from annlib.engine.results import to_json
from annlib.engine.runs import HISTORY, STARTS, append_line, record_validation
from annlib.experiments import town
from annlib.model.ann import ANN
from annlib.model.checkpoint import save, write_atomically

CLASSES = ("sky", "road", "house", "tree", "car")
MODEL = ANN(TINY)


def some_scores(right: int) -> Scores:
    """Of 100 pixels in classes 0 and 1, `right` are found; the other classes do not occur."""
    matrix = ConfusionMatrix(len(CLASSES))
    labels = torch.arange(100) % 2
    predictions = torch.where(torch.arange(100) < right, labels, 1 - labels)
    matrix.update(predictions, labels)
    return matrix.scores()


def save_checkpoint(folder: Path, step: int, **notes: object) -> Path:
    path = folder / "last.safetensors"
    save(path, MODEL, None, step, {"classes": {"class_names": CLASSES}, **notes})
    return path


def start_line(started: str, step: int = 0, device: str = "cpu", **changes: object) -> dict:
    versions = {"torch": "2.14.1"}
    hardware = {"cpu": "Abacus", "cores": 2, "gpus": ["NVIDIA Dream"] if device == "cuda" else []}
    line = {"started": started, "versions": versions, "hardware": hardware, "step": step}
    line |= {"device": device, "processes": 1, "compute": asdict(RuntimeConfig())}
    return line | changes


def make_run(
    folder: Path, seed: int = 0, step: int = 40, head: str = "ann", hour: int = 9, right: int = 80
) -> Path:
    """A run of 60 steps that has got to `step`, scored half-way there and there."""
    experiment = town(head)
    experiment = replace(experiment, train=replace(experiment.train, seed=seed, iterations=60))
    write_atomically(folder / "experiment.json", to_json(asdict(experiment)))
    append_line(folder / STARTS, start_line(f"2026-11-23T{hour:02}:00:00Z"))
    for at in range(5, step + 1, 5):
        append_line(folder / HISTORY, {"step": at, "loss": 10 / at + seed, "lr": 0.1})
    record_validation(folder, step // 2, some_scores(right - 20))
    record_validation(folder, step, some_scores(right))
    save_checkpoint(folder, step, seconds=75.0)
    return folder
