"""An evaluation as a person follows it: progress, the score so far, a stop after the picture."""

from typing import TYPE_CHECKING

from annlib.commands.interrupts import interruptible

if TYPE_CHECKING:
    from annlib.engine.evaluation import Evaluation


def follow(evaluation: "Evaluation", workers: int, title: str | None = None) -> bool:
    """Scores with a progress bar. False when it was interrupted before the end."""
    from tqdm import tqdm

    from annlib.engine.distributed import is_main
    from annlib.engine.tables import percent

    done = evaluation.num_done
    total = done + len(evaluation.share)
    with (
        interruptible() as interrupted,
        tqdm(desc=title, total=total, initial=done, unit="picture", disable=not is_main()) as bar,
    ):
        for _ in evaluation.steps(workers):
            bar.set_postfix(mIoU=percent(evaluation.matrix.scores().miou), refresh=False)
            bar.update()
            if interrupted():
                break
    return evaluation.num_done == total
