"""AFNB, APNB and attention in all implementations: time, memory, FLOPs, agreement."""

from dataclasses import asdict, dataclass
from typing import Any

import torch

from annlib.course.implementations import (
    FUSED,
    NONLOCAL,
    PLAIN_BLOCK,
    Channels,
    attention_implementations,
    compare_blocks,
    comparison_table,
)
from annlib.course.profiler import Comparison, Conditions, compare
from annlib.engine.results import device_name
from benchmarks import mmseg_reference
from benchmarks.common import Machine, Maps, Results, Sizes, check_sizes, main

LEGEND = """On {device} with {threads} CPU threads, float32, channels {layout}. Times are medians
(fastest to slowest) of {repeat} calls each, interleaved. MiB: the peak memory of tensors, beyond
the inputs and the weights; a CPU's libraries take some more. It includes the output, which every
implementation has to write: "times its output" compares with that. GFLOPs: 10^9 operations, two for
a multiply-add, by torch's counter and by a closed formula. Difference: the largest from the first
implementation of the same function, in the output and, in training, in the gradients of inputs and
weights, relative to the largest number in the same map or layer."""


def settings(channels: Channels, conditions: Conditions) -> dict[str, Any]:
    """All that the numbers depend on, besides the versions of the libraries."""
    return {
        "device": device_name(conditions.device),
        "threads": torch.get_num_threads(),
        "precision": "fp32",
        "repeat": conditions.repeat,
        "channels_last": conditions.channels_last,
        "channels": asdict(channels),
    }


def legend(conditions: Conditions) -> str:
    return LEGEND.format(
        repeat=conditions.repeat,
        layout="last" if conditions.channels_last else "first",
        device=device_name(conditions.device),
        threads=torch.get_num_threads(),
    )


@dataclass(frozen=True)
class Implementations:
    """Measure AFNB and APNB plain, folded and the reference's; attention also as non-local.

    All with the same weights, and checked to agree. The reference is included if it is installed:
    pip install -e '.[reference]'. On two cores the paper's sizes take about twenty minutes.
    """

    maps: Maps = Maps(sizes=((64, 128), (96, 96)))
    attention_sizes: Sizes = ((96, 96), (256, 128))
    """Of maps on which only the attention is measured; the defaults are the paper's."""
    machine: Machine = Machine(repeat=5)
    results: Results = Results()

    def run(self) -> None:
        channels = self.maps.channels()
        check_sizes("--attention-sizes", self.attention_sizes)
        conditions = self.maps.conditions(self.machine.ready(), self.machine.repeat)
        reference = mmseg_reference if mmseg_reference.installed() else None
        blocks: list[Comparison] = []
        attentions: list[Comparison] = []
        attention = (
            compare(
                f"{size[0]} x {size[1]}",
                size,
                attention_implementations(channels, size, conditions, reference),
                conditions,
            )
            for size in self.attention_sizes
        )
        for found, comparisons in (
            (blocks, compare_blocks(self.maps.sizes, channels, conditions, reference)),
            (attentions, attention),
        ):
            for comparison in comparisons:
                found.append(comparison)
                saved = self.save(blocks, attentions, conditions)
                print(f"{comparison.title}: done", flush=True)
        print(f"\n{saved}")

    def save(
        self, blocks: list[Comparison], attentions: list[Comparison], conditions: Conditions
    ) -> str:
        """Writes what is measured so far.  -> both tables and their path"""
        texts = [
            comparison_table("block", blocks, [PLAIN_BLOCK]),
            comparison_table("attention", attentions, [NONLOCAL, FUSED]),
            legend(conditions),
        ]
        values = {
            "settings": settings(self.maps.channels(), conditions),
            "blocks": list(map(asdict, blocks)),
            "attention": list(map(asdict, attentions)),
        }
        words = self.maps.words(Implementations.maps)
        if self.attention_sizes != Implementations.attention_sizes:
            words += [f"attention-{h}x{w}" for h, w in self.attention_sizes]
        path = self.results.path(conditions.device, "blocks", *words)
        return self.results.save("\n\n".join(texts), values, path)


if __name__ == "__main__":
    main("benchmarks.implementations", Implementations, __doc__, "--divide 16 --sizes 16 32")
