"""Result files and their provenance: command, versions, hardware, state of the source."""

import json
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, date, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from annlib.model.checkpoint import write_atomically

CHECKOUT = Path(__file__).parents[2]
GIT_SECONDS = 10  # a slower git (on a network drive, for example) is not waited for


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


def provenance() -> dict[str, Any]:
    """What a result depends on besides its settings, as values for JSON.

    It does not contain names of the machine or its user, so it can be published with the result.
    "git" is missing where annlib does not run from a checkout.
    """
    found = {
        "annlib": version_of("annlib"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": version_of("torchvision"),
        "numpy": version_of("numpy"),
        "cuda": torch.version.cuda,  # as torch was built
        "cudnn": torch.backends.cudnn.version(),
    }
    facts = {
        "started": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "command": command(sys.argv),
        "versions": {name: str(one) for name, one in found.items() if one is not None},
        "hardware": hardware(),
    }
    state = git_state(CHECKOUT)
    return facts if state is None else facts | {"git": state}


def command(words: list[str]) -> list[str]:
    """The words of a command line, private parts of paths replaced by ~ and $USER."""
    program = Path(words[0])
    start = [program.parent.name if program.name == "__main__.py" else program.name]
    if program.suffix == ".py" and program.stem != "__main__" and program.is_relative_to(CHECKOUT):
        start = ["python", "-m", ".".join(program.relative_to(CHECKOUT).with_suffix("").parts)]
    return start + [without_names(word) for word in words[1:]]


def without_names(word: str) -> str:
    """A word of a command line, the home folder as ~ and a folder of the user's name as $USER."""
    home = os.path.expanduser("~")
    user = os.environ.get("USER") or os.environ.get("LOGNAME")
    word = re.sub(rf"(?<![\w/.-]){re.escape(home)}(?=/|$)", "~", word)
    if user:
        word = re.sub(rf"(?<=/){re.escape(user)}(?=/|$)", "$USER", word)
    return word


def version_of(package: str) -> str | None:
    """None for a package that is not installed: annlib also runs from an unpacked folder."""
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
    """The processor's model, or its architecture where the system does not tell the model."""
    listing = Path("/proc/cpuinfo")
    text = listing.read_text(encoding="utf-8") if listing.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)  # prose: of the file
    return model[1].strip() if model else platform.processor() or platform.machine()


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of a checkout, and what differs from it; None where there is no checkout or no git.

    None, too, for a folder inside another project's checkout (site-packages, for example). Of
    untracked files only those of the package count, because data may lie in a checkout.
    """

    def git(*words: str) -> str:
        others = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        done = subprocess.run(  # without locks, which could disturb another git
            ["git", "--no-optional-locks", "-C", str(folder), *words],
            capture_output=True,
            check=True,
            encoding="utf-8",
            timeout=GIT_SECONDS,
            env=others,
        )
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != folder.resolve():
            return None
        commit = git("rev-parse", "HEAD")
        diff = [line.strip() for line in git("diff", "--stat=100", "HEAD").splitlines()]
        new = git("ls-files", "--others", "--exclude-standard", "annlib").splitlines()
    except (OSError, subprocess.SubprocessError):  # no git, no checkout, not ours, too slow
        return None
    return {"commit": commit, "dirty": bool(diff or new), "diff": diff, "untracked": new}


def write_results(text: str, path: Path, command: str) -> str:
    """Writes a table with the date, the machine and the command that remakes it.  -> all of it"""
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, torch {torch.__version__}"
    text = f"{text}\n\n{date.today()}, {machine}. Remake: `{command}`\n"
    write_atomically(path, text.encode())
    return text
