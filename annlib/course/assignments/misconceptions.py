"""The misconceptions that hidden checks of A1 and A2 know by name, in words for students."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from annlib.course.assignments.base import (
    OTHER,
    Answer,
    Call,
    Check,
    Misconception,
    close,
    compared,
)
from annlib.course.assignments.base import Misconception as M

NO_SCALE = M(
    "scale missing",
    "A sum of C products grows with √C, and the softmax of large scores looks at one key only. "
    "Divide the scores by √C.",
)
SCALE_C = M("scale C", "You divide the scores by C; their spread grows with its square root.")
SCALE_N = M(
    "scale √N", "You divide by √N. What makes scores grow is the C terms of their sum, not N."
)
SCALE_S = M(
    "scale √S", "You divide by √S. What makes scores grow is the C terms of their sum, not S."
)
SCALE_TIMES = M("scale upside down", "You multiply the scores by √C, where you have to divide.")
SOFTMAX_N = M(
    "softmax over those who ask",
    "Each position that asks divides one unit of attention among those that answer: rows sum to 1. "
    "Your columns do.",
)
NO_SOFTMAX = M("softmax missing", "Scores are no shares yet: they can be negative, and sum to all.")
TRANSPOSED = M("transposed", "A row belongs to a position that asks: N comes before S.")
MASK_IGNORED = M("mask ignored", "Keys that are to be ignored still get weight.")
MASK_AFTER = M(
    "masked after the softmax",
    "You set weights to zero after the softmax, so rows no longer sum to 1. Ignored keys must be "
    "out before shares are made.",
)
MASK_ZERO_SCORE = M(
    "masked by a zero score",
    "A score of 0 is no weight of 0: exp(0) is 1. Which score gives a weight of nothing?",
)
MASK_INVERTED = M("mask inverted", "You ignore the valid keys, and keep the others.")
MASK_QUERIES = M(
    "mask on those who ask",
    "Ignored pixels may ask; what they must not do is answer. The mask belongs to the keys.",
)
EMPTY_NAN = M(
    "nan without valid keys",
    "Where no key is valid your weights are nan: 0 divided by 0. One such picture would spoil the "
    "training. The docstring says what is wanted.",
)
EMPTY_UNIFORM = M(
    "uniform without valid keys",
    "Where no key is valid you share attention among keys that are to be ignored. A very small "
    "score for all is as good as none: the softmax only sees differences.",
)
NO_RESIDUAL = M("input not added", "The block loses what comes in: add the input to the context.")
NOT_ZERO_START = M(
    "does not start as the identity",
    "A fresh block must hand on its input: put into a trained network, it may not disturb it. "
    "Which weights have to start at zero?",
)
DOES_NOTHING = M(
    "hands on its input only",
    "Whatever its weights are, the block changes nothing: no attention reaches the output.",
)
NO_ATTENTION = M(
    "no attention",
    "A fresh block hands on its input, but with weights yours does nothing that attention would: "
    "see the values.",
)
QUERY_AS_KEY = M("queries serve as keys", "Queries and keys have projections of their own here.")
SWAPPED = M("query and key exchanged", "to_query makes those who ask, to_key those who answer.")
KEYS_AS_VALUES = M("keys serve as values", "What is fetched are the values, not the keys.")
POSITIONS_MIXED = M(
    "positions mixed up",
    "The numbers are there, but on wrong positions: bring channels back in front before you give "
    "the map its height and width.",
)
DETACHED = M(
    "gradient cut",
    "Some weights get no gradient, so they would never learn: is there a detach, a no_grad, or a "
    "part that is not used?",
)
HALF = M("multiply-adds", "A multiply-add is two operations: a product and a sum.")
NO_PROJECTIONS = M("projections forgotten", "The four 1 x 1 convolutions cost operations, too.")
NO_PRODUCTS = M("products forgotten", "Scores, and weights times values, cost most on large maps.")
ONE_PRODUCT = M(
    "one product", "Two products have N x N in them: one makes the weights, one uses them."
)
THREE_PROJECTIONS = M("three projections", "Query, key, value, output: this block has four.")
LINEAR = M(
    "grows with N only",
    "Every position asks every position: the two products grow with the square of H W.",
)
SQUARE_MAP = M("height for width", "The map is H x W; you count H x H positions.")
MAX_POOLED = M(
    "largest, not mean", "An anchor is the mean of its cell; you take the largest value."
)
CELLS_APART = M(
    "cells cut short",
    "Where a level does not divide the map, cells overlap: one begins at the floor of its first "
    "edge and ends at the ceiling of its last. Yours leave positions out or end too early.",
)
ONE_POSITION = M(
    "one position a cell", "You take one position of each cell; an anchor is the mean of them all."
)
INTERPOLATED = M(
    "interpolated",
    "Shrinking by interpolation looks at the neighbours of a few points; an anchor is the mean of "
    "its whole cell.",
)
COLUMNS_FIRST = M("columns first", "Anchors of a level stand row by row, as `flatten` leaves them.")
LEVELS_REVERSED = M(
    "levels reversed", "Anchors stand in the order of `levels`; yours are reversed."
)
LEVELS_SORTED = M("levels sorted", "Anchors stand in the order of `levels`, sorted or not.")
FIXED_PYRAMID = M(
    "fixed pyramid", "You always take the levels (1, 3, 6, 8); take those that are given."
)
LOW_ASKS = M(
    "low level asks", "The high level asks, the low level answers: queries come from high."
)
HIGH_ANSWERS = M(
    "high level answers", "Keys and values come from the low level, not from the high."
)
HIGH_VALUES = M(
    "values of the high level", "What is fetched comes from the low level, like its keys."
)
NOT_SAMPLED = M("not sampled", "All positions of the low level answer; only its anchors should.")
JOINED_OTHERWISE = M("joined the other way", "The context comes first, then the map that asked.")
LEVELS_SUMMED = M("levels not squared", "A level of side n has n x n anchors, not n.")
FINEST_ONLY = M("finest level only", "Every level has anchors, and S counts them all.")
ONE_SIZE = M("one size for both", "Keys and values are projected on the low map, of another size.")
SAMPLED_FIRST = M(
    "projected after sampling",
    "You count keys and values as if the map were sampled before it is projected. That would be "
    "cheaper; this block projects first.",
)
NOT_JOINED = M("joined map forgotten", "to_output reads the context and the map that asked.")


Made = Callable[[Sequence[Tensor], Mapping[str, Tensor]], Tensor]
WRONG_VALUES = Misconception(
    "wrong values", "Gradients are compared once the values are right; see there."
)


def check_gradients(points: float, call: Call, made: Made) -> Check:
    """Gradients of the inputs and of every part, against those of the reference `made`."""

    def judge(answers: Sequence[Answer]) -> Misconception | None:
        if found := compared(answers, [made(call.arguments, call.weights)], {}, tolerance=1e-3):
            return WRONG_VALUES if found is OTHER else found
        inputs = [value.clone().requires_grad_() for value in call.arguments]
        weights = {name: value.clone().requires_grad_() for name, value in call.weights.items()}
        made(inputs, weights).backward(call.upstream)
        leaves = {f"input {number}": value for number, value in enumerate(inputs)} | weights
        found = {name: answers[0].gradients.get(f"gradient of {name}") for name in leaves}
        same = all(
            found[name] is not None and close(found[name], leaf.grad, 1e-3)
            for name, leaf in leaves.items()
        )
        return None if same else DETACHED

    return Check("gradients", points, [call], judge)
