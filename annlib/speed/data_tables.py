"""The race of data pipelines, and the workers that trainings need, for people and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from annlib.engine.benchmark import Timing
from annlib.engine.tables import percent, table
from annlib.speed.contest_tables import spread
from annlib.speed.data_race import ALL, AUGMENTATION
from annlib.speed.feeding import MARGIN, Need

OURS, REFERENCE = "ours", "reference"

STAGES_LEGEND = """Milliseconds a picture on one core: medians (least to most) of {rounds} rounds,
taken in turn, each the mean over {pictures} pictures. Ours: Pillow, NumPy, PyTorch, and a look at
every label for values that mean nothing. The reference: OpenCV, NumPy; it normalises and pads on
the device that trains, so its workers are spared that stage."""
NEEDS_LEGEND = """One worker prepares {rate:.1f} images a second, from files to batches in memory
that processes share. Workers: those of one GPU, for {margin:.0%} more than it takes. Waits: share
of its time that a training at this speed waited for the next batch, measured with as many workers
as there are cores for."""


@dataclass(frozen=True)
class DataReport:
    """Of one run: timings by contestant and stage, and needs."""

    timings: Mapping[str, Mapping[str, Timing]]
    pictures: int
    rounds: int
    one_worker: float  # images a second
    needs: Sequence[Need]

    def text(self) -> str:
        rate = self.one_worker
        return "\n\n".join(
            [
                stage_table(self.timings),
                STAGES_LEGEND.format(rounds=self.rounds, pictures=self.pictures),
                *([need_table(self.needs)] if self.needs else []),
                NEEDS_LEGEND.format(rate=rate, margin=MARGIN - 1),
            ]
        )

    def values(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "rounds": self.rounds,
            "pictures": self.pictures,
            "milliseconds": {
                name: {stage: asdict(timing) for stage, timing in stages.items()}
                for name, stages in self.timings.items()
            },
            "images_per_second_of_one_worker": self.one_worker,
            "needs": [asdict(need) for need in self.needs],
        }


def stage_table(timings: Mapping[str, Mapping[str, Timing]]) -> str:
    """A line a stage, then images a second; beside the reference how many times faster ours is."""
    rows = [
        [stage, *(spread(stages[stage]) for stages in timings.values()), *gain(timings, stage)]
        for stage in timings[OURS]
    ]
    for title, stage in (("images/s, augmentation", AUGMENTATION), ("images/s", ALL)):
        rates = [f"{1000 / stages[stage].median:.1f}" for stages in timings.values()]
        rows.append([title, *rates, *gain(timings, stage)])
    header = ["stage", *timings] + ["times faster"] * (REFERENCE in timings)
    return table(header, rows)


def gain(timings: Mapping[str, Mapping[str, Timing]], stage: str) -> list[str]:
    """How many times faster ours is, in a cell, where there is a reference."""
    if REFERENCE not in timings:
        return []
    return [f"{timings[REFERENCE][stage].median / timings[OURS][stage].median:.2f}"]


def need_table(needs: Sequence[Need]) -> str:
    rows = [
        [
            need.who,
            f"{need.images_per_second:.2f}",
            str(need.workers),
            f"{percent(need.waiting)} % with {need.tried}",
        ]
        for need in needs
    ]
    return table(["a training on", "images/s", "workers", "waits"], rows)
