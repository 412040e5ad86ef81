"""Evaluates a data set image by image: shared among processes, saved, resumable."""

import json
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from annlib.data.datasets import SegmentationFolder, checksum_of_pair
from annlib.data.loader import Loader, leave_interrupts_to_the_parent, worker_errors
from annlib.engine.distributed import is_main, rank, sum_over_ranks, wait_for_all, world_size
from annlib.engine.metrics import ConfusionMatrix, ImageScore, Scores, score_of, worst_images
from annlib.engine.predictor import Segmenter, memory_advice, save_prediction
from annlib.engine.results import provenance, same_settings, to_json
from annlib.engine.runs import append_line, parse, read_lines, write_lines
from annlib.model.checkpoint import write_atomically


class Evaluation:
    """Scores a data set; it can stop after any image and resume as if it had not stopped.

    Images whose files or lines were changed since they were scored are scored again.

    out: a folder with settings.json, images.jsonl, at the end scores.json and worst.md, and with
    `save_pictures` the predictions in colours/ and labels/; None keeps nothing. Several processes
    share the images and must see the same folder; counts are summed, so the result is the same.
    Raises ValueError for a folder of other settings, FileExistsError for one with other things.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        dataset: Dataset,
        out: Path | None = None,
        save_pictures: bool = False,
    ):
        self.segmenter, self.dataset, self.save_pictures = segmenter, dataset, save_pictures
        is_folder = isinstance(dataset, SegmentationFolder)  # rendered scenes have numbers
        images = dataset.images if is_folder else ()
        self.names = [p.stem for p in images] or [f"scene-{i}" for i in range(len(dataset))]
        self.out = None if out is None else Path(out)
        self.matrix = ConfusionMatrix(segmenter.spec.num_classes)  # of this process
        done = []
        if self.out is not None:
            twice = [name for name, count in Counter(self.names).items() if count > 1]
            if save_pictures and twice:
                said = f"Several images are named {', '.join(twice[:5])}: predictions would be the "
                raise ValueError(f"{said}same files. Rename them, or omit --save-pictures.")
            if is_main():
                self.check_settings()
                self.join()
            wait_for_all()
            done = read_scores(self.out / "images.jsonl")
            done = [one for one in done if one.files == checksum_of_pair(dataset, one.index)]
            wait_for_all()  # no process writes before all have read
        for score in done if is_main() else []:
            self.matrix.add_entries(score.counts)
        self.num_done = len(done)
        left = sorted(set(range(len(dataset))) - {score.index for score in done})
        self.share = left[rank() :: world_size()]

    def check_settings(self) -> None:
        """Writes all that a score depends on, or compares it. The data may move elsewhere."""
        one = self.segmenter
        settings = {
            "weights_crc32": one.weights_crc32,
            "model": asdict(one.model.config),
            "test": asdict(one.test),
            "precision": one.precision,
            "classes": one.spec.class_names,
            "label_table_crc32": f"{zlib.crc32(one.spec.label_table().numpy()):08x}",
            "pictures": len(self.names),
            "names_crc32": f"{zlib.crc32(json.dumps(self.names).encode()):08x}",
            "save_pictures": self.save_pictures,
        }
        file = self.out / "settings.json"
        if not file.exists():
            # A write that was cut off may have left a hidden file.
            if self.out.exists() and any(p.name[0] != "." for p in self.out.iterdir()):
                said = f"{self.out} holds other things, but no evaluation. Choose an empty or a "
                raise FileExistsError(f"{said}new folder (--out): nothing is overwritten.")
            write_atomically(file, to_json(settings))
        if (before := parse(file.read_bytes())) is None:
            what = f"{file} is damaged or was changed, so the settings are unknown"
            raise ValueError(f"{what}. Start again in another folder (--out).")
        same_settings(before, settings, f"The evaluation in {self.out} was", "Scores")

    def join(self) -> list[ImageScore]:
        """The lines of all processes in one file, in the order of the data set."""
        lines = self.out / "images.jsonl"
        parts = sorted(self.out.glob("images-*.jsonl"))
        found = [score for file in (lines, *parts) for score in read_scores(file)]
        scores = sorted({score.index: score for score in found}.values())
        write_lines(lines, map(line_of, scores))
        for part in parts:
            part.unlink(missing_ok=True)
        return scores

    def steps(self, workers: int = 0) -> Iterator[ImageScore]:
        """Scores this process's share, one image at a time.

        Raises ValueError or OSError for an image that cannot be read, or a result that cannot be
        written; what is in the folder by then is kept.
        """
        # Images differ in size: no batches. Its own generator: it would draw from the caller's.
        options = {"batch_size": None, "num_workers": workers, "generator": torch.Generator()}
        options["worker_init_fn"] = leave_interrupts_to_the_parent
        samples = iter(Loader(Subset(self.dataset, self.share), **options))
        for index in self.share:
            try:
                with worker_errors():
                    image, labels = next(samples)
            except (ValueError, OSError):
                self.dataset[index]  # the same error, without the traceback of a worker around it
                raise
            yield self.step(index, image, labels)

    def step(self, index: int, image: Tensor, labels: Tensor) -> ImageScore:
        """(3, H, W) normalised, (H, W). Raises OSError when the memory does not suffice."""
        with memory_advice(self.names[index], image.shape[1:], self.segmenter.test):
            prediction = self.segmenter.label(image[None])[0]
        matrix = ConfusionMatrix(self.matrix.num_classes)
        matrix.update(prediction, labels.to(prediction.device))
        score = score_of(index, self.names[index], matrix)
        score = score._replace(files=checksum_of_pair(self.dataset, index))
        if self.out is not None:
            if self.save_pictures:
                save_prediction(prediction.cpu(), self.segmenter.spec, self.out, score.name)
            file = "images.jsonl" if is_main() else f"images-{rank()}.jsonl"
            append_line(self.out / file, line_of(score))
        self.matrix.counts += matrix.counts
        self.num_done += 1
        return score

    def finish(self) -> Scores:
        """Scores of the whole data set, from all processes; writes them into the folder.

        Raises ValueError when there was nothing to compare with.
        """
        device = next(self.segmenter.model.parameters()).device
        total = ConfusionMatrix(self.matrix.num_classes)
        total.counts = sum_over_ranks(self.matrix.counts.to(device)).cpu()
        if not total.counts.any():
            raise ValueError(
                f"None of the {len(self.names)} images has a pixel with a label, so there is "
                "nothing to score. The published labels of a test split are empty: those are "
                "scored by the benchmark's server, from the files that --save-pictures writes."
            )
        scores = total.scores()
        if self.out is None:
            return scores
        wait_for_all()  # until every process has written its lines
        if is_main():
            images = self.join()
            if len(images) != len(self.names):
                said = f"{self.out} lists {len(images)} of {len(self.names)} images: do all see "
                raise OSError(f"{said}the same folder? Choose one on a shared disk (--out).")
            values = scores.as_json(self.segmenter.spec.class_names) | {"made": provenance()}
            write_atomically(self.out / "scores.json", to_json(values))
            page = worst_images(images, self.segmenter.spec)
            write_atomically(self.out / "worst.md", page.encode())
        return scores


def line_of(score: ImageScore) -> dict[str, Any]:
    """What is kept of a score, with a checksum: a line that was changed is not taken for one."""
    values = score._asdict()
    text = json.dumps(values, sort_keys=True)
    return values | {"crc32": f"{zlib.crc32(text.encode()):08x}"}


def read_scores(path: Path) -> list[ImageScore]:
    """The lines of a file that one process wrote, without those that were changed since."""
    told = read_lines(path)
    scores = [ImageScore(*map(line.get, ImageScore._fields)) for line in told]
    return [score for score, line in zip(scores, told, strict=True) if line == line_of(score)]
