"""annlib list: the experiments that have a name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ListExperiments:
    """List every experiment that has a name: laptop-sized ones and the 16 published rows."""

    def run(self) -> None:
        from annlib.engine.tables import table
        from annlib.experiments import LAPTOP
        from annlib.zoo import ROWS

        rows = [
            [e.name, e.data.dataset, e.model.head, str(e.train.iterations)] for e in LAPTOP.values()
        ]
        print("On a laptop\n")
        print(table(["name", "data", "head", "steps"], rows))
        rows = [
            [
                row.experiment.name,
                f"{row.miou:.2f}",
                f"{row.miou_multiscale:.2f}",
                or_dash(row.memory_gb),
                or_dash(row.frames_per_second),
            ]
            for row in ROWS
        ]
        print("\nPublished by MMSegmentation (mIoU in %, training memory and speed of one V100)\n")
        print(table(["name", "mIoU", "ms+flip", "memory GB", "frames/s"], rows))


def or_dash(number: float | None) -> str:
    return "-" if number is None else f"{number:g}"
