"""annlib benchmark train: a step of training, the reference's and ours."""

from dataclasses import dataclass

from annlib.commands.errors import at_least_one
from annlib.commands.measuring import Machine, Results
from annlib.commands.rivals import Rivals

LOOKS = 3  # losses that are compared; each depends on all weights after the step before


@dataclass(frozen=True)
class Train:
    """Race the reference: a step of training by the same recipe, on the same batch, over and over.

    Forward, loss, backward, SGD; without the loading of data, and with dropout off, so that losses
    can be compared. Without the reference (pip install -e '.[reference]') ours race alone.
    """

    rivals: Rivals = Rivals()
    machine: Machine = Machine()
    results: Results = Results()
    crop: tuple[int, int] = (256, 256)
    """Height and width of the pictures."""
    batch: int = 2
    """Pictures in a batch."""

    def run(self) -> None:
        from functools import partial

        from annlib.speed.works import training

        row, device = self.rivals.published(), self.machine.ready()
        at_least_one("--crop", min(self.crop))
        at_least_one("--batch", self.batch)
        works = {
            each.name: partial(training, each, row, self.crop, self.batch, device)
            for each in self.rivals.field("folded", device)
        }
        entries = self.rivals.race(works, device, self.machine.repeat, LOOKS)
        batch = f"{self.batch}x{self.crop[0]}x{self.crop[1]}"
        title = f"A step of training on {batch.replace('x', ' x ')} (its result: the loss)"
        report = self.rivals.report({title: entries}, device, self.machine.repeat)
        path = self.results.path(device, "train", *self.rivals.words(), batch)
        self.results.keep(report.text(), report.values(), path)
