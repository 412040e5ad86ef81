"""python -m benchmarks implementations: AFNB, APNB and attention, all implementations compared."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from benchmarks.common import Machine, Maps, Results, Sizes, check_sizes

if TYPE_CHECKING:
    from annlib.course.timing import Comparison, Conditions


@dataclass(frozen=True)
class Blocks:
    """Measure AFNB and APNB plain, folded and the reference's; attention also as non-local.

    All with the same weights, and checked to agree. The reference takes part if it is installed:
    pip install -e '.[reference]'. On two cores the paper's sizes take some twenty minutes.
    """

    maps: Maps = Maps(sizes=((64, 128), (96, 96)))
    attention_sizes: Sizes = ((96, 96), (256, 128))
    """Of maps at which the attention alone is measured; these are the paper's."""
    machine: Machine = Machine(repeat=5)
    results: Results = Results()

    def run(self) -> None:
        from annlib.course.implementations import compare_attentions, compare_blocks

        channels = self.maps.channels()
        check_sizes("--attention-sizes", self.attention_sizes)
        conditions = self.maps.conditions(self.machine.ready(), self.machine.repeat)
        blocks: list[Comparison] = []
        attentions: list[Comparison] = []
        for found, comparisons in (
            (blocks, compare_blocks(self.maps.sizes, channels, conditions)),
            (attentions, compare_attentions(self.attention_sizes, channels, conditions)),
        ):
            for comparison in comparisons:
                found.append(comparison)
                saved = self.save(blocks, attentions, conditions)
                print(f"{comparison.title}: done", flush=True)
        print(f"\n{saved}")

    def save(
        self, blocks: "list[Comparison]", attentions: "list[Comparison]", conditions: "Conditions"
    ) -> str:
        """Writes down all that is known.  -> both tables, and where they are"""
        from annlib.course import implementations as forms
        from annlib.course.implementations import PLAIN_BLOCK, forms_table, legend, settings

        texts = [
            forms_table("block", blocks, [PLAIN_BLOCK]),
            forms_table("attention", attentions, [forms.NONLOCAL, forms.FUSED]),
            legend(conditions),
        ]
        values = {
            "settings": settings(self.maps.channels(), conditions),
            "blocks": list(map(asdict, blocks)),
            "attention": list(map(asdict, attentions)),
        }
        words = self.maps.words(Blocks.maps)
        if self.attention_sizes != Blocks.attention_sizes:
            words += [f"attention-{h}x{w}" for h, w in self.attention_sizes]
        path = self.results.path(conditions.device, "blocks", *words)
        return self.results.save("\n\n".join(texts), values, path)
