"""annlib list: the experiments that have a name."""

import json
from dataclasses import asdict, dataclass

TITLES = {"cityscapes": "Cityscapes", "ade20k": "ADE20K", "voc12aug": "Pascal VOC 2012 + Aug"}
COLUMNS = ("name", "Method", "Backbone", "Crop Size", "Lr schd", "Mem (GB)", "fps", "mIoU")
COLUMNS += ("ms+flip",)
LEGEND = """\
Lr schd: iterations. Mem: training, of one of {num_gpus} GPUs. fps: inference, batch 1. mIoU in %.
ms+flip: six scales from 0.5 to 1.75 and their mirror images.
Measured by MMSegmentation on {hardware}.
The names of its release 1.x are understood, too, for example {name_1x}."""


@dataclass(frozen=True)
class ListExperiments:
    """List every experiment that has a name: laptop-sized ones and the 16 published rows."""

    json: bool = False  # All facts about all of them as JSON, for programs.

    def run(self) -> None:
        from annlib.engine.metrics import table
        from annlib.experiments import FULL_SIZE, LAPTOP
        from annlib.published_experiments import ROWS

        if self.json:
            laptop = [asdict(experiment) for experiment in (LAPTOP | FULL_SIZE).values()]
            values = {"laptop": laptop, "published": [row.facts() for row in ROWS]}
            return print(json.dumps(values, indent=2))
        titles = "On a laptop", "The published network and recipe on other data"
        for title, experiments in zip(titles, (LAPTOP, FULL_SIZE), strict=True):
            cells = [
                [each.name, each.data.dataset, each.model.head, str(each.train.iterations)]
                for each in experiments.values()
            ]
            print(f"{title}\n\n{table(['name', 'data', 'head', 'steps'], cells)}\n")
        for dataset, title in TITLES.items():
            cells = []
            for row in (row for row in ROWS if row.experiment.data.dataset == dataset):
                size = "{}x{}".format(*row.experiment.data.crop_size)
                memory = "-" if row.memory_gb is None else f"{row.memory_gb:.1f}"
                fps = "-" if row.frames_per_second is None else f"{row.frames_per_second:.2f}"
                about = [row.name, "ANN", row.backbone, size, str(row.experiment.train.iterations)]
                scores = [f"{row.miou:.2f}", f"{row.miou_multiscale:.2f}"]
                cells.append([*about, memory, fps, *scores])
            print(f"Published: {title}\n\n{table(COLUMNS, cells)}\n")
        print(LEGEND.format(**ROWS[0].facts()))
