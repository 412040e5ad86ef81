"""Hidden checks of assignment A1, second task: the non-local block with pixels to be ignored.

B batch, C channels, H x W the map.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Generator, Tensor
from torch.nn.functional import conv2d

from annlib.course.assignments import a1_weights, slips
from annlib.course.assignments.a1_weights import reference as weights_of
from annlib.course.assignments.learning import check_gradients
from annlib.course.grading.assignment import integer, normal
from annlib.course.grading.questions import (
    OTHER,
    Answer,
    Call,
    Check,
    Misconception,
    close,
    compared,
    failed,
)

NAME = "NonlocalBlock"
Weights = Mapping[str, Tensor]
Share = Callable[[Tensor, Tensor, Tensor | None], Tensor]
Block = Callable[[Tensor, Weights, Tensor | None], Tensor]
SHARED = (slips.NO_SCALE, slips.SCALE_C, slips.SCALE_N, slips.SOFTMAX_N, slips.NO_SOFTMAX)


class Inputs:
    """Sizes, weights, a map, and which of its pixels may answer."""

    def __init__(self, generator: Generator, batch: int, size: tuple[int, int], masked: bool):
        self.sizes = (integer(generator, 5, 8), integer(generator, 2, 4))
        self.weights = draw_weights(generator, *self.sizes)
        self.features = normal(generator, batch, self.sizes[0], *size)
        shares = torch.rand(batch, *size, generator=generator)
        self.valid = shares > shares.flatten(1).median(1).values[:, None, None] if masked else None

    def call(self) -> Call:
        given = (self.features,) if self.valid is None else (self.features, self.valid)
        return Call(NAME, given, self.sizes, self.weights)


def draw_weights(generator: Generator, channels: int, keys: int) -> dict[str, Tensor]:
    """Of the four convolutions, by the names that the assignment gives them."""
    shapes = {name: (keys, channels) for name in ("to_query", "to_key", "to_value")}
    shapes["to_output"] = (channels, keys)
    weights = {f"{n}.weight": normal(generator, *shape, 1, 1) for n, shape in shapes.items()}
    return weights | {f"{n}.bias": normal(generator, shape[0]) for n, shape in shapes.items()}


def project(features: Tensor, weights: Weights, name: str) -> Tensor:
    return conv2d(features, weights[f"{name}.weight"], weights[f"{name}.bias"])


PARTS = ("to_query", "to_key", "to_value")


def context(
    features: Tensor,
    weights: Weights,
    valid: Tensor | None,
    parts: tuple[str, ...] = PARTS,
    share: Share = weights_of,
) -> Tensor:
    """What attention brings, (B, keys, H, W); parts and shares may be those of a mistake."""
    query, key, value = (project(features, weights, name).flatten(2) for name in parts)
    flat = None if valid is None else valid.flatten(1)
    return (share(query, key, flat) @ value.mT).mT.unflatten(2, features.shape[2:])


def reference(features: Tensor, weights: Weights, valid: Tensor | None) -> Tensor:
    return features + project(context(features, weights, valid), weights, "to_output")


def no_residual(features: Tensor, weights: Weights, valid: Tensor | None) -> Tensor:
    return project(context(features, weights, valid), weights, "to_output")


def mixed_positions(features: Tensor, weights: Weights, valid: Tensor | None) -> Tensor:
    rows = context(features, weights, valid).flatten(2).mT.contiguous()  # (B, N, keys)
    mixed = rows.reshape(rows.shape[0], rows.shape[2], *features.shape[2:])
    return features + project(mixed, weights, "to_output")


def masked_askers(features: Tensor, weights: Weights, valid: Tensor | None) -> Tensor:
    brought = context(features, weights, None)
    brought = brought if valid is None else brought * valid[:, None]
    return features + project(brought, weights, "to_output")


def with_parts(*parts: str) -> Block:
    return lambda x, w, v: x + project(context(x, w, v, parts), w, "to_output")


def with_shares(share: Share) -> Block:
    return lambda x, w, v: x + project(context(x, w, v, PARTS, share), w, "to_output")


PLAIN = {
    slips.NO_RESIDUAL: no_residual,
    slips.POSITIONS_MIXED: mixed_positions,
    slips.QUERY_AS_KEY: with_parts("to_query", "to_query", "to_value"),
    slips.SWAPPED: with_parts("to_key", "to_query", "to_value"),
    slips.KEYS_AS_VALUES: with_parts("to_query", "to_key", "to_key"),
} | {slip: with_shares(share) for slip, share in a1_weights.PLAIN.items() if slip in SHARED}
MASKED = {slips.MASK_QUERIES: masked_askers} | {
    slip: with_shares(share) for slip, share in a1_weights.MASKED.items()
}


KNOWN_BLOCKS = (reference, *PLAIN.values())


def check_values(
    name: str, points: float, asked: Sequence[Inputs], mistakes: Mapping[Misconception, Block]
) -> Check:
    """Outputs of blocks with given weights, against the reference and the mistakes."""

    def made_by(block: Block) -> list[Tensor]:
        return [block(one.features, one.weights, one.valid) for one in asked]

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        others = {slip: made_by(block) for slip, block in mistakes.items()}
        return compared(answers, made_by(reference), others, tolerance=1e-3)

    return Check(name, points, [one.call() for one in asked], judge)


def check_start(asked: Inputs) -> Check:
    """A fresh block changes nothing; with weights it attends, or a trick would earn points."""
    calls = [Call(NAME, (asked.features,), asked.sizes), asked.call()]

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        if found := failed(answers):
            return found
        fresh, trained = answers
        if close(trained.output, asked.features):
            return slips.DOES_NOTHING
        found = compared([fresh], [asked.features], {})
        if found:
            return slips.NOT_ZERO_START if found is OTHER else found
        made = [block(asked.features, asked.weights, asked.valid) for block in KNOWN_BLOCKS]
        known = any(close(trained.output, one, 1e-3) for one in made)
        return None if known else slips.NO_ATTENTION

    return Check("starts as the identity", 1, calls, judge)


def draw(generator: Generator) -> list[Check]:
    def sides() -> tuple[int, int]:
        return integer(generator, 3, 5), integer(generator, 6, 8)

    plain = [Inputs(generator, 2, sides(), masked=False) for _ in range(2)]
    masked = [Inputs(generator, 2, sides(), masked=True) for _ in range(2)]
    odd = [Inputs(generator, 1, size, masked=False) for size in ((1, 1), (7, 1), (1, 5))]
    learning = Inputs(generator, 2, sides(), masked=False)
    upstream = normal(generator, *learning.features.shape)
    return [
        check_start(plain[0]),
        check_values("values", 2, plain, PLAIN),
        check_values("ignored pixels", 1, masked, MASKED | PLAIN),
        check_values("any size, batch of one", 1, odd, PLAIN),
        check_gradients(
            1,
            learning.call()._replace(upstream=upstream),
            lambda given, weights: reference(*given, weights, None),
        ),
    ]
