"""annlib benchmark model: one picture through the whole network, the reference's and ours."""

from dataclasses import dataclass

from annlib.commands.errors import at_least_one
from annlib.commands.measuring import Machine, Results
from annlib.commands.rivals import Rivals


@dataclass(frozen=True)
class Model:
    """Race the reference: one picture, from its pixels to logits of its size.

    Without the reference (pip install -e '.[reference]') ours are compared with each other.
    """

    rivals: Rivals = Rivals()
    machine: Machine = Machine()
    results: Results = Results()
    size: tuple[int, int] | None = None
    """Height and width of the picture; the row's crop if not given."""

    def run(self) -> None:
        from functools import partial

        from annlib.speed.works import inference

        row, device = self.rivals.published(), self.machine.ready()
        size = self.size or row.experiment.data.crop_size
        at_least_one("--size", min(size))
        field = self.rivals.field("frozen", device)
        works = {each.name: partial(inference, each, row, size, device) for each in field}
        entries = self.rivals.race(works, device, self.machine.repeat)
        contests = {f"One picture of {size[0]} x {size[1]} to logits of its size": entries}
        report = self.rivals.report(contests, device, self.machine.repeat)
        path = self.results.path(device, "model", *self.rivals.words(), f"{size[0]}x{size[1]}")
        self.results.keep(report.text(), report.values(), path)
