"""Hidden checks of assignment A1, third task: the operations of the block, against torch's counter.

H x W the map, N = H W.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from annlib.course.assignments import slips
from annlib.course.assignments.a1_block import draw_weights, reference
from annlib.course.grading.assignment import integer
from annlib.course.grading.questions import Answer, Call, Check, Misconception, as_numbers, compared
from annlib.engine.counting import operation_counter

NAME = "block_operations"
Asked = tuple[int, int, int, int]  # height, width, channels, key_channels


def counted(height: int, width: int, channels: int, keys: int) -> int:
    """What torch counts in the reference block; nothing is computed."""
    weights = draw_weights(torch.Generator(), channels, keys)
    on_meta = {name: value.to("meta") for name, value in weights.items()}
    features = torch.empty(1, channels, height, width, device="meta")
    with operation_counter() as counter, torch.no_grad():
        reference(features, on_meta, None)
    return counter.get_total_flops()


def formula(
    n: int, channels: int, keys: int, projections: int = 4, products: int = 2, per: int = 2
) -> int:
    return per * n * keys * (projections * channels + products * n)


def of_map(made: Callable[[int, int, int], int]) -> Callable[[int, int, int, int], int]:
    return lambda height, width, channels, keys: made(height * width, channels, keys)


MISTAKES = {
    slips.HALF: of_map(lambda n, c, k: formula(n, c, k, per=1)),
    slips.NO_PROJECTIONS: of_map(lambda n, c, k: formula(n, c, k, projections=0)),
    slips.NO_PRODUCTS: of_map(lambda n, c, k: formula(n, c, k, products=0)),
    slips.ONE_PRODUCT: of_map(lambda n, c, k: formula(n, c, k, products=1)),
    slips.THREE_PROJECTIONS: of_map(lambda n, c, k: formula(n, c, k, projections=3)),
    slips.LINEAR: of_map(lambda n, c, k: 2 * n * k * (4 * c + 2)),
    slips.SQUARE_MAP: lambda h, w, c, k: formula(h * h, c, k),
}


def check(name: str, points: float, asked: Sequence[Asked]) -> Check:
    def numbers(made: Callable[[int, int, int, int], int]) -> list[Tensor]:
        return [torch.tensor(made(*one), dtype=torch.float64) for one in asked]

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        others = {slip: numbers(made) for slip, made in MISTAKES.items()}
        return compared(as_numbers(answers), numbers(counted), others, tolerance=1e-9)

    return Check(name, points, [Call(NAME, one) for one in asked], judge)


def draw(generator: Generator) -> list[Check]:
    def sizes(factor: int) -> Asked:
        height, width = integer(generator, 5, 9), integer(generator, 10, 15)
        channels, keys = integer(generator, 20, 60), integer(generator, 4, 15)
        return factor * height, factor * width, channels, keys

    return [
        check("operations of small maps", 2, [sizes(1) for _ in range(3)]),
        check("operations of large maps", 1, [sizes(64) for _ in range(2)]),
    ]
