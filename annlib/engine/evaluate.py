"""Evaluates a data set image by image: shared among processes, saved, resumable."""

import errno
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from annlib.data.datasets import SegmentationFolder
from annlib.data.loader import leave_interrupts_to_the_parent
from annlib.engine.distributed import is_main, rank, sum_over_ranks, wait_for_all, world_size
from annlib.engine.metrics import ConfusionMatrix, PictureScore, Scores, score_of, worst_pictures
from annlib.engine.predictor import Segmenter, save_prediction
from annlib.engine.profiler import is_out_of_memory
from annlib.engine.results import as_json, differences, provenance, to_json
from annlib.engine.runs import append_line, read_lines, write_lines
from annlib.model.checkpoint import write_atomically


class EvaluationFolder:
    """settings.json, images.jsonl; at the end scores.json, worst.md; colours/, labels/ if wanted.

    Of several processes each has a file of lines; the first one joins them into images.jsonl. All
    of them must see the same folder.
    """

    def __init__(self, path: Path, segmenter: Segmenter, names: Sequence[str], save_pictures: bool):
        self.path = Path(path)
        self.spec = segmenter.spec
        self.names = names
        self.save_pictures = save_pictures
        self.settings = settings_of(segmenter, names) | {"save_pictures": save_pictures}
        self.lines = self.path / "images.jsonl"
        if save_pictures:
            check_names_differ(names)

    def open(self) -> list[PictureScore]:
        """The pictures that are done, by whatever number of processes.

        Raises ValueError for a folder whose evaluation was made by other settings, FileExistsError
        for one that holds something else.
        """
        if is_main():
            self.check_settings()
            self.join()
        wait_for_all()
        done = read_scores(self.lines)
        wait_for_all()  # nobody writes before all have read
        return done

    def check_settings(self) -> None:
        """Writes the settings, or compares them with those that are there."""
        file = self.path / "settings.json"
        if not file.exists():
            refuse_other_things(self.path)
            write_atomically(file, to_json(self.settings))
        try:
            before = json.loads(file.read_bytes())
        except ValueError as error:
            raise ValueError(
                f"{file} is damaged ({error}): nobody knows what was evaluated. Start again in "
                "another folder (--out)."
            ) from error
        if before != self.settings:
            differing = ", ".join(differences(before, self.settings))
            raise ValueError(
                f"The evaluation in {self.path} was made by other settings: {differing}. Scores "
                "would be a mixture of both: use the same settings, or another folder (--out)."
            )

    def join(self) -> list[PictureScore]:
        """The lines of all processes in one file, in the order of the data set."""
        parts = sorted(self.path.glob("images-*.jsonl"))
        found = [score for file in (self.lines, *parts) for score in read_scores(file)]
        scores = sorted({score.index: score for score in found}.values())
        write_lines(self.lines, [score._asdict() for score in scores])
        for part in parts:
            part.unlink(missing_ok=True)
        return scores

    def keep(self, score: PictureScore, prediction: Tensor) -> None:
        """Writes a picture down as done.  prediction: uint8 (H, W) class indices"""
        if self.save_pictures:
            save_prediction(prediction, self.spec, self.path, score.name)
        file = self.lines if is_main() else self.path / f"images-{rank()}.jsonl"
        append_line(file, score._asdict())

    def finish(self, scores: Scores) -> None:
        """Writes the result, once every process has written down its pictures."""
        wait_for_all()
        if not is_main():
            return
        pictures = self.join()
        if len(pictures) != len(self.names):
            raise OSError(
                f"{self.lines} lists {len(pictures)} of {len(self.names)} pictures: do all "
                "machines see the same folder? Choose one on a shared disk (--out)."
            )
        values = scores.as_json(self.spec.class_names) | {"made": provenance()}
        write_atomically(self.path / "scores.json", to_json(values))
        write_atomically(self.path / "worst.md", worst_pictures(pictures, self.spec).encode())


def read_scores(path: Path) -> list[PictureScore]:
    """The lines of a file that one process wrote."""
    try:
        return [PictureScore(**line) for line in read_lines(path)]
    except TypeError as error:
        raise ValueError(
            f"{path} was written by another version of annlib ({error}): go on with that one, or "
            "start again in another folder (--out)."
        ) from error


def settings_of(segmenter: Segmenter, names: Sequence[str]) -> dict[str, Any]:
    """All that a score depends on, as it comes back from a file; the data may move elsewhere."""
    table = segmenter.spec.label_table()
    return as_json(
        {
            "weights_crc32": segmenter.weights_crc32,
            "model": asdict(segmenter.model.config),
            "test": asdict(segmenter.test),
            "precision": segmenter.precision,
            "classes": segmenter.spec.class_names,
            "label_table_crc32": f"{zlib.crc32(table.numpy()):08x}",
            "pictures": len(names),
            "names_crc32": f"{zlib.crc32(json.dumps(names).encode()):08x}",
        }
    )


