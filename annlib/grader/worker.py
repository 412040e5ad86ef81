"""The worker: runs the cells of one submission, then answers the grader's questions about it.

It is the only process that runs a submission, and knows inputs but no answers. Request from stdin;
to stdout go a message that it is ready, one on the cells, one for each question, and a last one.
"""

import os
import signal
import sys
import types
from collections.abc import Callable
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from annlib.grader.cells import run_cells
from annlib.grader.confine import Limits, die_with_parent, limit_resources
from annlib.grader.protocol import DTYPES, Message, packed, read_message
from annlib.grader.system_calls import filter_system_calls

LONGEST_MESSAGE, MOST_FAILURES = 300, 50


class NothingBack(Exception):
    """The three dots are still there, or the return is missing."""


class NameNotFound(Exception):
    """No cell has defined what is asked for."""


class OtherParts(Exception):
    """A module whose parameters are not those of the assignment."""


class OutOfTime(BaseException):
    """A cell or an answer took too long; no Exception, so that `except Exception` lets it pass."""


@contextmanager
def at_most(seconds: int):
    """Stops what runs inside after so many seconds of the processor, or three times by the clock.

    The alarm repeats, for code that catches everything in a loop.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds, 1)
    signal.setitimer(signal.ITIMER_REAL, 3 * seconds, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def stop(number: int, frame: object) -> None:
    raise OutOfTime("it took too long")


def described(error: BaseException) -> dict[str, str]:
    """Class and message of an error, whose own code may fail, too."""
    try:
        message = str(error)[:LONGEST_MESSAGE]
    except Exception:
        message = "(an error that cannot be shown)"
    return {"type": type(error).__name__[:60], "message": message}


def decoded(argument: dict, arrays: dict[str, np.ndarray]) -> object:
    """An argument of a question: a tensor, a tuple, or what JSON holds."""
    if "array" in argument:
        return torch.from_numpy(arrays[argument["array"]].copy())
    if "tuple" in argument:
        return tuple(argument["tuple"])
    return argument["value"]


def encoded(result: object, most_bytes: int) -> tuple[dict[str, str], np.ndarray]:
    """A result as facts and an array; raises TypeError for what is no number or tensor."""
    if result is None or result is ...:
        raise NothingBack("it gives nothing back")
    facts = {"kind": type(result).__name__[:60]}
    if isinstance(result, Tensor):
        facts["dtype"] = str(result.dtype).removeprefix("torch.")
        result = result.detach().cpu()
        result = (result.float() if result.dtype == torch.bfloat16 else result).numpy()
    array = np.ascontiguousarray(result) if np.ndim(result) else np.asarray(result)
    if array.dtype.str not in DTYPES:
        raise TypeError(f"the result is a {facts['kind']}; a tensor or a number is wanted")
    if array.nbytes > most_bytes:
        raise ValueError(f"the result takes {array.nbytes / 2**20:,.0f} MiB")
    return facts, array


def with_weights(module: nn.Module, weights: dict[str, np.ndarray]) -> nn.Module:
    """The module with these parameters; raises OtherParts if it has others."""
    own = dict(module.named_parameters())
    with torch.no_grad():
        for name, array in weights.items():
            if name not in own:
                raise OtherParts(f"no parameter {name}")
            if tuple(own[name].shape) != array.shape:
                raise OtherParts(f"{name} is {tuple(own[name].shape)}, not {array.shape}")
            own[name].copy_(torch.from_numpy(array))
    if surplus := sorted(set(own) - set(weights)):
        raise OtherParts(f"further parameters: {', '.join(surplus)[:200]}")
    return module


def answer(call: dict, arrays: dict[str, np.ndarray], names: dict, most_bytes: int) -> Message:
    """What the submission says to one question; the value itself, where a name is no function."""
    student: Callable = names[call["name"]]
    if call["sizes"] is not None:
        student = student(*(decoded(size, arrays) for size in call["sizes"]))
        if call["weights"]:
            weights = {name: arrays[key] for name, key in call["weights"].items()}
            student = with_weights(student, weights)
    arguments = [decoded(argument, arrays) for argument in call["arguments"]]
    asked = [a.requires_grad_() for a in arguments if isinstance(a, Tensor) and call["upstream"]]
    result = student(*arguments) if callable(student) else student
    facts, output = encoded(result, most_bytes)
    found = {"output": output}
    if call["upstream"]:
        result.backward(torch.from_numpy(arrays[call["upstream"]]))
        tensors = {f"input {n}": value for n, value in enumerate(asked)}
        tensors |= dict(student.named_parameters())
        found |= {
            f"gradient of {name}": np.zeros(tuple(value.shape), np.float32)
            if value.grad is None
            else encoded(value.grad, most_bytes)[1]
            for name, value in tensors.items()
        }
    return Message(facts, found)


def put_questions(
    request: Message, limits: Limits, names: dict, send: Callable[[Message], None]
) -> None:
    for number, call in enumerate(request.facts["calls"]):
        try:
            if call["name"] not in names:
                similar = [name for name in names if alike(name, call["name"])]
                raise NameNotFound(f"not defined; similar: {', '.join(similar[:3])[:200]}")
            with at_most(limits.call_seconds):
                reply = answer(call, request.arrays, names, limits.answer_mib * 2**20)
        except BaseException as error:  # SystemExit, too: the next question is asked all the same
            reply = Message({"error": described(error)}, {})
        send(reply._replace(facts=reply.facts | {"call": number}))


def alike(name: str, other: str) -> bool:
    return name.lower().replace("_", "") == other.lower().replace("_", "")


def main() -> None:
    request = read_message(sys.stdin.buffer)
    limits = Limits(**request.facts["limits"])
    results, nothing = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # nobody reads what a submission prints, be it 100 MB
        os.dup2(nothing, stream)

    def send(message: Message) -> None:
        data = memoryview(packed(message))
        while data:
            data = data[os.write(results, data) :]

    signal.signal(signal.SIGPROF, stop)
    signal.signal(signal.SIGALRM, stop)
    torch.set_num_threads(1)
    if request.facts["alone"]:  # bubblewrap sees to it elsewhere
        die_with_parent()
    limit_resources(limits, request.facts["alone"])
    os.chdir(os.environ["HOME"])  # the one place to write to
    send(Message({"ready": True, "filtered": filter_system_calls()}, {}))

    names = {"__name__": "__main__", "__builtins__": __builtins__}
    for name, source in request.facts["modules"].items():  # the public checks of the assignment
        module = sys.modules[name] = types.ModuleType(name)
        exec(compile(source, name, "exec"), module.__dict__)
    failures = run_cells(
        request.facts["prelude"],
        request.facts["cells"],
        names,
        lambda: at_most(limits.call_seconds),
        described,
    )
    send(Message({"failures": failures[:MOST_FAILURES]}, {}))
    put_questions(request, limits, names, send)
    send(Message({"finished": True}, {}))
    os._exit(0)  # whatever threads and exit handlers the submission has set up


if __name__ == "__main__":
    main()
