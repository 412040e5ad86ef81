"""What the checkers share: NotYet, random inputs, the student's result, comparison with slips.

A slip is the value that a named misconception leads to.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import isfinite
from numbers import Real

import torch
from torch import Tensor, nn

from annlib.course.lesson import say, wrapped
from annlib.model.asymmetric import AsymmetricAttention


class NotYet(AssertionError):
    """An answer that is not started or not correct yet; the message says what to look at next.

    White space in the message is collapsed, so its source may be broken over lines.
    """

    def __init__(self, advice: str):
        super().__init__(" ".join(advice.split()))

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the advice, without the lines of the checker."""
        return [wrapped(f"Not yet. {self}")]


def expect(claim: bool, advice: str) -> None:
    """Raises NotYet with the advice unless the claim holds."""
    if not claim:
        raise NotYet(advice)


def passed(shown: str) -> None:
    """Prints what a correct answer has shown."""
    say("Correct: " + " ".join(shown.split()))


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
    if value is None or value is ...:
        raise NotYet(f"""{name} returns nothing yet. Put your code in place of the three dots; if
            you have, is the last line `return ...`?""")
    return value


def result_of(student: Callable, *inputs: object, hint: str = "") -> object:
    """What the student's function returns; NotYet if it is missing, stops, or returns nothing.

    hint: what to say if it stops.
    """
    expect(callable(student), "Nothing to check yet: write it in place of the three dots.")
    try:
        result = student(*inputs)
    except Exception as error:
        call = f"{name_of(student)}({', '.join(map(shown, inputs))})"
        message = str(error).rstrip(".")
        raise NotYet(f"{call} stopped with {type(error).__name__}: {message}. {hint}") from error
    return given(result, name_of(student))


def attempt(student: Callable[..., Tensor], *inputs: object, hint: str = "") -> Tensor:
    """The student's tensor; NotYet if there is none."""
    result = result_of(student, *inputs, hint=hint)
    kind = type(result).__name__
    expect(isinstance(result, Tensor), f"{name_of(student)} returns a {kind}, not a tensor.")
    return result


def attempt_number(student: Callable[..., float], *inputs: object, finite: bool = True) -> float:
    """The student's number, also from a tensor that holds one; NotYet if there is none."""
    found = result_of(student, *inputs)
    call = f"{name_of(student)}({', '.join(map(shown, inputs))})"
    if isinstance(found, Tensor):
        if found.numel() != 1:
            raise NotYet(f"""One number is wanted; {call} has shape {tuple(found.shape)}. Which sum
                is missing?""")
        found = found.item()
    if not isinstance(found, Real) or isinstance(found, bool) or (not isfinite(found) and finite):
        raise NotYet(f"{call} gives {found!r}; a number is wanted.")
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
    two = isinstance(pixel, tuple) and len(pixel) == 2 and all(isinstance(n, int) for n in pixel)
    expect(two, f"A pixel is (row, column): two whole numbers. You wrote {pixel!r}.")
    if not (0 <= pixel[0] < size[0] and 0 <= pixel[1] < size[1]):
        raise NotYet(f"""Row {pixel[0]}, column {pixel[1]} is outside: rows go from 0 to
            {size[0] - 1}, columns from 0 to {size[1] - 1}. The row comes first.""")


# Attention blocks: the student's parts are put into annlib's attention, and the outputs compared.


def build(student: type[nn.Module], *sizes: int | tuple[int, ...]) -> nn.Module:
    """The student's module of these sizes; NotYet if there is none."""
    if not (isinstance(student, type) and issubclass(student, nn.Module)):
        raise NotYet(f"Write an nn.Module in place of the three dots; {student!r} is not one.")
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


def context_of(
    block: nn.Module, query_map: Tensor, key_map: Tensor, levels: tuple[int, ...], changes: Mapping
) -> Tensor:
    """annlib's attention made of the student's parts, with some of its steps changed.

    (B, Cq, H, W), (B, Ck, h, w) -> (B, Cq, H, W)
    """
    shared, key_channels = not hasattr(block, "to_query"), block.to_key(key_map).shape[1]
    attention = AsymmetricAttention(1, 1, key_channels, 1, levels, shared).eval()
    names = ["to_key", "to_value", "to_output"] + ["to_query"] * (not shared)
    for name, part in ({name: getattr(block, name) for name in names} | changes).items():
        setattr(attention, name, part)
    return attention(query_map, key_map)


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


@torch.no_grad()
def check_fused(
    block: nn.Module,
    output: Tensor,
    maps: tuple[Tensor, Tensor],
    levels: tuple[int, ...],
    changes: Mapping[str, Mapping],
    contexts: Mapping[str, Callable[[], Tensor]],
    otherwise: str,
) -> None:
    """Compares a block that fuses context and query map with annlib's, and with slips.

    maps: query map and key map. changes: advice -> other steps of the attention.
    contexts: advice -> another context.
    """
    query_map, num_keys = maps[0], sum(level * level for level in levels)
    context_with = partial(context_of, block, *maps, levels)

    def fused(context: Callable[[], Tensor]) -> Tensor:
        return block.fuse(torch.cat([context(), query_map], 1))

    changes = attention_slips(block, query_map[0, 0].numel(), num_keys) | changes
    contexts = {advice: partial(context_with, one) for advice, one in changes.items()} | contexts
    context = partial(context_with, {})
    slips = {advice: partial(fused, one) for advice, one in contexts.items()} | {
        "The map comes first in your concatenation. The order decides which weights of `fuse` are "
        "used: context first.": lambda: block.fuse(torch.cat([query_map, context()], 1)),
        "You add context and map. Here they are concatenated and fused: 2 C channels go into "
        "`fuse`.": lambda: query_map + context(),
        "You fuse, then add the map once more. In the released models nothing is added after "
        "`fuse`.": lambda: query_map + fused(context),
    }
    judge(output, partial(fused, context), slips, otherwise, rtol=1e-4, atol=1e-3)


def check_gradient(output: Tensor, leaves: Mapping[str, Iterable[Tensor]]) -> None:
    """NotYet unless a gradient reaches each of the named groups of tensors."""
    expect(output.requires_grad, "No gradient flows: is there a detach, or a torch.no_grad()?")
    try:
        (output * normal(*output.shape)).sum().backward()
    except RuntimeError as error:
        raise NotYet(f"""backward stopped with: {error} `a += b` overwrites what it needs: write a =
            a + b.""") from error
    for name, tensors in leaves.items():
        gradients = [tensor.grad for tensor in tensors]
        if not any(gradient is not None and bool(gradient.any()) for gradient in gradients):
            raise NotYet(f"No gradient reaches {name}: is it used, without detach?")
