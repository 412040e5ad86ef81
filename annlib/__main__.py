"""The command `annlib`, also `python -m annlib`: a thin door to annlib.commands."""

import os
import sys
from typing import Annotated

import tyro
from tyro.conf import subcommand

from annlib.cli.assignments import Assign, Grade
from annlib.cli.common import message_of
from annlib.cli.data import Data, WriteScenes
from annlib.cli.evaluate import Evaluate
from annlib.cli.lessons import Lessons
from annlib.cli.list import ListExperiments
from annlib.cli.predict import Predict
from annlib.cli.reproduce import Reproduce
from annlib.cli.runs import Runs
from annlib.cli.sweep import Sweep
from annlib.cli.train import Train
from annlib.cli.weights import Weights
from benchmarks.__main__ import Benchmark
from benchmarks.compare_heads import Town
from benchmarks.verify_zoo import Zoo
from tests.browser.latency import Widgets

Command = (
    Annotated[ListExperiments, subcommand("list", prefix_name=False)]
    | Annotated[WriteScenes, subcommand("scenes", prefix_name=False)]
    | Annotated[Train, subcommand("train", prefix_name=False)]
    | Annotated[Evaluate, subcommand("evaluate", prefix_name=False)]
    | Annotated[Predict, subcommand("predict", prefix_name=False)]
    | Annotated[Data, subcommand("data", prefix_name=False)]
    | Annotated[Lessons, subcommand("lessons", prefix_name=False)]
    | Annotated[Runs, subcommand("runs", prefix_name=False)]
    | Annotated[Weights, subcommand("weights", prefix_name=False)]
    | Annotated[Sweep, subcommand("sweep", prefix_name=False)]
    | Annotated[Town, subcommand("town", prefix_name=False)]
    | Annotated[Reproduce, subcommand("reproduce", prefix_name=False)]
    | Annotated[Benchmark, subcommand("benchmark", prefix_name=False)]
    | Annotated[Assign, subcommand("assign", prefix_name=False)]
    | Annotated[Grade, subcommand("grade", prefix_name=False)]
    | Annotated[Zoo, subcommand("zoo", prefix_name=False)]
    | Annotated[Widgets, subcommand("widgets", prefix_name=False)]
)
DESCRIPTION = """Asymmetric Non-local Neural Networks for semantic segmentation.

Try: annlib train balloon_ann --iterations 100. Each command explains itself with --help.
"""
CONFIG = (  # --resume without a --no-resume; town compare --seeds, not --what.seeds
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.OmitArgPrefixes,
)
USER_ERRORS = (ValueError, KeyError, OSError, FloatingPointError)  # with a message made for people


def is_a_missing_file_of_ours(error: Exception) -> bool:
    """Whether an import failed through no fault of what is installed."""
    return isinstance(error, ModuleNotFoundError) and (error.name or "annlib").startswith("annlib")


def main() -> None:
    """Exit code 0: done. 1: could not be done, one message says why. 2: the command line is wrong.

    130: stopped by Ctrl-C. ANNLIB_TRACEBACK=1 shows where an error came from.
    """
    try:
        tyro.cli(Command, prog="annlib", description=DESCRIPTION, config=CONFIG).run()
        sys.stdout.flush()
    except BrokenPipeError:  # annlib list | head: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (*USER_ERRORS, ModuleNotFoundError) as error:
        if os.environ.get("ANNLIB_TRACEBACK") or is_a_missing_file_of_ours(error):
            raise
        sys.exit(f"annlib: {message_of(error)}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
