"""python -m benchmarks scaling: how time and memory of attention grow with the feature map."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from benchmarks.common import Machine, Maps, Results

if TYPE_CHECKING:
    from annlib.course.timing import Comparison, Conditions


SIZES = ((32, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256))


@dataclass(frozen=True)
class Growth:
    """Measure folded APNB and non-local attention on ever larger maps, and fit their exponents.

    The ordinary block is measured as far as the memory goes. On two cores this takes a quarter of
    an hour.
    """

    maps: Maps = Maps(sizes=SIZES)
    machine: Machine = Machine(repeat=5)
    results: Results = Results()

    def run(self) -> None:
        import annlib.course.plots.costs  # noqa: F401  first: it needs matplotlib
        from annlib.course.scaling import growing

        channels = self.maps.channels()
        conditions = self.maps.conditions(self.machine.ready(), self.machine.repeat)
        comparisons: list[Comparison] = []
        for comparison in growing(self.maps.sizes, channels, conditions):
            comparisons.append(comparison)
            saved = self.save(comparisons, conditions)
            print(f"{comparison.title}: done", flush=True)
        print(f"\n{saved}")

    def save(self, comparisons: "list[Comparison]", conditions: "Conditions") -> str:
        """Writes down and draws all that is known.  -> the tables, and where they are"""
        from annlib.course.implementations import forms_table, legend, settings
        from annlib.course.plots.costs import growth_chart
        from annlib.course.scaling import NAMES, curves_of, slopes_table
        from annlib.model.checkpoint import write_atomically

        curves = curves_of(comparisons)
        picture = growth_chart(curves)
        path = self.results.path(conditions.device, "growth", *self.maps.words(Growth.maps))
        drawn = path.with_suffix(".png")
        write_atomically(drawn, picture.png())
        texts = [
            f"![{picture.alt}]({drawn.name})",
            slopes_table(curves),
            forms_table("attention", comparisons, NAMES[:2]),
            legend(conditions),
        ]
        values = {
            "settings": settings(self.maps.channels(), conditions),
            "curves": [curve.as_json() for curve in curves],
            "attention": list(map(asdict, comparisons)),
        }
        return self.results.save("\n\n".join(texts), values, path)
