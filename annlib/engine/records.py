"""What a run writes down beside its checkpoints: its starts, its losses, its validation scores.

One JSON object a line in each file: readable by people, by pandas, and after a kill.
"""

from dataclasses import asdict
from math import isnan, nan
from pathlib import Path

import torch

from annlib.config import Compute
from annlib.engine.distributed import world_size
from annlib.engine.evaluate import Scores
from annlib.engine.lines import Line, append_line, keep_until, read_lines, write_lines
from annlib.engine.provenance import provenance

HISTORY = "history.jsonl"  # {"step", "loss", "lr"} every few steps
VALIDATION = "validation.jsonl"  # {"step", "miou", "mean_accuracy", "pixel_accuracy", "iou"}
STARTS = "starts.jsonl"  # provenance of each session: a run that is resumed has several


def record_start(folder: Path, step: int, device: torch.device, compute: Compute) -> None:
    """Notes where, with what and how a run starts or, after `step` steps, goes on."""
    how = {"step": step, "device": device.type, "processes": world_size()}
    append_line(folder / STARTS, provenance() | how | {"compute": asdict(compute)})


def record_validation(folder: Path, step: int, scores: Scores) -> None:
    """Notes the scores of a step, in place of those that were noted of it before.

    A class without a score (NaN) is null, since JSON knows no NaN.
    """
    line = {
        "step": step,
        "miou": or_null(scores.miou),
        "mean_accuracy": or_null(scores.mean_accuracy),
        "pixel_accuracy": or_null(scores.pixel_accuracy),
        "iou": [or_null(float(iou)) for iou in scores.iou],
    }
    path = folder / VALIDATION
    others = [other for other in read_lines(path) if other["step"] != step]
    write_lines(path, [*others, line])


def or_null(share: float) -> float | None:
    return None if isnan(share) else share


def or_nan(share: float | None) -> float:
    return nan if share is None else share


def read_history(folder: Path) -> list[Line]:
    """The recorded steps: {"step", "loss", "lr"} each."""
    return complete(folder / HISTORY, {"step", "loss", "lr"})


def read_validations(folder: Path) -> list[Line]:
    """The recorded scores as `record_validation` got them, NaN included."""
    shares = {"miou", "mean_accuracy", "pixel_accuracy"}
    return [
        line | {key: or_nan(line[key]) for key in shares} | {"iou": [*map(or_nan, line["iou"])]}
        for line in complete(folder / VALIDATION, {"step", "iou"} | shares)
    ]


def read_starts(folder: Path) -> list[Line]:
    """The recorded starts, see `record_start`."""
    needed = {"started", "versions", "hardware", "step", "device", "processes", "compute"}
    return complete(folder / STARTS, needed)


def complete(path: Path, keys: set[str]) -> list[Line]:
    """The lines of a file. Raises ValueError for one that lacks a key."""
    lines = read_lines(path)
    for line in lines:
        if not keys <= line.keys():
            missing = ", ".join(sorted(keys - line.keys()))
            raise ValueError(f"{path} is damaged, or of another version: a line lacks {missing}.")
    return lines


def forget_after(folder: Path, step: int) -> None:
    """Drops what was recorded after the checkpoint of that step: it will be recorded again."""
    keep_until(folder / HISTORY, step)
    keep_until(folder / VALIDATION, step)
