"""The curves of a run for TensorBoard, where that is installed."""

from collections.abc import Mapping
from pathlib import Path


class EventLog:
    """Writes scalars into event files that lie in the folder of a run.

    folder: of the run, so that `tensorboard --logdir runs` shows it by its name. step: where the
    run goes on, 0 for a new one; what an earlier session wrote of later steps is hidden.
    Without a folder (in the other ones of several processes) and without the package tensorboard
    all calls do nothing.
    TensorBoard names an event file after time and machine: leave it out of what you publish.
    """

    def __init__(self, folder: Path | None, step: int = 0):
        self.writer = None
        if folder is None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self.writer = SummaryWriter(str(folder), purge_step=step + 1)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One value for each curve at a step, for example {"loss": 1.2, "val/miou": 0.4}."""
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """Brings everything to disk. At each checkpoint: earlier steps are not taken again."""
        if self.writer is not None:
            self.writer.flush()

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
