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

    json: bool = False
    """All facts about all of them as JSON, for programs."""

    def run(self) -> None:
        from annlib.engine.metrics import table
        from annlib.experiments import FULL_SIZE, LAPTOP
        from annlib.zoo import ROWS

        if self.json:
            laptop = [asdict(experiment) for experiment in (LAPTOP | FULL_SIZE).values()]
            values = {"laptop": laptop, "published": [row.facts() for row in ROWS]}
            return print(json.dumps(values, indent=2))
        for title, experiments in (
            ("On a laptop", LAPTOP),
            ("The published network and recipe on other data", FULL_SIZE),
        ):
            cells = [
                [each.name, each.data.dataset, each.model.head, str(each.train.iterations)]
                for each in experiments.values()
            ]
            print(f"{title}\n\n{table(['name', 'data', 'head', 'steps'], cells)}\n")
        for dataset, title in TITLES.items():
            cells = []
            for row in ROWS:
                if row.experiment.data.dataset == dataset:
                    memory, fps = row.memory_gb, row.frames_per_second
                    cells.append(
                        [
                            row.name,
                            "ANN",
                            row.backbone,
                            "{}x{}".format(*row.experiment.data.crop_size),
                            str(row.experiment.train.iterations),
                            "-" if memory is None else f"{memory:.1f}",
                            "-" if fps is None else f"{fps:.2f}",
                            f"{row.miou:.2f}",
                            f"{row.miou_multiscale:.2f}",
                        ]
                    )
            print(f"Published: {title}\n\n{table(COLUMNS, cells)}\n")
        print(LEGEND.format(**ROWS[0].facts()))
