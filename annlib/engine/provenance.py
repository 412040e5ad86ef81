"""Where a result comes from: command, versions, hardware and the state of the source."""

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

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
