"""small_town.py whose second process kills itself once, for test_distributed.py.

dying_town.py FOLDER WORDS: trains into FOLDER/died, where a process dies at step 6 unless one died
before, and then, without a fault, into FOLDER/whole.
"""

import os
import signal
import sys
from pathlib import Path

import small_town
import torch

from annlib.__main__ import main
from annlib.engine import trainer
from annlib.engine.distributed import init_distributed, rank

SAVE_EVERY, DEADLY_STEP = 4, 6


def train_twice(folder: Path, words: list[str]) -> None:
    """What each process does: the run in which one dies, and the whole one."""
    for module, name, value in small_town.CHANGES:
        setattr(module, name, value)
    trainer.SAVE_EVERY, trainer.RECORD_EVERY = SAVE_EVERY, 1
    marker, plain_train = folder / "marker", trainer.train

    def deadly(*arguments):
        for step in plain_train(*arguments):
            is_time = step.number == DEADLY_STEP and rank() == 1
            if is_time and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield step

    trainer.train = deadly
    with init_distributed(torch.device("cpu")):  # one group for both runs
        for run in ("died", "whole"):
            sys.argv[1:] = [*words, "--out", str(folder / run)]
            main()


if __name__ == "__main__":
    train_twice(Path(sys.argv[1]), sys.argv[2:])
