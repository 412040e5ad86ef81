"""annlib benchmark: what things cost here, each measurement a command of its own."""

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import subcommand

from annlib.commands.benchmark_blocks import Blocks
from annlib.commands.benchmark_data import Data
from annlib.commands.benchmark_evaluate import Evaluate
from annlib.commands.benchmark_growth import Growth
from annlib.commands.benchmark_model import Model
from annlib.commands.benchmark_parts import Parts
from annlib.commands.benchmark_rows import Rows
from annlib.commands.benchmark_train import Train


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
