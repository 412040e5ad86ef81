"""A data set, scored picture by picture: shared out among processes, kept, and gone on with."""

import errno
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from annlib.data.datasets import SegmentationFolder
from annlib.data.loading import leave_interrupts_to_the_parent
from annlib.engine.distributed import is_main, rank, sum_over_ranks, world_size
from annlib.engine.evaluate import ConfusionMatrix, Scores
from annlib.engine.evaluation_folder import EvaluationFolder
from annlib.engine.memory import is_out_of_memory
from annlib.engine.predict import Segmenter
from annlib.engine.scored import PictureScore, score_of

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
