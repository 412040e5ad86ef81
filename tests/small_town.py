"""The command line with Balloon Town in small: `python tests/small_town.py train balloon_ann`.

The same experiments, data and commands, but a few scenes, a tiny network and small batches.
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE, Popen

from tiny import TINY

from annlib import experiments
from annlib.config import DataConfig
from annlib.data import datasets
from annlib.engine import trainer

MODEL = replace(TINY, num_classes=10)
DATA = DataConfig("balloon_town", crop_size=(40, 56), base_size=(48, 72), batch_size=2)
LAPTOP = {
    name: replace(
        experiment,
        model=experiments.with_head(MODEL, experiment.model.head),
        data=replace(DATA, dataset=experiment.data.dataset),
        test=replace(experiment.test, base_size=(48, 72)),
    )
    for name, experiment in experiments.LAPTOP.items()
}
CHANGES = (
    (experiments, "LAPTOP", LAPTOP),
    (datasets, "TRAIN_SCENES", 7),
    (datasets, "VAL_SCENES", 3),
    (trainer, "SAVE_EVERY", 20),
    (trainer, "RECORD_EVERY", 5),
)


def hear_interrupts() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(*words: str, program: tuple[str, ...] = (__file__,)) -> Popen:
    """The command in a process group of its own, as a terminal would start it."""
    return Popen(
        [sys.executable, "-W", "error", *program, *words],
        stdout=PIPE,
        stderr=PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear_interrupts,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])},
    )


if __name__ == "__main__":
    from annlib.__main__ import main

    for module, name, value in CHANGES:
        setattr(module, name, value)
    main()
