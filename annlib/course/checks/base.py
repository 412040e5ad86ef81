"""What the checkers share: NotYet, random inputs, the student's result, comparison with slips.

A slip is the value that a named misconception leads to. A checker never prints the correct value.
"""

from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from numbers import Real

import torch
from torch import Tensor, nn

from annlib.course.lesson import wrapped
from annlib.model.asymmetric import AsymmetricAttention


class NotYet(AssertionError):
    """An answer that is not started or not correct yet; the message says what to look at next."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the advice, without the lines of the checker."""
        return [wrapped(f"Not yet. {self}")]


def expect(claim: bool, advice: str) -> None:
    """Raises NotYet with the advice unless the claim holds."""
    if not claim:
        raise NotYet(advice)


def fresh() -> torch.Generator:
    """A generator of its own, so that a check leaves the lesson's seed alone."""
    generator = torch.Generator()
    generator.seed()
    return generator


def draw(low: int, high: int) -> int:
    """A whole number of low..high, both included."""
    return int(torch.randint(low, high + 1, (), generator=fresh()))


def uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=fresh()))


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=fresh())


def name_of(student: object) -> str:
    student = getattr(student, "func", student)  # of a functools.partial
    return getattr(student, "__name__", type(student).__name__)


def shown(value: object) -> str:
    """An input as a message shows it: numbers as they are, a tensor by its shape."""
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)}"
    if isinstance(value, Real | tuple):
        return str(value)
    return f"{len(value)} values" if isinstance(value, list | dict) else name_of(value)


def given(value: object, name: str = "The exercise above") -> object:
    """The value itself; NotYet where an exercise returns nothing yet."""
    expect(
        value is not None and value is not ...,
        f"{name} returns nothing yet. Put your code in place of the three dots; if you have, is "
        "the last line `return ...`?",
    )
    return value


def result_of(student: Callable, *inputs: object) -> object:
    """What the student's function returns; NotYet if it is missing, stops, or returns nothing."""
    expect(callable(student), "Nothing to check yet: write it in place of the three dots.")
    try:
        result = student(*inputs)
    except Exception as error:
        call = f"{name_of(student)}({', '.join(map(shown, inputs))})"
        raise NotYet(f"{call} stopped with {type(error).__name__}: {error}") from error
    return given(result, name_of(student))


def attempt(student: Callable[..., Tensor], *inputs: object) -> Tensor:
    """The student's tensor; NotYet if there is none."""
    result = result_of(student, *inputs)
    kind = type(result).__name__
    expect(isinstance(result, Tensor), f"{name_of(student)} returns a {kind}, not a tensor.")
    return result


def attempt_number(student: Callable[..., float], *inputs: object, finite: bool = True) -> float:
    """The student's number, also from a tensor that holds one; NotYet if there is none."""
    found = result_of(student, *inputs)
    call = f"{name_of(student)}({', '.join(map(shown, inputs))})"
    if isinstance(found, Tensor):
        expect(
            found.numel() == 1,
            f"One number is wanted; {call} has shape {tuple(found.shape)}. Which sum is missing?",
        )
        found = found.item()
    expect(
        isinstance(found, Real) and not isinstance(found, bool) and (isfinite(found) or not finite),
        f"{call} gives {found!r}; a number is wanted.",
    )
    return found


def judge(
    found: float | Tensor,
    right: object,
    slips: Mapping[str, object],
    otherwise: str,
    where: str = "",
    rtol: float = 1e-5,
    atol: float = 1e-8,
) -> None:
    """Raises NotYet unless found equals right, with the advice of the slip that found equals.

    slips: advice -> what the misconception gives: a number, a tensor, a list of such values, or a
    function that computes it; a RuntimeError in it (parts that do not fit) means "another one".
    """

    def same(value: object) -> bool:
        if isinstance(value, list):
            return any(map(same, value))
        try:
            value = torch.as_tensor(value() if callable(value) else value).detach().double()
        except RuntimeError:
            return False
        mine = torch.as_tensor(found).detach().double()
        return mine.shape == value.shape and torch.allclose(mine, value, rtol, atol, equal_nan=True)

    if not same(right):
        raise NotYet(where + next((one for one in slips if same(slips[one])), otherwise))


