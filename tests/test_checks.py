"""Every checker takes right answers, however written, and says what is wrong with others."""

from collections.abc import Callable
from math import sqrt

import pytest
import torch
from torch import Tensor, nn

from annlib.course import checks
from annlib.course.attention import Attention
from annlib.course.checks import NotYet
from annlib.course.matching import query_on
from annlib.data.scenes import Scene, make_scene

# Attention weights


def by_matmul(query: Tensor, key: Tensor) -> Tensor:
    return (query.mT @ key / sqrt(query.shape[1])).softmax(-1)


def by_einsum(query: Tensor, key: Tensor) -> Tensor:
    scores = torch.einsum("bcn,bcs->bns", query * query.shape[1] ** -0.5, key)
    shares = (scores - scores.amax(-1, keepdim=True)).exp()
    return shares / shares.sum(-1, keepdim=True)


@pytest.mark.parametrize("right", [by_matmul, by_einsum])
def test_right_weights_pass(right: Callable, capsys) -> None:
    for _ in range(5):
        checks.attention_weights(right)
    assert "rows sum to 1" in capsys.readouterr().out


def unnormalised_exp(query: Tensor, key: Tensor) -> Tensor:
    shares = (query.mT @ key / sqrt(query.shape[1])).exp()
    return shares / shares.sum(-1, keepdim=True)


def of_another_picture(query: Tensor, key: Tensor) -> Tensor:
    return by_matmul(query, key.flip(0))


def distances(query: Tensor, key: Tensor) -> Tensor:
    return (-torch.cdist(query.mT.contiguous(), key.mT.contiguous())).softmax(-1)


def counts_as_root(query: Tensor, key: Tensor) -> Tensor:
    return (query.mT @ key / sqrt(query.shape[2])).softmax(-1)


WRONG_WEIGHTS = {
    "not started": (lambda q, k: ..., "three dots"),
    "forgot to return": (lambda q, k: None, "return"),
    "a list": (lambda q, k: [q], "no tensor"),
    "softmax over those who ask": (lambda q, k: (q.mT @ k / sqrt(q.shape[1])).softmax(1), "over N"),
    "softmax over the batch": (lambda q, k: (q.mT @ k).softmax(0), "batch"),
    "softmax over everything": (
        lambda q, k: (q.mT @ k).flatten(1).softmax(1).unflatten(1, (q.shape[2], -1)),
        "whole matrix",
    ),
    "no softmax": (lambda q, k: q.mT @ k, "negative"),
    "shares not made to sum to 1": (lambda q, k: (q.mT @ k).sigmoid(), "sum to"),
    "no scale": (lambda q, k: (q.mT @ k).softmax(-1), "scale is missing"),
    "scale C": (lambda q, k: (q.mT @ k / q.shape[1]).softmax(-1), "square root"),
    "scale root of N": (counts_as_root, "√N"),
    "scale root of S": (lambda q, k: (q.mT @ k / sqrt(k.shape[2])).softmax(-1), "√S"),
    "times the root": (lambda q, k: (q.mT @ k * sqrt(q.shape[1])).softmax(-1), "divide"),
    "answers ask": (lambda q, k: by_matmul(k, q), "transposed"),
    "channels attend": (lambda q, k: (q @ q.mT).softmax(-1), "(B, N, S)"),
    "only square": (lambda q, k: by_matmul(q, q), "(B, N, S)"),
    "product of wrong axes": (lambda q, k: q @ k, "stopped with"),
    "another picture's keys": (of_another_picture, "same picture"),
    "distance for product": (distances, "dot products"),
    "exp overflows": (unnormalised_exp, "overflows"),
    "always float32": (lambda q, k: by_matmul(q.float(), k.float()), "dtype"),
}


@pytest.mark.parametrize(("wrong", "advice"), WRONG_WEIGHTS.values(), ids=WRONG_WEIGHTS)
def test_wrong_weights_are_refused_with_the_right_idea(wrong: Callable, advice: str) -> None:
    for _ in range(3):
        with pytest.raises(NotYet, match=advice.replace("(", r"\(").replace(")", r"\)")):
            checks.attention_weights(wrong)


# The non-local block


