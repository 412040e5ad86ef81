"""How time and memory of attention grow with the feature map, with fitted exponents and a chart."""

from dataclasses import asdict, dataclass

from annlib.course import costs
from annlib.course.costs import NAMES, curves_of, slopes_table
from annlib.course.implementations import comparison_table
from annlib.course.plots.costs import growth_chart
from annlib.course.profiler import Comparison, Conditions
from annlib.model.checkpoint import write_atomically
from benchmarks.common import Machine, Maps, Results, main
from benchmarks.implementations import legend, settings

SIZES = ((32, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256))


@dataclass(frozen=True)
class Scaling:
    """Measure folded APNB and non-local attention on growing maps, and fit their exponents.

    The ordinary block is measured as far as the memory allows. On two cores this takes a quarter
    of an hour.
    """

    maps: Maps = Maps(sizes=SIZES)
    machine: Machine = Machine(repeat=5)
    results: Results = Results()

    def run(self) -> None:
        channels = self.maps.channels()
        conditions = self.maps.conditions(self.machine.ready(), self.machine.repeat)
        comparisons: list[Comparison] = []
        for comparison in costs.growing(self.maps.sizes, channels, conditions):
            comparisons.append(comparison)
            saved = self.save(comparisons, conditions)
            print(f"{comparison.title}: done", flush=True)
        print(f"\n{saved}")

    def save(self, comparisons: list[Comparison], conditions: Conditions) -> str:
        """Writes and draws what is measured so far.  -> the tables and their path"""
        curves = curves_of(comparisons)
        chart = growth_chart(curves)
        path = self.results.path(conditions.device, "growth", *self.maps.words(Scaling.maps))
        write_atomically(path.with_suffix(".png"), chart.png())
        texts = [
            f"![{chart.alt}]({path.with_suffix('.png').name})",
            slopes_table(curves),
            comparison_table("attention", comparisons, NAMES[:2]),
            legend(conditions),
        ]
        lines = [
            {
                name: line._asdict() if line else None
                for name, line in (("time", curve.time), ("memory", curve.memory))
            }
            for curve in curves
        ]
        values = {
            "settings": settings(self.maps.channels(), conditions),
            "curves": [asdict(c) | line for c, line in zip(curves, lines, strict=True)],
            "attention": list(map(asdict, comparisons)),
        }
        return self.results.save("\n\n".join(texts), values, path)


if __name__ == "__main__":
    main("benchmarks.scaling", Scaling, __doc__, "--limit-gib 4")
