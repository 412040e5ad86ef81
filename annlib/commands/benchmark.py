"""annlib benchmark: what things cost here, each measurement a command of its own."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import subcommand

from annlib.commands.benchmark_rows import Rows


@dataclass(frozen=True)
class Benchmark:
    """Measure time and memory: of the published rows, and of one way of working beside another."""

    what: Annotated[Rows, subcommand("rows", prefix_name=False)]

    def run(self) -> None:
        self.what.run()
