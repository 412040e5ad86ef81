"""A check that blocks of several assignments share: do all their parts learn?"""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from annlib.course.assignments import slips
from annlib.course.grading.questions import (
    OTHER,
    Answer,
    Call,
    Check,
    Misconception,
    close,
    compared,
)

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
        return None if same else slips.DETACHED

    return Check("gradients", points, [call], judge)
