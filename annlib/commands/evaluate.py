"""annlib evaluate: a checkpoint's scores on labelled pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from annlib.commands.devices import Device, choose_device, use_threads


@dataclass(frozen=True)
class Evaluate:
    """Score a checkpoint: IoU and accuracy of every class, their means, pixel accuracy."""

    checkpoint: Positional[Path]
    """A .safetensors file that `annlib train` wrote."""
    data: Path | None = None
    """Folder with train/ and val/, or with images/ and labels/. Balloon Town needs none."""
    split: Literal["train", "val"] = "val"
    """Which half of the data, if they are in halves."""
    device: Device = "auto"
    """auto takes a GPU if there is one."""
    threads: int | None = None
    """CPU threads of one operation."""

    def run(self) -> None:
        from tqdm import tqdm

        from annlib.data.loading import make_loader
        from annlib.data.sources import labelled
        from annlib.engine.evaluate import evaluate
        from annlib.engine.predict import segmenter
        from annlib.engine.tables import score_table
        from annlib.model.checkpoints import load

        use_threads(self.threads)
        predict, spec = segmenter(load(self.checkpoint), choose_device(self.device))
        dataset = labelled(spec, self.data, self.split)
        batches = tqdm(make_loader(dataset, 1, training=False), unit="picture")
        scores = evaluate(predict, batches, spec.num_classes).scores()
        print(score_table(scores, spec.class_names))
