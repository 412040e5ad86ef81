"""The score of one picture, as a line of a file."""

from typing import NamedTuple

from annlib.engine.evaluate import ConfusionMatrix, number_or_none


class PictureScore(NamedTuple):
    """What one picture adds to the result. None: it has no pixel with a label."""

    index: int  # in the data set
    name: str
    pixel_accuracy: float | None
    miou: float | None  # over the classes that it has, or was thought to have
    counts: list[list[int]]  # [label, prediction, pixels], those that are not 0


def score_of(index: int, name: str, matrix: ConfusionMatrix) -> PictureScore:
    scores = matrix.scores()
    pixel_accuracy, miou = map(number_or_none, (scores.pixel_accuracy, scores.miou))
    return PictureScore(index, name, pixel_accuracy, miou, matrix.entries())
