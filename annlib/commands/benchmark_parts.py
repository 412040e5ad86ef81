"""annlib benchmark parts: which part of a network has how many parameters, and takes how long."""

from dataclasses import dataclass

from annlib.commands.benchmark_rows import Choice
from annlib.commands.measuring import Machine
from annlib.config import Compute, Precision


@dataclass(frozen=True)
class Parts:
    """Show parameters, multiply-adds and time of each part of a network, in inference."""

    choice: Choice = Choice()
    machine: Machine = Machine()
    shrink: int = 1
    """Divide all sides of pictures by this."""
    precision: Precision = "fp32"
    """Of convolutions and products."""

    def run(self) -> None:
        from annlib.engine.costs import Measuring
        from annlib.engine.parts import parts_table

        rows = self.choice.rows()
        compute = Compute(self.precision)
        how = Measuring(self.machine.ready(), compute, self.shrink, self.machine.repeat)
        for row in rows:
            print(f"{row.name}\n\n{parts_table(row.experiment, how)}\n", flush=True)