def check_pixel(pixel: tuple[int, int], size: tuple[int, int]) -> None:
    """NotYet unless the answer is (row, column) inside an image of this size."""
    given(pixel, "The pixel")
    expect(
        isinstance(pixel, tuple) and len(pixel) == 2 and all(isinstance(n, int) for n in pixel),
        f"A pixel is (row, column): two whole numbers in round brackets. You wrote {pixel!r}.",
    )
    expect(
        0 <= pixel[0] < size[0] and 0 <= pixel[1] < size[1],
        f"Row {pixel[0]}, column {pixel[1]} is outside: rows go from 0 to {size[0] - 1}, columns "
        f"from 0 to {size[1] - 1}. The row comes first, and row 0 is at the top.",
    )


# Attention blocks: the student's parts are put into annlib's attention, and the outputs compared.


def build(student: type[nn.Module], *sizes: int | tuple[int, ...]) -> nn.Module:
    """The student's module of these sizes; NotYet if there is none."""
    expect(
        isinstance(student, type) and issubclass(student, nn.Module),
        f"Write a class that is an nn.Module in place of the three dots; {student!r} is not one.",
    )
    return result_of(student, *sizes)


def randomise(block: nn.Module) -> None:
    """Random weights, so that no two computations agree by chance, and evaluation mode."""
    block.eval()
    with torch.no_grad():
        for name, value in block.state_dict().items():
            if value.is_floating_point():
                drawn = normal(*value.shape)
                if value.dim() == 1 and "running_mean" not in name:
                    drawn = drawn.abs() + (0.5 if "var" in name else 0)  # up: no ReLU is dead
                value.copy_(drawn)


def with_parts(
    attention: AsymmetricAttention, block: nn.Module, names: Iterable[str], changes: Mapping
) -> AsymmetricAttention:
    """annlib's attention with the student's parts, and some of its steps changed."""
    for name, part in ({name: block.get_submodule(name) for name in names} | changes).items():
        setattr(attention, name, part)
    return attention.eval()


def attention_slips(block: nn.Module, num_queries: int, num_keys: int) -> dict[str, dict]:
    """Advice -> what to change in annlib's attention to make the same mistake."""
    return {
        "The scale is missing: divide the scores by √C of the keys.": {"scale": 1.0},
        "The scale is √N instead of √C of the keys.": {"scale": num_queries**-0.5},
        "The scale is √S instead of √C of the keys.": {"scale": num_keys**-0.5},
        "The softmax runs over N, the query positions. The weights of one query position sum to 1 "
        "over the keys: the last axis.": {"softmax": nn.Softmax(dim=1)},
        "The softmax is missing.": {"softmax": nn.Identity()},
        "The output is a weighted sum of the values, not of the keys.": {"to_value": block.to_key},
    }


def check_gradient(output: Tensor, leaves: Mapping[str, Iterable[Tensor]]) -> None:
    """NotYet unless a gradient reaches each of the named groups of tensors."""
    expect(output.requires_grad, "No gradient flows: is there a detach, or a torch.no_grad()?")
    try:
        (output * normal(*output.shape)).sum().backward()
    except RuntimeError as error:
        raise NotYet(
            f"backward stopped with: {error} `a += b` overwrites what backward still needs: write "
            "a = a + b."
        ) from error
    for name, tensors in leaves.items():
        gradients = [tensor.grad for tensor in tensors]
        expect(
            any(gradient is not None and bool(gradient.any()) for gradient in gradients),
            f"No gradient reaches {name}, so it would not train: is it used, without detach?",
        )
