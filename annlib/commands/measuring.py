"""What the commands that measure have in common: where, how often, and where results go."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annlib.commands.devices import Device, choose_device, use_threads
from annlib.commands.errors import at_least_one

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Machine:
    """Where to measure, and how often."""

    device: Device = "auto"
    """auto takes a GPU if there is one."""
    threads: int | None = None
    """CPU threads of one operation."""
    repeat: int = 10
    """Calls that count, after some to warm up."""

    def ready(self) -> "torch.device":
        """Checks the options and limits the threads.  -> the device to measure on"""
        at_least_one("--repeat", self.repeat)
        use_threads(self.threads)
        return choose_device(self.device)


@dataclass(frozen=True)
class Results:
    """Where results go."""

    out: Path = Path("data/results/benchmark")
    """Folder of the table and its JSON; their name says what was measured, and the device."""

    def path(self, device: "torch.device", *words: str) -> Path:
        """Of the table about `words` on this device: another machine gets another file."""
        from annlib.engine.cost_tables import device_name
        from annlib.engine.results import slug

        return self.out / f"{slug(*words, device_name(device))}.md"

    def save(self, text: str, values: dict[str, Any], path: Path) -> str:
        """Writes a table and, beside it, its numbers as JSON.  -> the table, and where it is"""
        from annlib.engine.results import write_measured

        return f"{write_measured(text, values, path, remake())}\nSaved {path}"

    def keep(self, text: str, values: dict[str, Any], path: Path) -> None:
        """The same, and prints it."""
        print(f"\n{self.save(text, values, path)}", flush=True)


def remake() -> str:
    """The words that measure the same again: this command, private parts of paths left out."""
    from annlib.engine.provenance import command

    return shlex.join(command(sys.argv))