class Right(nn.Module):
    """Every slip below changes one of its steps."""

    def __init__(self, channels: int, key_channels: int) -> None:
        super().__init__()
        self.to_query = nn.Conv2d(channels, key_channels, 1)
        self.to_key = nn.Conv2d(channels, key_channels, 1)
        self.to_value = nn.Conv2d(channels, key_channels, 1)
        self.to_output = nn.Conv2d(key_channels, channels, 1)
        nn.init.zeros_(self.to_output.weight)
        nn.init.zeros_(self.to_output.bias)

    def weights(self, query: Tensor, key: Tensor) -> Tensor:
        return by_matmul(query, key)

    def project(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.to_query(features), self.to_key(features), self.to_value(features)
        return tuple(part.flatten(2) for part in parts)

    def to_map(self, context: Tensor, features: Tensor) -> Tensor:
        return context.mT.unflatten(2, features.shape[2:])

    def add(self, features: Tensor, change: Tensor) -> Tensor:
        return features + change

    def forward(self, features: Tensor) -> Tensor:
        query, key, value = self.project(features)
        context = self.weights(query, key) @ value.mT
        return self.add(features, self.to_output(self.to_map(context, features)))


class RightByEinsum(Right):
    def forward(self, features: Tensor) -> Tensor:
        query, key, value = self.project(features)
        context = torch.einsum("bns,bcs->bcn", by_einsum(query, key), value)
        return self.to_output(context.reshape(*context.shape[:2], *features.shape[2:])) + features


class RightWithoutBiases(Right):
    def __init__(self, channels: int, key_channels: int) -> None:
        super().__init__(channels, key_channels)
        for name in ("query", "key", "value"):
            setattr(self, f"to_{name}", nn.Conv2d(channels, key_channels, 1, bias=False))
        self.to_output = nn.Conv2d(key_channels, channels, 1, bias=False)
        nn.init.zeros_(self.to_output.weight)


class RightWithOtherValues(Right):
    """The values have as many channels as the input."""

    def __init__(self, channels: int, key_channels: int) -> None:
        super().__init__(channels, key_channels)
        self.to_value = nn.Conv2d(channels, channels, 1)
        self.to_output = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.to_output.weight)
        nn.init.zeros_(self.to_output.bias)


@pytest.mark.parametrize("right", [Right, RightByEinsum, RightWithoutBiases, RightWithOtherValues])
def test_right_blocks_pass(right: type[nn.Module], capsys) -> None:
    for _ in range(5):
        checks.nonlocal_block(right)
    assert "annlib" in capsys.readouterr().out


def slip(**steps: Callable) -> type[Right]:
    """Right with some of its steps done otherwise."""
    return type("Block", (Right,), steps)


def random_start(self, channels: int, key_channels: int) -> None:
    Right.__init__(self, channels, key_channels)
    nn.init.normal_(self.to_output.weight)


def bias_forgotten(self, channels: int, key_channels: int) -> None:
    Right.__init__(self, channels, key_channels)
    nn.init.normal_(self.to_output.bias)


def scrambled(self, context: Tensor, features: Tensor) -> Tensor:
    return context.reshape(context.shape[0], -1, *features.shape[2:])


def super_forgotten(self, channels: int, key_channels: int) -> None:
    self.to_query = nn.Conv2d(channels, key_channels, 1)


def renamed(self, channels: int, key_channels: int) -> None:
    Right.__init__(self, channels, key_channels)
    self.last = self.to_output
    del self.to_output
    self.to_output = lambda context: self.last(context)


def wide_output(self, channels: int, key_channels: int) -> None:
    Right.__init__(self, channels, key_channels)
    self.to_output = nn.Conv2d(key_channels, channels, 3, padding=1)
    nn.init.zeros_(self.to_output.weight)
    nn.init.zeros_(self.to_output.bias)


def without_gradient(self, features: Tensor) -> Tensor:
    with torch.no_grad():
        return Right.forward(self, features)


class ValuesWithoutScale(RightWithOtherValues):
    def weights(self, query: Tensor, key: Tensor) -> Tensor:
        return 0.3 * query.mT @ key


def overwritten(self, features: Tensor, change: Tensor) -> Tensor:
    features += change
    return features


def detached(self, features: Tensor) -> tuple[Tensor, ...]:
    query, key, value = Right.project(self, features)
    return query.detach(), key, value


