"""python -m benchmarks published-rows: memory and speed of the published rows, measured."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tyro.conf import Positional

from annlib.config import Precision, RuntimeConfig
from benchmarks.common import Machine, Results, remake

if TYPE_CHECKING:
    from annlib.engine.row_costs import Measuring, RowCost
    from annlib.zoo import Published


@dataclass(frozen=True)
class Choice:
    """Of published rows."""

    name: Positional[str | None] = None
    """A published row (`annlib list`)."""
    all: bool = False
    """All 16 rows; those that differ only in their steps are measured once."""

    def rows(self) -> "list[Published]":
        """What was chosen. Raises ValueError if that is nothing, or two things."""
        from annlib.zoo import ROWS, published

        if self.all == (self.name is not None):
            raise ValueError("Name one published row (see annlib list), or give --all.")
        return list(ROWS) if self.all else [published(self.name)]


@dataclass(frozen=True)
class Rows:
    """Measure frames per second, time and memory of a training step, as the published tables do.

    One picture at a time at the published sizes; training with the published share of one GPU. On
    a CPU a row takes minutes to an hour: --shrink 4 shows what to expect.
    """

    choice: Choice = Choice()
    machine: Machine = Machine()
    results: Results = Results()
    inference: bool = True
    """Measure inference."""
    training: bool = True
    """Measure training."""
    shrink: int = 1
    """Divide all sides of pictures and crops by this."""
    precision: Precision = "fp32"
    """Of convolutions and products; fp32 was published (a recent GPU makes TF32 of it)."""
    compile: bool = False
    """Let torch.compile fuse operations."""
    channels_last: bool = True
    """Layout of maps in memory."""

    def run(self) -> None:
        from annlib.engine.row_costs import Measuring

        rows = self.choice.rows()  # first: a misspelt name is told before anything is measured
        if not (self.inference or self.training):
            raise ValueError("--no-inference and --no-training leave nothing to measure.")
        compute = RuntimeConfig(
            self.precision, channels_last=self.channels_last, compile=self.compile
        )
        how = Measuring(self.machine.ready(), compute, self.shrink, self.machine.repeat)
        self.measure(rows, how)

    def measure(self, rows: "list[Published]", how: "Measuring") -> None:
        """Measures row by row, and writes down all that is known after each."""
        from annlib.engine.row_costs import file_name, row_costs, write_costs

        path = self.results.out / f"{file_name(self.choice.name or 'all', how)}.md"
        costs: list[RowCost] = []
        text = ""
        for cost in row_costs(rows, how, self.inference, self.training):
            costs.append(cost)
            text = write_costs(costs, path, how, remake())
            print(f"{len(costs)} of {len(rows)}: {cost.row.name}", flush=True)
        print(f"\n{text}\nSaved {path}")
