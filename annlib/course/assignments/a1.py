"""Assignment A1, after lesson 03: the non-local block and its cost; its hidden checks.

B batch, C channels, N positions that ask, S that answer.

B batch, C channels, H x W the map.

H x W the map, N = H W.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Generator, Tensor
from torch.nn.functional import conv2d

from annlib.course.assignments import misconceptions
from annlib.course.assignments.base import (
    OTHER,
    Answer,
    Assignment,
    Call,
    Check,
    Misconception,
    OpenQuestion,
    as_numbers,
    close,
    compared,
    failed,
    integer,
    normal,
    task,
)
from annlib.course.assignments.misconceptions import check_gradients
from annlib.engine.profiler import operation_counter

WeightsInputs = tuple[Tensor, Tensor, Tensor | None]
WEIGHTS_TASK = "attention_weights"


def reference_weights(query: Tensor, key: Tensor, valid: Tensor | None, scale: float = 0) -> Tensor:
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
    return reference_weights(query, key, None) * valid[:, None]


def root_of_size(query: Tensor, key: Tensor, valid: Tensor | None) -> Tensor:
    return reference_weights(query, key, valid, query.shape[2] ** -0.5)


def over_askers(query: Tensor, key: Tensor, valid: Tensor | None) -> Tensor:
    scores = scores_of(query, key)
    if valid is not None:
        scores = scores.masked_fill(~valid[:, None], -torch.inf)
    return scores.softmax(1).nan_to_num(0)


PLAIN_WEIGHTS = {
    misconceptions.NO_SCALE: lambda q, k, v: reference_weights(q, k, v, 1.0),
    misconceptions.SCALE_C: lambda q, k, v: reference_weights(q, k, v, 1 / q.shape[1]),
    misconceptions.SCALE_N: root_of_size,
    misconceptions.SCALE_S: lambda q, k, v: reference_weights(q, k, v, k.shape[2] ** -0.5),
    misconceptions.SCALE_TIMES: lambda q, k, v: reference_weights(q, k, v, q.shape[1] ** 0.5),
    misconceptions.SOFTMAX_N: over_askers,
    misconceptions.NO_SOFTMAX: lambda q, k, v: scores_of(q, k),
    misconceptions.TRANSPOSED: lambda q, k, v: reference_weights(k, q, None),
}
MASKED_WEIGHTS = {
    misconceptions.MASK_IGNORED: lambda q, k, v: reference_weights(q, k, None),
    misconceptions.MASK_AFTER: cut_afterwards,
    misconceptions.MASK_ZERO_SCORE: zero_scores,
    misconceptions.MASK_INVERTED: lambda q, k, v: reference_weights(q, k, ~v),
}
EMPTY = {
    misconceptions.EMPTY_NAN: lambda q, k, v: reference_weights(q, k, v).where(
        v.any(1)[:, None, None], torch.nan
    ),
    misconceptions.EMPTY_UNIFORM: lambda q, k, v: reference_weights(q, k, v).where(
        v.any(1)[:, None, None], 1 / k.shape[2]
    ),
}
Slips = dict[Misconception, Callable[[Tensor, Tensor, Tensor | None], Tensor]]


def check_weights(
    name: str,
    points: float,
    asked: Sequence[WeightsInputs],
    mistakes: Slips,
    tolerance: float = 1e-4,
) -> Check:
    """Weights of these inputs, against the reference and the mistakes."""
    calls = [
        Call(WEIGHTS_TASK, tuple(value for value in inputs if value is not None))
        for inputs in asked
    ]

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        others = {slip: [made(*inputs) for inputs in asked] for slip, made in mistakes.items()}
        right = [reference_weights(*inputs) for inputs in asked]
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


def whole_numbers(generator: Generator, num_asking: int, num_answering: int) -> WeightsInputs:
    """Half precision, large scores that it holds exactly, so that only the softmax rounds."""
    query, key = (
        torch.randint(-6, 7, (3, 16, size), generator=generator).half()
        for size in (num_asking, num_answering)
    )
    return query, key, some_valid(generator, num_answering)


def draw_weights_task(generator: Generator) -> list[Check]:
    asking, answering = integer(generator, 6, 9), integer(generator, 3, 5)
    plain = [(*pair(generator, asking, answering), None), (*pair(generator, 5, 12), None)]
    masked = [
        (*pair(generator, asking, size), some_valid(generator, size)) for size in (answering, 11)
    ]
    nobody = [(q, k, v & torch.tensor([[True], [False], [True]])) for q, k, v in masked]
    half = [whole_numbers(generator, asking, answering)]
    return [
        check_weights("weights without a mask", 2, plain, PLAIN_WEIGHTS),
        check_weights("ignored keys", 2, masked, MASKED_WEIGHTS | PLAIN_WEIGHTS),
        check_weights(
            "a picture without valid keys", 1, nobody, EMPTY | MASKED_WEIGHTS | PLAIN_WEIGHTS
        ),
        # Large scores look alike at every scale, so mistakes in it are not told apart here.
        check_weights("half precision, large scores", 1, half, MASKED_WEIGHTS, tolerance=2e-3),
    ]


BLOCK_TASK = "NonlocalBlock"
Weights = Mapping[str, Tensor]
Share = Callable[[Tensor, Tensor, Tensor | None], Tensor]
Block = Callable[[Tensor, Weights, Tensor | None], Tensor]
SHARED = (
    misconceptions.NO_SCALE,
    misconceptions.SCALE_C,
    misconceptions.SCALE_N,
    misconceptions.SOFTMAX_N,
    misconceptions.NO_SOFTMAX,
)


class BlockInputs:
    """Sizes, weights, a map, and which of its pixels may answer."""

    def __init__(self, generator: Generator, batch: int, size: tuple[int, int], masked: bool):
        self.sizes = (integer(generator, 5, 8), integer(generator, 2, 4))
        self.weights = draw_weights(generator, *self.sizes)
        self.features = normal(generator, batch, self.sizes[0], *size)
        shares = torch.rand(batch, *size, generator=generator)
        self.valid = shares > shares.flatten(1).median(1).values[:, None, None] if masked else None

    def call(self) -> Call:
        given = (self.features,) if self.valid is None else (self.features, self.valid)
        return Call(BLOCK_TASK, given, self.sizes, self.weights)


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
    share: Share = reference_weights,
) -> Tensor:
    """What attention brings, (B, keys, H, W); parts and shares may be those of a mistake."""
    query, key, value = (project(features, weights, name).flatten(2) for name in parts)
    flat = None if valid is None else valid.flatten(1)
    return (share(query, key, flat) @ value.mT).mT.unflatten(2, features.shape[2:])


def reference_block(features: Tensor, weights: Weights, valid: Tensor | None) -> Tensor:
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


PLAIN_BLOCK = {
    misconceptions.NO_RESIDUAL: no_residual,
    misconceptions.POSITIONS_MIXED: mixed_positions,
    misconceptions.QUERY_AS_KEY: with_parts("to_query", "to_query", "to_value"),
    misconceptions.SWAPPED: with_parts("to_key", "to_query", "to_value"),
    misconceptions.KEYS_AS_VALUES: with_parts("to_query", "to_key", "to_key"),
} | {slip: with_shares(share) for slip, share in PLAIN_WEIGHTS.items() if slip in SHARED}
MASKED_BLOCK = {misconceptions.MASK_QUERIES: masked_askers} | {
    slip: with_shares(share) for slip, share in MASKED_WEIGHTS.items()
}


KNOWN_BLOCKS = (reference_block, *PLAIN_BLOCK.values())


def check_values(
    name: str, points: float, asked: Sequence[BlockInputs], mistakes: Mapping[Misconception, Block]
) -> Check:
    """Outputs of blocks with given weights, against the reference and the mistakes."""

    def made_by(block: Block) -> list[Tensor]:
        return [block(one.features, one.weights, one.valid) for one in asked]

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        others = {slip: made_by(block) for slip, block in mistakes.items()}
        return compared(answers, made_by(reference_block), others, tolerance=1e-3)

    return Check(name, points, [one.call() for one in asked], judge)


def check_start(asked: BlockInputs) -> Check:
    """A fresh block changes nothing; with weights it attends, or a trick would earn points."""
    calls = [Call(BLOCK_TASK, (asked.features,), asked.sizes), asked.call()]

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        if found := failed(answers):
            return found
        fresh, trained = answers
        if close(trained.output, asked.features):
            return misconceptions.DOES_NOTHING
        found = compared([fresh], [asked.features], {})
        if found:
            return misconceptions.NOT_ZERO_START if found is OTHER else found
        made = [block(asked.features, asked.weights, asked.valid) for block in KNOWN_BLOCKS]
        known = any(close(trained.output, one, 1e-3) for one in made)
        return None if known else misconceptions.NO_ATTENTION

    return Check("starts as the identity", 1, calls, judge)


def draw_block_task(generator: Generator) -> list[Check]:
    def sides() -> tuple[int, int]:
        return integer(generator, 3, 5), integer(generator, 6, 8)

    plain = [BlockInputs(generator, 2, sides(), masked=False) for _ in range(2)]
    masked = [BlockInputs(generator, 2, sides(), masked=True) for _ in range(2)]
    odd = [BlockInputs(generator, 1, size, masked=False) for size in ((1, 1), (7, 1), (1, 5))]
    learning = BlockInputs(generator, 2, sides(), masked=False)
    upstream = normal(generator, *learning.features.shape)
    return [
        check_start(plain[0]),
        check_values("values", 2, plain, PLAIN_BLOCK),
        check_values("ignored pixels", 1, masked, MASKED_BLOCK | PLAIN_BLOCK),
        check_values("any size, batch of one", 1, odd, PLAIN_BLOCK),
        check_gradients(
            1,
            learning.call()._replace(upstream=upstream),
            lambda given, weights: reference_block(*given, weights, None),
        ),
    ]


COST_TASK = "block_operations"
Asked = tuple[int, int, int, int]  # height, width, channels, key_channels


def counted(height: int, width: int, channels: int, keys: int) -> int:
    """What torch counts in the reference block; nothing is computed."""
    weights = draw_weights(torch.Generator(), channels, keys)
    on_meta = {name: value.to("meta") for name, value in weights.items()}
    features = torch.empty(1, channels, height, width, device="meta")
    with operation_counter() as counter, torch.no_grad():
        reference_block(features, on_meta, None)
    return counter.get_total_flops()


def formula(
    n: int, channels: int, keys: int, projections: int = 4, products: int = 2, per: int = 2
) -> int:
    return per * n * keys * (projections * channels + products * n)


def of_map(made: Callable[[int, int, int], int]) -> Callable[[int, int, int, int], int]:
    return lambda height, width, channels, keys: made(height * width, channels, keys)


MISTAKES = {
    misconceptions.HALF: of_map(lambda n, c, k: formula(n, c, k, per=1)),
    misconceptions.NO_PROJECTIONS: of_map(lambda n, c, k: formula(n, c, k, projections=0)),
    misconceptions.NO_PRODUCTS: of_map(lambda n, c, k: formula(n, c, k, products=0)),
    misconceptions.ONE_PRODUCT: of_map(lambda n, c, k: formula(n, c, k, products=1)),
    misconceptions.THREE_PROJECTIONS: of_map(lambda n, c, k: formula(n, c, k, projections=3)),
    misconceptions.LINEAR: of_map(lambda n, c, k: 2 * n * k * (4 * c + 2)),
    misconceptions.SQUARE_MAP: lambda h, w, c, k: formula(h * h, c, k),
}


def check_cost(name: str, points: float, asked: Sequence[Asked]) -> Check:
    def numbers(made: Callable[[int, int, int, int], int]) -> list[Tensor]:
        return [torch.tensor(made(*one), dtype=torch.float64) for one in asked]

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        others = {slip: numbers(made) for slip, made in MISTAKES.items()}
        return compared(as_numbers(answers), numbers(counted), others, tolerance=1e-9)

    return Check(name, points, [Call(COST_TASK, one) for one in asked], judge)


def draw_cost_task(generator: Generator) -> list[Check]:
    def sizes(factor: int) -> Asked:
        height, width = integer(generator, 5, 9), integer(generator, 10, 15)
        channels, keys = integer(generator, 20, 60), integer(generator, 4, 15)
        return factor * height, factor * width, channels, keys

    return [
        check_cost("operations of small maps", 2, [sizes(1) for _ in range(3)]),
        check_cost("operations of large maps", 1, [sizes(64) for _ in range(2)]),
    ]


A1 = Assignment(
    name="A1",
    title="The non-local block and its cost",
    prelude=(
        "import math\nimport time\nfrom math import sqrt\n\nimport torch\n"
        "import torch.nn.functional as F\nfrom torch import Tensor, nn\n"
    ),
    public=("not_yet", "a1_checks"),
    tasks=(
        task(WEIGHTS_TASK, "Weights, and keys to be ignored", draw_weights_task),
        task(BLOCK_TASK, "The block", draw_block_task),
        task(COST_TASK, "What it costs", draw_cost_task),
    ),
    questions=(
        OpenQuestion(
            "measured-ratio",
            "Why the measured ratio differs",
            {
                "Both ratios stand there, with size, machine and number of repetitions": 1,
                "The spread of the measured times is given, and looked at": 1,
                "A reason is named that the formula leaves out": 2,
                "A second measurement would show it wrong if it were wrong": 1,
            },
        ),
    ),
)
