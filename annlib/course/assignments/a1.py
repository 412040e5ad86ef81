"""Assignment A1, after lesson 03: the non-local block and its cost; its hidden checks.

B batch, C channels, N query positions, S key positions, H x W the map: there N = S = H W.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.nn.functional import conv2d

from annlib.course.profiler import operation_counter
from annlib.grader import hidden_checks
from annlib.grader import judge as grading
from annlib.grader.hidden_checks import Answer, Call, Check, close, integer, normal, values
from annlib.grader.judge import Files

FOLDER = Path(__file__).parent
MISCONCEPTIONS = tomllib.loads((FOLDER / "misconceptions.toml").read_text("utf-8"))
QUESTIONS = tomllib.loads((FOLDER / "questions.toml").read_text("utf-8"))
WEIGHTS, BLOCK, COST = "attention_weights", "NonlocalBlock", "block_operations"
Weights = Mapping[str, Tensor]
FLATTEN = partial(torch.flatten, start_dim=2)  # (B, C, H, W) -> (B, C, N)


def attention_weights(
    query: Tensor, key: Tensor, valid: Tensor | None = None, scale: float = 0
) -> Tensor:
    """(B, C, N), (B, C, S), bool (B, S) or None -> (B, N, S); scale: 1/√C unless given"""
    scores = (scale or query.shape[1] ** -0.5) * (query.double().mT @ key.double())
    if valid is not None:
        scores = scores.masked_fill(~valid[:, None], -torch.inf)
    return scores.softmax(-1).nan_to_num(0).to(query.dtype)


def scores_of(query: Tensor, key: Tensor) -> Tensor:
    return query.shape[1] ** -0.5 * (query.mT @ key)


def over_queries(query: Tensor, key: Tensor, valid: Tensor | None = None) -> Tensor:
    kept = torch.ones(1, dtype=torch.bool) if valid is None else valid[:, None]
    return scores_of(query, key).masked_fill(~kept, -torch.inf).softmax(1).nan_to_num(0)


def without_keys(q: Tensor, k: Tensor, v: Tensor, instead: float) -> Tensor:
    return attention_weights(q, k, v).where(v.any(1)[:, None, None], instead)


PLAIN_WEIGHTS = {
    "scale missing": lambda q, k, v=None: attention_weights(q, k, v, 1.0),
    "scale C": lambda q, k, v=None: attention_weights(q, k, v, 1 / q.shape[1]),
    "scale √N": lambda q, k, v=None: attention_weights(q, k, v, q.shape[2] ** -0.5),
    "scale √S": lambda q, k, v=None: attention_weights(q, k, v, k.shape[2] ** -0.5),
    "scale upside down": lambda q, k, v=None: attention_weights(q, k, v, q.shape[1] ** 0.5),
    "softmax over the queries": over_queries,
    "softmax missing": lambda q, k, v=None: scores_of(q, k),
    "transposed": lambda q, k, v=None: attention_weights(k, q),
}
MASKED_WEIGHTS = {
    "mask ignored": lambda q, k, v: attention_weights(q, k),
    "masked after the softmax": lambda q, k, v: attention_weights(q, k) * v[:, None],
    "masked by a zero score": lambda q, k, v: (scores_of(q, k) * v[:, None]).softmax(-1),
    "mask inverted": lambda q, k, v: attention_weights(q, k, ~v),
}
EMPTY = {
    "nan without valid keys": partial(without_keys, instead=torch.nan),
    "uniform without valid keys": lambda q, k, v: without_keys(q, k, v, 1 / k.shape[2]),
}


def draw_weights_task(generator: Generator, _: Files) -> list[Check]:
    def pair(queries: int, keys: int) -> tuple[Tensor, Tensor]:
        channels = integer(generator, 10, 20)
        return normal(generator, 3, channels, queries), normal(generator, 3, channels, keys)

    def valid(keys: int) -> Tensor:  # (3, S): each image has keys to attend to, and some to ignore
        order = torch.rand(3, keys, generator=generator).argsort(1)
        return order < torch.tensor([[1], [2], [keys - 1]])

    def weights_check(name: str, points: float, asked: list, mistakes: dict, tolerance=1e-4):
        calls = [Call(WEIGHTS, inputs) for inputs in asked]
        return values(name, points, calls, attention_weights, mistakes, tolerance)

    queries, keys = integer(generator, 6, 9), integer(generator, 3, 5)
    plain = [pair(queries, keys), pair(5, 12)]
    masked = [(*pair(queries, size), valid(size)) for size in (keys, 11)]
    empty = [(q, k, v & torch.tensor([[True], [False], [True]])) for q, k, v in masked]
    # Large scores that half precision holds exactly, so that only the softmax rounds.
    whole = [
        torch.randint(-6, 7, (3, 16, size), generator=generator).half() for size in (queries, keys)
    ]
    masked_or_plain = MASKED_WEIGHTS | PLAIN_WEIGHTS
    return [
        weights_check("weights without a mask", 2, plain, PLAIN_WEIGHTS),
        weights_check("ignored keys", 2, masked, masked_or_plain),
        weights_check("an image without valid keys", 1, empty, EMPTY | masked_or_plain),
        # Large scores look the same at every scale, so mistakes in it are not distinguished here.
        weights_check(
            "half precision, large scores", 1, [(*whole, valid(keys))], MASKED_WEIGHTS, 2e-3
        ),
    ]


def convolutions(generator: Generator, **shapes: tuple[int, int]) -> dict[str, Tensor]:
    """Weights and biases of 1 x 1 convolutions.  shapes: name -> channels out, in"""
    weights = {f"{n}.weight": normal(generator, *shape, 1, 1) for n, shape in shapes.items()}
    return weights | {f"{n}.bias": normal(generator, shape[0]) for n, shape in shapes.items()}


def block_weights(generator: Generator, channels: int, keys: int) -> dict[str, Tensor]:
    inner = dict.fromkeys(("to_query", "to_key", "to_value"), (keys, channels))
    return convolutions(generator, **inner, to_output=(channels, keys))


def project(features: Tensor, weights: Weights, name: str) -> Tensor:
    return conv2d(features, weights[f"{name}.weight"], weights[f"{name}.bias"])


def context(
    weights: Weights,
    maps: Sequence[Tensor],
    valid: Tensor | None = None,
    parts: Sequence[str] = ("to_query", "to_key", "to_value"),
    attention: Callable[..., Tensor] = attention_weights,
    sampling: Callable[[Tensor], Tensor] = FLATTEN,
) -> Tensor:
    """The weighted sums, (B, keys, H, W).  maps: of queries, keys, values; defaults: no mistake"""
    query, key, value = (project(m, weights, p) for m, p in zip(maps, parts, strict=True))
    flat = None if valid is None else valid.flatten(1)
    found = attention(query.flatten(2), sampling(key), flat) @ sampling(value).mT
    return found.mT.unflatten(2, query.shape[2:])


def mixed(found: Tensor) -> Tensor:
    """A context whose rows, (B, N, keys), are taken for a map."""
    return found.flatten(2).mT.reshape(found.shape)


def block(weights: Weights, sizes: tuple, x: Tensor, valid=None, after=None, **mistake) -> Tensor:
    """after: a mistake that changes the context"""
    found = context(weights, (x, x, x), valid, **mistake)
    return x + project(after(found) if after else found, weights, "to_output")


PLAIN_BLOCK = {
    "input not added": lambda w, s, x, v=None: block(w, s, x, v) - x,
    "positions mixed up": partial(block, after=mixed),
    "queries serve as keys": partial(block, parts=("to_query", "to_query", "to_value")),
    "query and key exchanged": partial(block, parts=("to_key", "to_query", "to_value")),
    "keys serve as values": partial(block, parts=("to_query", "to_key", "to_key")),
} | {slip: partial(block, attention=made) for slip, made in PLAIN_WEIGHTS.items()}
MASKED_BLOCK = {
    "mask on the queries": lambda w, s, x, v=None: block(
        w, s, x, after=lambda c: c if v is None else c * v[:, None]
    )
} | {slip: partial(block, attention=made) for slip, made in MASKED_WEIGHTS.items()}


def check_start(call: Call) -> Check:
    """A fresh block changes nothing; with weights it attends, or a trick would earn points."""
    (features,) = call.arguments

    def judge(answers: list[Answer]) -> str:
        if found := hidden_checks.failed(answers):
            return found
        fresh, trained = answers
        if close(trained.output, features):
            return "returns its input only"
        if found := hidden_checks.compared([fresh], lambda: [features], {}):
            return "does not start as the identity" if found == hidden_checks.OTHER else found
        known = any(close(trained.output, call.by(b), 1e-3) for b in (block, *PLAIN_BLOCK.values()))
        return "" if known else "no attention"

    return Check("starts as the identity", 1, [call._replace(weights=None), call], judge)


def draw_block_task(generator: Generator, _: Files) -> list[Check]:
    def call(batch: int, size: tuple[int, int] | None = None, masked: bool = False) -> Call:
        height, width = size or (integer(generator, 3, 5), integer(generator, 6, 8))
        sizes = (integer(generator, 5, 8), integer(generator, 2, 4))
        weights = block_weights(generator, *sizes)
        given = [normal(generator, batch, sizes[0], height, width)]
        if masked:
            random = torch.rand(batch, height, width, generator=generator)
            given.append(random > random.flatten(1).median(1).values[:, None, None])
        return Call(BLOCK, tuple(given), sizes, weights)

    plain, masked = [call(2), call(2)], [call(2, masked=True), call(2, masked=True)]
    odd = [call(1, size) for size in ((1, 1), (7, 1), (1, 5))]
    learning = call(2)
    learning = learning._replace(upstream=normal(generator, *learning.arguments[0].shape))
    both = MASKED_BLOCK | PLAIN_BLOCK
    without, ignored, *_ = draw_weights_task(generator, {})

    def block_check(name: str, points: float, calls: list[Call]) -> Check:
        earlier, slips = (without, PLAIN_BLOCK) if calls is not masked else (ignored, both)
        make = partial(values, name, points, calls, mistakes=slips, tolerance=1e-3)
        return hidden_checks.followed_up(lambda right: make(reference=right), block, earlier, slips)

    return [
        check_start(plain[0]),
        block_check("values", 2, plain),
        block_check("ignored pixels", 1, masked),
        block_check("any size, batch of one", 1, odd),
        hidden_checks.followed_up(
            partial(hidden_checks.gradients, 1, learning), block, without, PLAIN_BLOCK
        ),
    ]


def counted(reference: Callable, weights: Weights, sizes: tuple, *shapes: tuple) -> int:
    """What torch counts in a reference block for maps of these shapes; nothing is computed."""
    on_meta = {name: value.to("meta") for name, value in weights.items()}
    maps = [torch.empty(1, *shape, device="meta") for shape in shapes]
    with operation_counter() as counter, torch.no_grad():
        reference(on_meta, sizes, *maps)
    return counter.get_total_flops()


def reference_cost(height: int, width: int, channels: int, keys: int) -> int:
    weights = block_weights(Generator(), channels, keys)
    return counted(block, weights, (), (channels, height, width))


def cost(h: int, w: int, c: int, k: int, projections=4, products=2, per=2) -> int:
    n = h * w
    return per * n * k * (projections * c + products * n)


COST_MISTAKES = {
    "multiply-adds": partial(cost, per=1),
    "projections forgotten": partial(cost, projections=0),
    "products forgotten": partial(cost, products=0),
    "one product": partial(cost, products=1),
    "three projections": partial(cost, projections=3),
    "grows with N only": lambda h, w, c, k: 2 * h * w * k * (4 * c + 2),
    "height for width": lambda h, w, c, k: cost(h, h, c, k),
}


def draw_cost_task(generator: Generator, _: Files) -> list[Check]:
    def call(factor: int) -> Call:
        height, width = integer(generator, 5, 9), integer(generator, 10, 15)
        channels, keys = integer(generator, 20, 60), integer(generator, 4, 15)
        return Call(COST, (factor * height, factor * width, channels, keys))

    small = ("operations of small maps", 2, [call(1) for _ in range(3)])
    large = ("operations of large maps", 1, [call(64) for _ in range(2)])
    return [values(*one, reference_cost, COST_MISTAKES, 1e-9, True) for one in (small, large)]


def questions_of(assignment: str) -> tuple[grading.OpenQuestion, ...]:
    """The questions that a person grades, with their rubrics."""
    return tuple(grading.OpenQuestion(name, **one) for name, one in QUESTIONS[assignment].items())


A1 = grading.Assignment(
    name="A1",
    title="The non-local block and its cost",
    folder=FOLDER,
    prelude=(
        "import math\nimport time\nfrom math import sqrt\n\nimport torch\n"
        "import torch.nn.functional as F\nfrom torch import Tensor, nn\n"
    ),
    public=("not_yet", "a1_checks"),
    tasks=(
        grading.Task(WEIGHTS, "Weights, and keys to be ignored", draw_weights_task, WEIGHTS),
        grading.Task(BLOCK, "The block", draw_block_task, "nonlocal_block"),
        grading.Task(COST, "What it costs", draw_cost_task, COST),
    ),
    questions=questions_of("A1"),
    misconceptions=MISCONCEPTIONS,
)
