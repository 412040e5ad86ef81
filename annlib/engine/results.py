"""What was measured, as files: a table that says when, where and by which command it was made."""

import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from annlib.config import Head
from annlib.engine.provenance import provenance
from annlib.engine.settings import to_json
from annlib.engine.tables import table
from annlib.model.checkpoints import write_atomically


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


def write_results(text: str, path: Path, command: str) -> str:
    """Writes a table with the date, the machine and the command that remakes it.  -> all of it"""
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, torch {torch.__version__}"
    text = f"{text}\n\n{date.today()}, {machine}. Remake: `{command}`\n"
    write_atomically(path, text.encode())
    return text


def write_measured(text: str, values: dict[str, Any], path: Path, command: str) -> str:
    """Writes a table as above; its numbers, and all they depend on, beside it as JSON.  -> text"""
    write_atomically(path.with_suffix(".json"), to_json({"made": provenance(), **values}))
    return write_results(text, path, command)


def slug(*words: str) -> str:
    """Words as the name of a file, without its suffix."""
    return "_".join(re.sub(r"[^a-z0-9_-]+", "-", word.lower()).strip("-") for word in words)


def write_comparison(results: Sequence[Result], path: Path, command: str) -> str:
    """Writes the table of a comparison, and the single results beside it as JSON."""
    values = json.dumps([asdict(result) for result in results], indent=1)
    write_atomically(path.with_suffix(".json"), f"{values}\n".encode())
    budget = (
        f"{results[0].iterations} steps of batch 8 on one CPU thread, "
        f"{len({r.seed for r in results})} seeds, 200 unseen scenes."
    )
    return write_results(f"{summary(results)}\n\n{budget}", path, command)
