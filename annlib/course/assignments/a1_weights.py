"""Hidden checks of assignment A1, first task: attention weights with keys to be ignored.

B batch, C channels, N positions that ask, S that answer.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from annlib.course.assignments import slips
from annlib.course.grading.assignment import integer, normal
from annlib.course.grading.questions import Answer, Call, Check, Misconception, compared

Inputs = tuple[Tensor, Tensor, Tensor | None]
NAME = "attention_weights"


def reference(query: Tensor, key: Tensor, valid: Tensor | None, scale: float = 0) -> Tensor:
    """(B, C, N), (B, C, S), bool (B, S) or None -> (B, N, S); scale: 1/√C unless given"""
    scores = (scale or query.shape[1] ** -0.5) * (query.double().mT @ key.double())
    if valid is not None:
        scores = scores.masked_fill(~valid[:, None], -torch.inf)
    return scores.softmax(-1).nan_to_num(0).to(query.dtype)


def scores_of(query: Tensor, key: Tensor) -> Tensor:
    return query.shape[1] ** -0.5 * (query.mT @ key)


def zero_scores(query: Tensor, key: Tensor, valid: Tensor) -> Tensor:
    return (scores_of(query, key) * valid[:, None]).softmax(-1)


def cut_afterwards(query: Tensor, key: Tensor, valid: Tensor) -> Tensor:
    return reference(query, key, None) * valid[:, None]


def root_of_size(query: Tensor, key: Tensor, valid: Tensor | None) -> Tensor:
    return reference(query, key, valid, query.shape[2] ** -0.5)


def over_askers(query: Tensor, key: Tensor, valid: Tensor | None) -> Tensor:
    scores = scores_of(query, key)
    if valid is not None:
        scores = scores.masked_fill(~valid[:, None], -torch.inf)
    return scores.softmax(1).nan_to_num(0)


PLAIN = {
    slips.NO_SCALE: lambda q, k, v: reference(q, k, v, 1.0),
    slips.SCALE_C: lambda q, k, v: reference(q, k, v, 1 / q.shape[1]),
    slips.SCALE_N: root_of_size,
    slips.SCALE_S: lambda q, k, v: reference(q, k, v, k.shape[2] ** -0.5),
    slips.SCALE_TIMES: lambda q, k, v: reference(q, k, v, q.shape[1] ** 0.5),
    slips.SOFTMAX_N: over_askers,
    slips.NO_SOFTMAX: lambda q, k, v: scores_of(q, k),
    slips.TRANSPOSED: lambda q, k, v: reference(k, q, None),
}
MASKED = {
    slips.MASK_IGNORED: lambda q, k, v: reference(q, k, None),
    slips.MASK_AFTER: cut_afterwards,
    slips.MASK_ZERO_SCORE: zero_scores,
    slips.MASK_INVERTED: lambda q, k, v: reference(q, k, ~v),
}
EMPTY = {
    slips.EMPTY_NAN: lambda q, k, v: reference(q, k, v).where(v.any(1)[:, None, None], torch.nan),
    slips.EMPTY_UNIFORM: lambda q, k, v: reference(q, k, v).where(
        v.any(1)[:, None, None], 1 / k.shape[2]
    ),
}
Slips = dict[Misconception, Callable[[Tensor, Tensor, Tensor | None], Tensor]]


def check(
    name: str, points: float, asked: Sequence[Inputs], mistakes: Slips, tolerance: float = 1e-4
) -> Check:
    """Weights of these inputs, against the reference and the mistakes."""
    calls = [Call(NAME, tuple(value for value in inputs if value is not None)) for inputs in asked]

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        others = {slip: [made(*inputs) for inputs in asked] for slip, made in mistakes.items()}
        right = [reference(*inputs) for inputs in asked]
        return compared(answers, right, others, tolerance)

    return Check(name, points, calls, judge)


def pair(generator: Generator, num_asking: int, num_answering: int) -> tuple[Tensor, Tensor]:
    channels = integer(generator, 10, 20)
    return (
        normal(generator, 3, channels, num_asking),
        normal(generator, 3, channels, num_answering),
    )


def some_valid(generator: Generator, num_answering: int) -> Tensor:
    """(3, S): each picture has keys to look at, and some to ignore."""
    order = torch.rand(3, num_answering, generator=generator).argsort(1)
    return order < torch.tensor([[1], [2], [num_answering - 1]])


def whole_numbers(generator: Generator, num_asking: int, num_answering: int) -> Inputs:
    """Half precision, large scores that it holds exactly, so that only the softmax rounds."""
    query, key = (
        torch.randint(-6, 7, (3, 16, size), generator=generator).half()
        for size in (num_asking, num_answering)
    )
    return query, key, some_valid(generator, num_answering)


def draw(generator: Generator) -> list[Check]:
    asking, answering = integer(generator, 6, 9), integer(generator, 3, 5)
    plain = [(*pair(generator, asking, answering), None), (*pair(generator, 5, 12), None)]
    masked = [
        (*pair(generator, asking, size), some_valid(generator, size)) for size in (answering, 11)
    ]
    nobody = [(q, k, v & torch.tensor([[True], [False], [True]])) for q, k, v in masked]
    half = [whole_numbers(generator, asking, answering)]
    return [
        check("weights without a mask", 2, plain, PLAIN),
        check("ignored keys", 2, masked, MASKED | PLAIN),
        check("a picture without valid keys", 1, nobody, EMPTY | MASKED | PLAIN),
        # Large scores look alike at every scale, so mistakes in it are not told apart here.
        check("half precision, large scores", 1, half, MASKED, tolerance=2e-3),
    ]
