"""Result files and their provenance: command, versions, hardware, state of the source."""

import json
import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, date, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from annlib.files import PACKAGE, write_atomically

CHECKOUT = PACKAGE.parent
GIT_SECONDS = 10  # a slower git (on a network drive, for example) is not waited for


def to_json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()


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


def same_settings(before: dict[str, Any], now: dict[str, Any], what: str, result: str) -> None:
    """Raises ValueError if settings differ.  what: was made with the earlier ones"""
    before, now = json.loads(to_json(before)), json.loads(to_json(now))  # tuples become lists
    if before != now:
        said = f"{what} made with other settings: {', '.join(differences(before, now))}. {result} "
        raise ValueError(f"{said}would be a mixture: use the same, or another folder (--out).")


def provenance() -> dict[str, Any]:
    """What a result depends on besides its settings, as values for JSON.

    It does not contain names of the machine or its user, so it can be published with the result.
    "git" is missing where annlib does not run from a checkout.
    """
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    if torch.version.cuda:  # as torch was built
        versions["cuda"] = torch.version.cuda
    if cudnn := torch.backends.cudnn.version():
        versions["cudnn"] = str(cudnn)
    for package in ("annlib", "torchvision", "numpy"):
        with suppress(PackageNotFoundError):  # annlib also runs from an unpacked folder
            versions[package] = version(package)
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    facts = {
        "started": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "command": command(sys.argv),
        "versions": versions,
        "hardware": {
            "cpu": device_name(torch.device("cpu")),
            "cores": os.cpu_count(),  # logical ones
            "threads": torch.get_num_threads(),
            "gpus": [torch.cuda.get_device_name(gpu) for gpu in gpus],  # that it may use
        },
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
    return re.sub(rf"(?<=/){re.escape(user)}(?=/|$)", "$USER", word) if user else word


def device_name(device: torch.device) -> str:
    """The model of the GPU or the CPU; a CPU's architecture where the system does not tell it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    listing = Path("/proc/cpuinfo")
    text = listing.read_text(encoding="utf-8") if listing.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)  # prose: of the file
    return model[1].strip() if model else platform.processor() or platform.machine()


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of a checkout, and what differs from it; None where there is no checkout or no git.

    None, too, for a folder inside another project's checkout (site-packages, for example). Of
    untracked files only those of the package count, because data may lie in a checkout.
    """
    git = ["git", "--no-optional-locks", "-C", str(folder)]  # a lock could disturb another git
    others = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    options = {"capture_output": True, "check": True, "encoding": "utf-8", "env": others}
    questions = ("rev-parse --show-toplevel HEAD", "diff --stat=100 HEAD")
    questions += ("ls-files --others --exclude-standard annlib",)
    answers = []
    try:
        for words in questions:
            done = subprocess.run([*git, *words.split()], timeout=GIT_SECONDS, **options)
            answers.append([line.strip() for line in done.stdout.splitlines()])
            if Path(answers[0][0]).resolve() != folder.resolve():
                return None
    except (OSError, subprocess.SubprocessError):  # no git, no checkout, too slow
        return None
    (_, commit), diff, new = answers
    return {"commit": commit, "dirty": bool(diff or new), "diff": diff, "untracked": new}


def write_results(text: str, path: Path, command: str) -> str:
    """Writes a table with the date, the machine and the command that remakes it.  -> all of it"""
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, torch {torch.__version__}"
    text = f"{text}\n\n{date.today()}, {machine}. Remake: `{command}`\n"
    write_atomically(path, text.encode())
    return text
