"""python -m benchmarks: measurements, each a command of its own."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import subcommand

from benchmarks.dataloading import Data
from benchmarks.evaluation import Evaluate
from benchmarks.implementations import Blocks
from benchmarks.network import Model, Parts, Train
from benchmarks.published_rows import Rows
from benchmarks.scaling import Growth


@dataclass(frozen=True)
class Benchmark:
    """Measure time and memory: of the published rows, and of one way of working beside another."""

    what: (
        Annotated[Rows, subcommand("rows", prefix_name=False)]
        | Annotated[Parts, subcommand("parts", prefix_name=False)]
        | Annotated[Blocks, subcommand("blocks", prefix_name=False)]
        | Annotated[Growth, subcommand("growth", prefix_name=False)]
        | Annotated[Model, subcommand("model", prefix_name=False)]
        | Annotated[Train, subcommand("train", prefix_name=False)]
        | Annotated[Data, subcommand("data", prefix_name=False)]
        | Annotated[Evaluate, subcommand("evaluate", prefix_name=False)]
    )

    def run(self) -> None:
        self.what.run()
