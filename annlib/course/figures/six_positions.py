"""The weights among a few positions whose features were made by hand."""

from collections.abc import Sequence

from torch import Tensor

from annlib.course.charts import weight_matrix
from annlib.course.matching import entropy
from annlib.course.plots import Picture


def weights_among(query: Tensor, key: Tensor, factor: float = 1.0) -> Tensor:
    """(C, N), (C, S) -> (N, S): row n is how position n divides its attention.

    factor: what all scores are multiplied by, on top of the block's 1/√C.
    """
    return (factor * query.shape[0] ** -0.5 * query.mT @ key).softmax(dim=-1)


def six_positions(query: Tensor, key: Tensor, names: Sequence[str], factor: float) -> Picture:
    """The matrix of weights with its numbers, one row for each that asks.  (C, N), (C, N)"""
    weights = weights_among(query, key, factor)
    title = "Six positions" if factor == 1 else f"Six positions, scores x {factor:g}"
    return weight_matrix(weights.numpy(), title, names, names)


def say_position(query: Tensor, key: Tensor, names: Sequence[str], factor: float, at: int) -> str:
    """What one of the positions gives, how widely, and what it gets, in words."""
    weights = weights_among(query, key, factor)
    bits, row = float(entropy(weights[at])), weights[at]
    return (
        f"{names[at]} looks most at {names[int(row.argmax())]} ({row.max():.2f}); entropy "
        f"{bits:.2f} bits, as if it looked evenly at {2**bits:.1f} of {len(row)}. "
        f"All six together give it {weights[:, at].sum():.2f}."
    )
