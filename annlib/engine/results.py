"""Result files and their provenance: command, versions, hardware, state of the source."""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from annlib.config import Head
from annlib.engine.metrics import table
from annlib.model.checkpoint import write_atomically


def settings(experiment: dict[str, Any], classes: dict[str, Any]) -> dict[str, Any]:
    """What must stay the same for a run to go on. The data may have moved to another folder."""
    return experiment | {"class_names": classes["class_names"]}


def to_json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()


def as_json(values: dict[str, Any]) -> dict[str, Any]:
    """The same values as they come back from a file: tuples are lists."""
    return json.loads(json.dumps(values))


def differences(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    """The settings that differ, with both values."""
    found = []
    for key in before.keys() | now.keys():
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key} was {old}, is {new}")
    return sorted(found)


def versions() -> dict[str, str]:
    """What a result may depend on besides the settings."""
    return {"python": platform.python_version(), "torch": torch.__version__}


CHECKOUT = Path(__file__).parents[2]
GIT_SECONDS = 10  # a git that takes longer (a network drive, say) is not waited for


def provenance() -> dict[str, Any]:
    """What a result depends on besides its settings, as values for JSON.

    Meant to be published with the result: no name of the machine or of its user is in it. "git" is
    missing where annlib does not run from a checkout.
    """
    facts = {
        "started": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "command": command(sys.argv),
        "versions": library_versions(),
        "hardware": hardware(),
    }
    state = git_state(CHECKOUT)
    return facts if state is None else facts | {"git": state}


def command(words: list[str]) -> list[str]:
    """The words of a command line, private parts of paths replaced by ~ and $USER."""
    program = Path(words[0])
    name = program.parent.name if program.name == "__main__.py" else program.name
    return [name, *map(without_names, words[1:])]


def without_names(word: str) -> str:
    """A word of a command line, the home folder as ~ and a folder of the user's name as $USER."""
    home = os.path.expanduser("~")
    user = os.environ.get("USER") or os.environ.get("LOGNAME")
    word = re.sub(rf"(?<![\w/.-]){re.escape(home)}(?=/|$)", "~", word)
    if user:
        word = re.sub(rf"(?<=/){re.escape(user)}(?=/|$)", "$USER", word)
    return word


def library_versions() -> dict[str, str]:
    """Of annlib, of Python and of what computes; CUDA and cuDNN as torch was built with them."""
    found = {
        "annlib": version_of("annlib"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": version_of("torchvision"),
        "numpy": version_of("numpy"),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }
    return {name: str(number) for name, number in found.items() if number is not None}


def version_of(package: str) -> str | None:
    """None for a package that is not installed: annlib runs from an unpacked folder, too."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def hardware() -> dict[str, Any]:
    """Processor, its logical cores, and the GPUs that this process may use."""
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(gpu) for gpu in gpus],
    }


def cpu_name() -> str:
    """The processor's model, where the system tells it, or else its architecture."""
    listing = Path("/proc/cpuinfo")
    text = listing.read_text(encoding="utf-8") if listing.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return model[1].strip() if model else platform.processor() or platform.machine()


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of a checkout, and what differs from it; None where there is no checkout or no git.

    A folder that merely lies inside another project's checkout (site-packages, say) is none. Of
    files that git does not know, only those of the package count: data may lie in a checkout, too.
    """
    try:
        if Path(git(folder, "rev-parse", "--show-toplevel")).resolve() != folder.resolve():
            return None
        commit = git(folder, "rev-parse", "HEAD")
        diff = [line.strip() for line in git(folder, "diff", "--stat=100", "HEAD").splitlines()]
        new = git(folder, "ls-files", "--others", "--exclude-standard", "annlib").splitlines()
    except (OSError, subprocess.SubprocessError):  # no git, no checkout, not ours, too slow
        return None
    return {"commit": commit, "dirty": bool(diff or new), "diff": diff, "untracked": new}


def git(folder: Path, *words: str) -> str:
    """The answer of git about a folder; asks without locks, which could disturb another git."""
    others = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    done = subprocess.run(
        ["git", "--no-optional-locks", "-C", str(folder), *words],
        capture_output=True,
        check=True,
        encoding="utf-8",
        timeout=GIT_SECONDS,
        env=others,
    )
    return done.stdout.strip()


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
