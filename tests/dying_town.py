"""small_town.py whose second process kills itself once, for test_distributed.py.

dying_town.py PATH WORDS: at step 6, unless PATH.marker exists or PATH is "never".
"""

import os
import signal
import sys
from pathlib import Path

import small_town

from annlib.engine import trainer
from annlib.engine.distributed import rank

SAVE_EVERY, DEADLY_STEP = 4, 6

if __name__ == "__main__":
    from annlib.__main__ import main

    for module, name, value in small_town.CHANGES:
        setattr(module, name, value)
    trainer.SAVE_EVERY, trainer.RECORD_EVERY = SAVE_EVERY, 1
    place = sys.argv.pop(1)
    marker, is_deadly = Path(f"{place}.marker"), place != "never"
    plain_train = trainer.train

    def deadly(*arguments):
        for step in plain_train(*arguments):
            is_time = is_deadly and step.number == DEADLY_STEP and rank() == 1
            if is_time and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield step

    trainer.train = deadly
    main()
