"""Checkers of lesson 12: kinds of efficient attention, order of products, criss-cross reach."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from annlib.course.checks.base import NotYet, attempt, expect, given, judge, passed, text
from annlib.course.checks.inputs import draw, normal
from annlib.course.efficient import FAMILIES, KINDS, exact, method_of, weights_of
from annlib.course.profiler import operation_counter

_, PAIRS, ORDER, STORAGE = KINDS
SIZE = (8, 12)  # fits all methods at their cheapest


def kinds_of_attention(answer: Mapping[str, str]) -> None:
    """{"anchors": "fewer keys", ...}: what each method reduces, and what contradicts it."""
    given(answer, "The dictionary")
    expect(isinstance(answer, Mapping), "no dictionary", type(answer).__name__)
    wanted = sorted(set(FAMILIES) - {"non-local"})
    missing = [name for name in wanted if name not in answer]
    expect(not missing, f"Still without a kind: {', '.join(missing)}.")
    for name, kind in answer.items():
        expect(kind is not ..., f"{name!r} still has three dots: choose one of {KINDS}.")
        expect(kind in KINDS, f"{name!r}: {kind!r} is not one of the kinds {KINDS}.")
    for name in wanted:
        kind = answer[name]
        query, key, value = (normal(1, 6, SIZE[0] * SIZE[1]).relu() for _ in range(3))
        method = method_of(name, FAMILIES[name].options[0], SIZE)
        same = torch.allclose(method(query, key, value), exact(query, key, value), atol=1e-4)
        expect(same == (kind == STORAGE), "same result", name, "IS" if same else "is not", kind)
        zeros = float((weights_of(method, query, key) == 0).float().mean())
        meet = "those pairs never meet" if zeros else "every pair meets"
        expect(bool(zeros) == (kind == PAIRS), "weights of 0", name, zeros, meet, kind)
        features = FAMILIES[name].shrinks == ORDER
        takes = ("takes no", "can") if features else ("takes a", "cannot")
        expect(features == (kind == ORDER), "softmax over the keys", name, *takes, kind)
    passed("kinds_of_attention")


def linear_attention(student: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """query (B, C, N), key (B, C, S) positive features, value (B, Cv, S) -> (B, N, Cv)"""
    channels, num_queries, num_keys, values = draw(3, 5), draw(9, 12), draw(13, 16), draw(6, 8)
    query, key = normal(2, channels, num_queries).abs(), normal(2, channels, num_keys).abs()
    query, key, value = query + 0.1, key + 0.1, normal(2, values, num_keys)
    result = attempt(student, query, key, value)
    wanted, got = (2, num_queries, values), tuple(result.shape)
    expect(got == wanted, "shape of the weighted sums", wanted, got, query.shape, value.shape)
    ones = attempt(student, query, key, torch.ones_like(value))
    if not torch.allclose(ones, torch.ones_like(ones), atol=1e-4):
        raise NotYet("weights do not sum to 1", float(ones.min()), float(ones.max()))
    scores = query.mT @ key
    softmax = [(scale * scores).softmax(-1) @ value.mT for scale in (1.0, channels**-0.5)]
    slips = {"softmax kept": softmax, "mean for all": value.mean(2)[:, None].expand_as(result)}
    right = scores / scores.sum(-1, keepdim=True) @ value.mT
    judge(result, right, slips, "not the products", atol=1e-4)
    channels, positions = 4, 400  # the work for a long map must be that of the cheap order
    query, key = normal(1, channels, positions).abs(), normal(1, channels, positions).abs()
    with operation_counter() as counter:
        attempt(student, query + 0.1, key + 0.1, normal(1, channels, positions))
    work, enough = counter.get_total_flops(), 4 * positions * channels**2
    expect(work <= 2 * enough, "products in the other order", positions, channels, work, enough)
    passed("linear_attention")


def criss_cross_reach(student: Callable[[int, int], Tensor]) -> None:
    """(height, width) -> bool (N, N): entry (n, s) says if n attends to s in one pass."""
    height, width = draw(4, 5), draw(6, 7)  # wider than a window of 3, and no multiples
    reach, positions = attempt(student, height, width), height * width
    expect(reach.shape == (positions, positions), "not N x N", positions, reach.shape)
    expect(reach.dtype == torch.bool, f"Entries must be True or False; yours are {reach.dtype}.")
    expect(reach.diagonal().all(), "A position is in its own row: it attends to itself, too.")
    y, x = draw(1, height - 2), draw(1, width - 2)  # at a corner slips may give the same
    keys = reach[y * width + x].view(height, width)
    row, column, outside = bool(keys[y].all()), bool(keys[:, x].all()), keys.clone()
    outside[y], outside[:, x] = False, False
    where = f"The position in row {y}, column {x} of {height} x {width}"
    expect(not keys.all(), "Every position attends to every position: that is the non-local block.")
    expect(row or column, "neither row nor column", where, width)
    expect(row, f"{where} attends to its column, but not to its row.")
    expect(column, f"{where} attends to its row, but not to its column.")
    others = int(outside.sum())
    expect(not others, f"{where} attends to {others} positions neither in its row nor column.")
    counts, cross = reach.sum(1), height + width - 1
    most, fewest = int(counts.max()), int(counts.min())
    expect(most == fewest == cross, "size of the cross", cross, most, fewest)
    passed(text("criss_cross_reach", cross))