WRONG_BLOCKS = {
    "not started": (slip(forward=lambda self, x: ...), "three dots"),
    "input not added": (slip(add=lambda self, x, change: change), "Add the input"),
    "random start": (slip(__init__=random_start), "start at zero"),
    "bias not zero": (slip(__init__=bias_forgotten), "bias"),
    "input added twice": (slip(add=lambda self, x, change: 2 * x + change), "unchanged"),
    "flat result": (slip(add=lambda self, x, change: (x + change).flatten(2)), "fit between"),
    "height and width exchanged": (slip(add=lambda self, x, c: (x + c).mT), "came out"),
    "reshaped without transposing": (slip(to_map=scrambled), "wrong positions"),
    "softmax over those who ask": (
        slip(weights=lambda s, q, k: (q.mT @ k / sqrt(q.shape[1])).softmax(1)),
        "last axis",
    ),
    "no scale": (slip(weights=lambda s, q, k: (q.mT @ k).softmax(-1)), "scale is missing"),
    "scale root of N": (slip(weights=lambda s, q, k: counts_as_root(q, k)), "√N"),
    "no softmax": (
        slip(weights=lambda s, q, k: q.mT @ k / sqrt(q.shape[1])),
        "softmax is missing",
    ),
    "query and key exchanged": (slip(weights=lambda s, q, k: by_matmul(k, q)), "changed places"),
    "symmetric": (slip(weights=lambda s, q, k: by_matmul(q, q)), "keys, too"),
    "keys for values": (
        slip(project=lambda s, x: (*Right.project(s, x)[:2], Right.project(s, x)[1])),
        "not the keys",
    ),
    "detached query": (slip(project=detached), "to_query"),
    "not a class": (..., "cannot be built: TypeError"),
    "a function": (lambda channels, key_channels: None, "nn.Module"),
    "super forgotten": (slip(__init__=super_forgotten), "cannot be built: AttributeError"),
    "renamed part": (slip(__init__=renamed), "called to_output"),
    "3 x 3": (slip(__init__=wide_output), "called to_output"),
    "no gradient at all": (slip(forward=without_gradient), "No gradient flows"),
    "input overwritten": (slip(add=overwritten), "a = a"),
    "other values, other weights": (ValuesWithoutScale, "something else"),
}


@pytest.mark.parametrize(("wrong", "advice"), WRONG_BLOCKS.values(), ids=WRONG_BLOCKS)
def test_wrong_blocks_are_refused_with_the_right_idea(wrong: type[nn.Module], advice: str) -> None:
    for _ in range(3):
        with pytest.raises(NotYet, match=advice):
            checks.nonlocal_block(wrong)


def test_checks_leave_the_lessons_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    checks.attention_weights(by_matmul)
    assert torch.equal(torch.get_rng_state(), before)


# Lesson 00


def test_a_click_that_arrived_passes(capsys) -> None:
    checks.click_arrived(True)
    assert "browser" in capsys.readouterr().out


def test_no_click_says_what_to_do() -> None:
    with pytest.raises(NotYet, match="Restart"):
        checks.click_arrived(False)


def attending(scene: Scene, labels: tuple[int, ...]) -> Attention:
    """All positions look evenly at the middles of the things of these classes."""
    things = [thing for thing in (*scene.balloons, *scene.houses) if thing.label in labels]
    weights = torch.zeros(384, 384)
    for thing in things:
        y, x = query_on(scene, thing)
        weights[:, y // 8 * 24 + x // 8] = 1 / len(things)
    return Attention(weights, (16, 24), (128, 192), None)


def test_a_house_that_looks_at_balloons_of_one_class_passes(capsys) -> None:
    scene = make_scene(5)
    attention = attending(scene, (scene.balloons[0].label,))
    for house in scene.houses:
        checks.house_pixel(query_on(scene, house), scene, attention)
    assert "100% to" in capsys.readouterr().out


def test_a_house_that_looks_at_houses_is_asked_for_again() -> None:
    scene = make_scene(5)
    attention = attending(scene, (7, 8, 9))
    with pytest.raises(NotYet, match="to no balloon"):
        checks.house_pixel(query_on(scene, scene.houses[0]), scene, attention)


SCENE = make_scene(5)
WRONG_PIXELS = {
    "not started": (..., "three dots"),
    "one number": (94, "two whole numbers"),
    "fractions": ((94.5, 20.0), "two whole numbers"),
    "outside": ((20, 300), "outside"),
    "below the picture": ((128, 20), "row comes first"),
    "sky": ((2, 2), "sky"),
    "road": ((122, 100), "not a house"),
}


@pytest.mark.parametrize(("wrong", "advice"), WRONG_PIXELS.values(), ids=WRONG_PIXELS)
def test_a_pixel_elsewhere_is_refused_with_what_is_there(wrong: object, advice: str) -> None:
    with pytest.raises(NotYet, match=advice):
        checks.house_pixel(wrong, SCENE, attending(SCENE, (4, 5, 6)))


def test_exchanged_row_and_column_are_noticed() -> None:
    scene = make_scene(5)
    rows, columns = (scene.labels == scene.houses[0].label).nonzero()
    row, column = next((int(y), int(x)) for y, x in zip(rows, columns, strict=True) if x < 128)
    with pytest.raises(NotYet, match="column first"):
        checks.house_pixel((column, row), scene, attending(scene, (4, 5, 6)))
