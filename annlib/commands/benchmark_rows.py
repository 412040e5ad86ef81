"""annlib benchmark rows: the memory and speed columns of the published tables, measured here."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from annlib.commands.devices import Device, choose_device, use_threads
from annlib.commands.errors import at_least_one
from annlib.config import Compute, Precision

if TYPE_CHECKING:
    from annlib.engine.cost_tables import RowCost
    from annlib.engine.costs import Measuring
    from annlib.zoo import Published

FOLDER = Path("data/results/benchmark")


@dataclass(frozen=True)
class Rows:
    """Measure frames per second, time and memory of a training step, as the published tables do.

    One picture at a time at the published sizes; training with the published share of one GPU. On
    a CPU a row takes minutes to an hour: --shrink 4 shows what to expect.
    """

    name: Positional[str | None] = None
    """A published row (`annlib list`)."""
    all: bool = False
    """All 16 rows; those that differ only in their steps are measured once."""
    layers: bool = False
    """Show instead which part of the network has how many parameters, and takes how long."""
    inference: bool = True
    """Measure inference."""
    training: bool = True
    """Measure training."""
    shrink: int = 1
    """Divide all sides of pictures and crops by this."""
    repeat: int = 10
    """Calls that count, after some to warm up."""
    precision: Precision = "fp32"
    """Of convolutions and products; fp32 was published (a recent GPU makes TF32 of it)."""
    compile: bool = False
    """Let torch.compile fuse operations."""
    channels_last: bool = True
    """Layout of maps in memory."""
    device: Device = "auto"
    """auto takes a GPU if there is one."""
    threads: int | None = None
    """CPU threads of one operation."""
    out: Path = FOLDER
    """Folder of the table and its JSON; their name says the row, the device and the settings."""

    def run(self) -> None:
        from annlib.engine.costs import Measuring
        from annlib.engine.parts import parts_table

        rows = self.rows()  # first: a misspelt name is told before anything is measured
        at_least_one("--repeat", self.repeat)
        use_threads(self.threads)
        compute = Compute(self.precision, channels_last=self.channels_last, compile=self.compile)
        how = Measuring(choose_device(self.device), compute, self.shrink, self.repeat)
        if self.layers:
            for row in rows:
                print(f"{row.name}\n\n{parts_table(row.experiment, how)}\n", flush=True)
            return
        self.measure(rows, how)

    def rows(self) -> "list[Published]":
        """What the command line asks for. Raises ValueError if that is nothing, or two things."""
        from annlib.zoo import ROWS, published

        if self.all == (self.name is not None):
            raise ValueError("Name one published row (see annlib list), or give --all.")
        if not (self.inference or self.training or self.layers):
            raise ValueError("--no-inference and --no-training leave nothing to measure.")
        return list(ROWS) if self.all else [published(self.name)]

    def measure(self, rows: "list[Published]", how: "Measuring") -> None:
        """Measures row by row, and writes down all that is known after each."""
        from annlib.engine.cost_tables import file_name, row_costs, write_costs

        path = self.out / f"{file_name(self.name or 'all', how)}.md"
        costs: list[RowCost] = []
        text = ""
        for cost in row_costs(rows, how, self.inference, self.training):
            costs.append(cost)
            text = write_costs(costs, path, how, self.command())
            print(f"{len(costs)} of {len(rows)}: {cost.row.name}", flush=True)
        print(f"\n{text}\nSaved {path}")

    def command(self) -> str:
        """The words that measure the same again."""
        words = ["annlib", "benchmark", "rows", self.name or "--all"]
        words += [] if self.inference else ["--no-inference"]
        words += [] if self.training else ["--no-training"]
        words += [] if self.channels_last else ["--no-channels-last"]
        words += ["--compile"] if self.compile else []
        for option, value, usual in (
            ("--shrink", self.shrink, 1),
            ("--repeat", self.repeat, 10),
            ("--precision", self.precision, "fp32"),
            ("--device", self.device, "auto"),
            ("--threads", self.threads, None),
        ):
            words += [] if value == usual else [option, str(value)]
        return shlex.join(words)
