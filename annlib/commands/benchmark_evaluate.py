"""annlib benchmark evaluate: the scoring of a picture, the reference's and ours."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from annlib.commands.measuring import Machine, Results
from annlib.commands.rivals import Rivals

if TYPE_CHECKING:
    import torch

    from annlib.speed.contest import Entry
    from annlib.zoo import Published


@dataclass(frozen=True)
class Evaluate:
    """Race the reference: the scoring of one picture as the row is tested, whole and in parts.

    The parts: what follows the network, from logits to counts of pixels; and the counting alone,
    beside a bare bincount. Without the reference (pip install -e '.[reference]') ours race alone.
    """

    rivals: Rivals = Rivals()
    machine: Machine = Machine()
    results: Results = Results()
    network: bool = True
    """Measure the scoring with its network, too: minutes on a CPU."""
    shrink: int = 1
    """Divide all sides of pictures and windows by this."""

    def run(self) -> None:
        from annlib.engine.shrinking import picture_size, shrunk

        row, device = self.rivals.published(), self.machine.ready()
        shrunk(row.experiment, self.shrink)  # tells at once if that is no picture
        height, width = picture_size(row.experiment, self.shrink)
        contests = {
            f"{what}, {height} x {width}": entries
            for what, entries in self.contests(row, device).items()
        }
        report = self.rivals.report(contests, device, self.machine.repeat)
        words = ["parts"] * (not self.network) + [f"shrink{self.shrink}"] * (self.shrink > 1)
        path = self.results.path(device, "evaluate", *self.rivals.words(), *words)
        self.results.keep(report.text(), report.values(), path)

    def contests(self, row: "Published", device: "torch.device") -> "dict[str, list[Entry]]":
        from functools import partial

        from annlib.speed.evaluating import counting, evaluation, post_processing
        from annlib.speed.reference import installed

        field = self.rivals.field("frozen", device)
        here = (row, self.shrink, device)
        others = ("reference",) if installed() else ()
        parts = {
            "From logits to counts": {
                way: partial(post_processing, way, *here)
                for way in (*others, "whole map", "piece by piece")
            },
            "Counting": {
                way: partial(counting, way, *here) for way in ("bincount", *others, "ours")
            },
        }
        whole = {
            "Picture to counts": {each.name: partial(evaluation, each, *here) for each in field}
        }
        return {
            what: self.rivals.race(works, device, self.machine.repeat)
            for what, works in ((whole if self.network else {}) | parts).items()
        }