def refuse_other_things(folder: Path) -> None:
    """Hidden files do not count: a write that was cut off may have left one."""
    if folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise FileExistsError(
            f"{folder} holds other things, but no evaluation. Choose an empty or a new folder "
            "(--out): nothing is overwritten."
        )


def check_names_differ(names: Sequence[str]) -> None:
    """The predictions are named after the pictures: the second would replace the first."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(
            f"Several pictures are named {', '.join(twice[:5])}: their predictions would be the "
            "same files. Give them different names, or leave --save-pictures away."
        )


Sample = tuple[Tensor, Tensor]  # image float32 (3, H, W) normalised, labels int64 (H, W)


class Numbered(Dataset):
    """Some pictures of a data set, each with its number there.

    What went wrong with a picture is handed on, not raised: raised in a worker, its message would
    reach the reader inside a traceback of that worker.
    """

    def __init__(self, dataset: Dataset, indices: Sequence[int]):
        self.dataset = dataset
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> tuple[int, Sample | ValueError | OSError]:
        index = self.indices[place]
        try:
            return index, self.dataset[index]
        except (ValueError, OSError) as error:
            return index, error


class Evaluation:
    """The scoring of a data set, which can stop after any picture and go on as if it had not.

    out: folder that keeps what is done; None keeps nothing. Several processes share the pictures
    out among them; the result is the same whatever their number: counts are summed, not scores.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        dataset: Dataset,
        out: Path | None = None,
        save_pictures: bool = False,
    ):
        self.segmenter = segmenter
        self.dataset = dataset
        self.names = picture_names(dataset)
        self.matrix = ConfusionMatrix(segmenter.spec.num_classes)  # of this process
        self.folder, done = None, []
        if out is not None:
            self.folder = EvaluationFolder(out, segmenter, self.names, save_pictures)
            done = self.folder.open()
        if is_main():
            for score in done:
                self.matrix.add_entries(score.counts)
        self.num_done = len(done)
        left = sorted(set(range(len(dataset))) - {score.index for score in done})
        self.share = left[rank() :: world_size()]

    def steps(self, workers: int = 0) -> Iterator[PictureScore]:
        """Scores this process's share, a picture at a time.

        Raises ValueError or OSError for a picture that cannot be read, or a result that cannot be
        written; what is in the folder by then is kept.
        """
        loader = DataLoader(
            Numbered(self.dataset, self.share),
            batch_size=None,  # pictures differ in size
            num_workers=workers,
            collate_fn=as_it_is,
            worker_init_fn=leave_interrupts_to_the_parent,
            generator=torch.Generator(),  # the loader's own; it would draw from the caller's
        )
        for index, sample in loader:
            if isinstance(sample, Exception):
                raise sample
            yield self.step(index, *sample)

    def step(self, index: int, image: Tensor, labels: Tensor) -> PictureScore:
        """(3, H, W) normalised, (H, W)"""
        prediction = self.predict(index, image)
        matrix = ConfusionMatrix(self.matrix.num_classes)
        matrix.update(prediction, labels.to(prediction.device))
        score = score_of(index, self.names[index], matrix)
        if self.folder is not None:
            self.folder.keep(score, prediction.cpu())
        self.matrix += matrix
        self.num_done += 1
        return score

    def predict(self, index: int, image: Tensor) -> Tensor:
        """(3, H, W) normalised -> uint8 (H, W) classes. Raises OSError when memory runs out."""
        try:
            return self.segmenter.label(image[None])[0]
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            height, width = image.shape[1:]
            raise OSError(
                errno.ENOMEM,
                f"There is not enough memory to segment {self.names[index]}, {height} x {width} "
                f"pixels, in the mode {self.segmenter.test.mode!r} at the scales "
                f"{self.segmenter.test.scales}: the network's feature maps fill it, which grow "
                "with the pixels that it sees at once. What needs less: --precision bf16, smaller "
                "--scales, or windows (--mode slide --window 513 513 --stride 342 342); each "
                "changes the scores a little.",
            ) from error

    def finish(self) -> Scores:
        """Scores of the whole data set, from all processes; writes them into the folder.

        Raises ValueError when there was nothing to compare with.
        """
        device = next(self.segmenter.model.parameters()).device
        total = ConfusionMatrix(self.matrix.num_classes)
        total.counts = sum_over_ranks(self.matrix.counts.to(device)).cpu()
        if not total.counts.any():
            raise ValueError(
                f"None of the {len(self.names)} pictures has a pixel with a label, so there is "
                "nothing to score. The published labels of a test half are empty: those are "
                "scored by the benchmark's server, from the pictures that --save-pictures writes."
            )
        scores = total.scores()
        if self.folder is not None:
            self.folder.finish(scores)
        return scores


def picture_names(dataset: Dataset) -> list[str]:
    """Of its pictures' files, without the ending; scenes that are painted have numbers."""
    if isinstance(dataset, SegmentationFolder):
        return [path.stem for path in dataset.images]
    return [f"scene-{index}" for index in range(len(dataset))]


def as_it_is(sample: tuple[int, Sample]) -> tuple[int, Sample]:
    """The loader has nothing to put together."""
    return sample
