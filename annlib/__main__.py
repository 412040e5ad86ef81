"""The command `annlib`, also `python -m annlib`: a thin door to annlib.commands."""

import os
import sys
from typing import Annotated

import tyro
from tyro.conf import subcommand

from annlib.commands.evaluate import Evaluate
from annlib.commands.lessons import Lessons
from annlib.commands.list_experiments import ListExperiments
from annlib.commands.predict import Predict
from annlib.commands.scenes import WriteScenes
from annlib.commands.town import Town
from annlib.commands.train import Train

Command = (
    Annotated[ListExperiments, subcommand("list", prefix_name=False)]
    | Annotated[WriteScenes, subcommand("scenes", prefix_name=False)]
    | Annotated[Train, subcommand("train", prefix_name=False)]
    | Annotated[Evaluate, subcommand("evaluate", prefix_name=False)]
    | Annotated[Predict, subcommand("predict", prefix_name=False)]
    | Annotated[Lessons, subcommand("lessons", prefix_name=False)]
    | Annotated[Town, subcommand("town", prefix_name=False)]
)
DESCRIPTION = """Asymmetric Non-local Neural Networks for semantic segmentation.

Try: annlib train balloon_ann --iterations 100. Each command explains itself with --help.
"""
CONFIG = (tyro.conf.FlagCreatePairsOff,)  # --resume, without a --no-resume
USER_ERRORS = (ValueError, KeyError, OSError, FloatingPointError)  # with a message made for people


def main() -> None:
    """Exit code 0: done. 1: could not be done, one message says why. 2: the command line is wrong.

    130: stopped by Ctrl-C. ANNLIB_TRACEBACK=1 shows where an error came from.
    """
    command = tyro.cli(Command, prog="annlib", description=DESCRIPTION, config=CONFIG)
    try:
        command.run()
        sys.stdout.flush()
    except BrokenPipeError:  # annlib list | head: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except USER_ERRORS as error:
        if os.environ.get("ANNLIB_TRACEBACK"):
            raise
        message = error.args[0] if isinstance(error, KeyError) else error
        sys.exit(f"annlib: {message}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
