"""Checkers of lesson 12: kinds of efficient attention, order of products, criss-cross reach."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from annlib.course.checks.base import NotYet, attempt, draw, expect, normal
from annlib.course.efficient import (
    FAMILIES,
    KEYS,
    ORDER,
    PAIRS,
    STORAGE,
    exact,
    method_of,
    weights_of,
)
from annlib.course.lesson import say
from annlib.engine.profiler import operation_counter

KINDS = (KEYS, PAIRS, ORDER, STORAGE)
SIZE = (8, 12)  # fits all methods at their cheapest


def kinds_of_attention(answer: Mapping[str, str]) -> None:
    """{"anchors": "fewer keys", ...}: what each method shrinks, with what speaks against it."""
    expect(answer is not ... and answer is not None, "Put a dictionary in place of the three dots.")
    expect(
        isinstance(answer, Mapping),
        f"The answer is a dictionary of names and kinds; yours is a {type(answer).__name__}.",
    )
    wanted = sorted(set(FAMILIES) - {"non-local"})
    missing = [name for name in wanted if name not in answer]
    expect(not missing, f"Still without a kind: {', '.join(missing)}.")
    for name, kind in answer.items():
        expect(kind is not ..., f"{name!r} still has three dots: choose one of {KINDS}.")
        expect(kind in KINDS, f"{name!r}: {kind!r} is none of the kinds {KINDS}.")
    for name in wanted:
        check_kind(name, answer[name])
    say(
        "Right: each kind shows in what a method does. Never stored: the same results. Fewer "
        "pairs: exact zeros. Other order: no softmax over those that answer. Fewer keys: a "
        "softmax, but over few."
    )


def check_kind(name: str, kind: str) -> None:
    """Same result, exact zeros, or neither: then it is a softmax over fewer keys or none at all."""
    query, key, value = (normal(1, 6, SIZE[0] * SIZE[1]).relu() for _ in range(3))
    option = FAMILIES[name].options[0]
    method = method_of(name, option, SIZE)
    same = torch.allclose(method(query, key, value), exact(query, key, value), atol=1e-4)
    expect(
        same == (kind == STORAGE),
        f"{name}: its result {'IS' if same else 'is not'} that of the non-local block, to the last "
        f"digits. Does that fit {kind!r}?",
    )
    zeros = float((weights_of(method, query, key) == 0).float().mean())
    expect(
        bool(zeros) == (kind == PAIRS),
        f"{name}: {zeros:.0%} of its weights are exactly 0"
        f"{': those pairs never meet' if zeros else ', every pair meets'}. Does that fit {kind!r}?",
    )
    features = FAMILIES[name].shrinks == ORDER
    expect(
        features == (kind == ORDER),
        f"{name}: it {'takes no' if features else 'takes a'} softmax over those that answer, so "
        f"values {'can' if features else 'cannot'} meet keys before a query asks. Does that fit "
        f"{kind!r}?",
    )


def linear_attention(student: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """query (B, C, N), key (B, C, S) positive features, value (B, Cv, S) -> (B, N, Cv)"""
    batch, channels, values = 2, draw(3, 5), draw(6, 8)
    num_asking, num_answering = draw(9, 12), draw(13, 16)
    query = normal(batch, channels, num_asking).abs() + 0.1
    key = normal(batch, channels, num_answering).abs() + 0.1
    value = normal(batch, values, num_answering)
    result = attempt(student, query.clone(), key.clone(), value.clone())
    wanted = (batch, num_asking, values)
    expect(
        tuple(result.shape) == wanted,
        f"(B, N, Cv) = {wanted} is wanted, a row for each that asks; yours is "
        f"{tuple(result.shape)}. query is {tuple(query.shape)}, value {tuple(value.shape)}.",
    )
    ones = attempt(student, query.clone(), key.clone(), torch.ones_like(value))
    expect(
        torch.allclose(ones, torch.ones_like(ones), atol=1e-4),
        f"Values that are all 1 must come back as 1, for weights are shares; yours come back as "
        f"{float(ones.min()):.3g} to {float(ones.max()):.3g}. Divide each row by its own total: "
        "the query times the sum of all keys.",
    )
    check_quadratic_form(result, query, key, value)
    check_order(student)
    say(
        "Right: rows are shares, the result is that of the N x S matrix of products, and that "
        "matrix is never made: the work is 4 N C C."
    )


def check_quadratic_form(result: Tensor, query: Tensor, key: Tensor, value: Tensor) -> None:
    """Against the same weights written out, and against what slips give."""
    scores = query.mT @ key
    if torch.allclose(result, scores / scores.sum(-1, keepdim=True) @ value.mT, atol=1e-4):
        return
    if torch.allclose(result, scores.softmax(-1) @ value.mT, atol=1e-3):
        raise NotYet("A softmax is in it. Here the products themselves are the weights.")
    scaled = (query.shape[1] ** -0.5 * scores).softmax(-1)
    if torch.allclose(result, scaled @ value.mT, atol=1e-3):
        raise NotYet("A softmax is in it. Here the products themselves are the weights.")
    if torch.allclose(result, value.mean(2)[:, None].expand_as(result), atol=1e-3):
        raise NotYet("All positions fetch the mean: the queries have no say. Where do they enter?")
    raise NotYet(
        "The weights are not the products of the features. Weight (n, s) must be query n times key "
        "s, summed over C, divided by the total of row n; nothing else."
    )


def check_order(student: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """The work for a long map must be that of the cheap order."""
    channels, positions = 4, 400
    query, key = normal(1, channels, positions).abs(), normal(1, channels, positions).abs()
    with operation_counter() as counter:
        attempt(student, query + 0.1, key + 0.1, normal(1, channels, positions))
    allowed, work = 4 * positions * channels * (channels + 4), counter.get_total_flops()
    expect(
        work <= allowed,
        f"The numbers are right, but at N = {positions}, C = {channels} they took {work:,} "
        f"operations; {4 * positions * channels**2:,} will do. A product of three matrices may be "
        "bracketed in two ways: let keys meet values first.",
    )


def criss_cross_reach(student: Callable[[int, int], Tensor]) -> None:
    """(height, width) -> bool (N, N): entry (n, s) says if s answers n in one pass."""
    height, width = draw(4, 5), draw(6, 7)  # wider than a window of 3, and no multiples
    expect(callable(student), "Write a function in place of the three dots.")
    try:
        reach = student(height, width)
    except Exception as error:
        slip = f"{type(error).__name__}: {error}"
        raise NotYet(f"For {height} x {width} it stopped with {slip}") from error
    expect(
        reach is not None and reach is not ...,
        "It gives nothing back yet: put your code in place of the three dots, then `return`.",
    )
    check_reach_form(reach, height * width)
    check_reach_rows(reach, height, width)
    say(
        f"Right: everybody is answered by the {height + width - 1} positions of the own row and "
        "column, and in two steps by all, over a corner."
    )


def check_reach_form(reach: Tensor, positions: int) -> None:
    expect(isinstance(reach, Tensor), f"It gives back a {type(reach).__name__}, no tensor.")
    expect(
        tuple(reach.shape) == (positions, positions),
        f"The answer is (N, N) with N = H * W = {positions}; yours is {tuple(reach.shape)}.",
    )
    expect(reach.dtype == torch.bool, f"Entries must be True or False; yours are {reach.dtype}.")
    expect(
        bool(reach.diagonal().all()), "A position stands in its own row: it answers itself, too."
    )


def check_reach_rows(reach: Tensor, height: int, width: int) -> None:
    """The neighbours of one position, drawn as a map, tell which slip it is."""
    y, x = draw(1, height - 2), draw(1, width - 2)  # at a corner slips may look alike
    answers = reach[y * width + x].view(height, width)
    row, column = bool(answers[y].all()), bool(answers[:, x].all())
    outside = answers.clone()
    outside[y], outside[:, x] = False, False
    expect(not bool(answers.all()), "Everybody answers everybody: that is the non-local block.")
    where = f"Of the position in row {y}, column {x} of {height} x {width}:"
    expect(
        row or column,
        f"{where} neither its whole row nor its whole column answers. Position n stands in row "
        f"n // W and column n % W, for maps are flattened row by row (W = {width}).",
    )
    expect(row, f"{where} the column answers, the row does not.")
    expect(column, f"{where} the row answers, the column does not.")
    expect(
        not bool(outside.any()),
        f"{where} {int(outside.sum())} positions answer that are neither in its row nor in its "
        "column.",
    )
    other = torch.randperm(height * width)[:5]
    counts = reach[other].sum(1)
    expect(
        bool((counts == height + width - 1).all()),
        f"Each is answered by H + W - 1 = {height + width - 1}; some of yours by "
        f"{int(counts.max())} or {int(counts.min())}.",
    )
