"""annlib list: the experiments that have a name."""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from annlib.config import Experiment
    from annlib.zoo import Published


TITLES = {"cityscapes": "Cityscapes", "ade20k": "ADE20K", "voc12aug": "Pascal VOC 2012 + Aug"}
COLUMNS = (
    "name",
    "Method",
    "Backbone",
    "Crop Size",
    "Lr schd",
    "Mem (GB)",
    "fps",
    "mIoU",
    "ms+flip",
)
LEGEND = """\
Lr schd: iterations. Mem: training, of one of {num_gpus} GPUs. fps: inference, batch 1. mIoU in %.
ms+flip: six scales from 0.5 to 1.75 and their mirror images.
Measured by MMSegmentation on {hardware}.
The names of its release 1.x are understood, too, for example {name_1x}."""


@dataclass(frozen=True)
class ListExperiments:
    """List every experiment that has a name: laptop-sized ones and the 16 published rows."""

    json: bool = False
    """All facts of all of them as JSON, for programs."""

    def run(self) -> None:
        print(as_json() if self.json else as_tables())


def as_json() -> str:
    from annlib.experiments import FULL_SIZE, LAPTOP
    from annlib.zoo import ROWS

    laptop = [asdict(experiment) for experiment in (LAPTOP | FULL_SIZE).values()]
    return json.dumps({"laptop": laptop, "published": [row.facts() for row in ROWS]}, indent=2)


def as_tables() -> str:
    from annlib.engine.metrics import table
    from annlib.experiments import FULL_SIZE, LAPTOP
    from annlib.zoo import ROWS

    parts = ["On a laptop", plain_table(LAPTOP.values())]
    parts += ["The published network and recipe on other data", plain_table(FULL_SIZE.values())]
    for dataset, title in TITLES.items():
        rows = [cells(row) for row in ROWS if row.experiment.data.dataset == dataset]
        parts += [f"Published: {title}", table(COLUMNS, rows)]
    return "\n\n".join([*parts, LEGEND.format(**ROWS[0].facts())])


def plain_table(experiments: "Iterable[Experiment]") -> str:
    from annlib.engine.metrics import table

    rows = [[e.name, e.data.dataset, e.model.head, str(e.train.iterations)] for e in experiments]
    return table(["name", "data", "head", "steps"], rows)


def cells(row: "Published") -> list[str]:
    """One line of the published table, with its name first."""
    height, width = row.experiment.data.crop_size
    return [
        row.name,
        "ANN",
        row.backbone,
        f"{height}x{width}",
        str(row.experiment.train.iterations),
        or_dash(row.memory_gb, 1),
        or_dash(row.frames_per_second, 2),
        f"{row.miou:.2f}",
        f"{row.miou_multiscale:.2f}",
    ]


def or_dash(number: float | None, digits: int) -> str:
    return "-" if number is None else f"{number:.{digits}f}"
