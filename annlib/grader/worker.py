"""The worker: runs the cells of one submission, then answers the grader's questions about it.

It is the only process that runs a submission, and knows inputs but no answers. From stdin come the
cells, then the questions, then functions of the grader's own with the questions for them; to stdout
go a message that it is ready, one on the cells, one for each question, and a last one.
"""

import ast
import asyncio
import builtins
import inspect
import linecache
import os
import re
import signal
import sys
import tempfile
import time
import types
from codeop import Compile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from IPython.core.inputtransformer2 import TransformerManager
from torch import Tensor, nn

from annlib.grader.confine import Limits, die_with_parent, filter_system_calls, limit_resources
from annlib.grader.protocol import DTYPES, Message, packed, read_message

LONGEST_MESSAGE, MOST_FAILURES = 300, 10
CELL_MAGICS = ("time", "timeit", "capture", "prun")  # those around Python
OPTIONS = re.compile(r"(-[nrptcqo]\d*( \d+)? +)*")  # of %timeit
MOST_PASSES = 5
Names, Loop, Send = dict[str, object], asyncio.AbstractEventLoop, Callable[[Message], None]
PASSED_OVER = (ast.Import, ast.ImportFrom, ast.Expr, ast.Assert)  # the rest of a cell runs without
DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)  # after any other error


class Fault(Exception):
    """What is wrong with an answer, by a name that the grader knows."""


class OutOfTime(BaseException):
    """A cell or an answer took too long; no Exception, so that `except Exception` lets it pass."""


@contextmanager
def at_most(seconds: float):
    """Stops what runs inside after so many seconds of the processor, or thrice by the clock."""
    signal.setitimer(signal.ITIMER_PROF, seconds, 1)  # again, for code that catches all in a loop
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
    kind = message if type(error) is Fault else type(error).__name__[:60]
    return {"type": kind, "message": message}


class Shell:
    """Runs cells as IPython does. As `get_ipython()` it runs magics around Python, and no others.
    user_ns: the names that the cells define. loop: for `await`"""

    def __init__(self, user_ns: Names, loop: Loop):
        self.user_ns, self.loop, self.compile = user_ns, loop, Compile()  # remembers __future__
        self.compile.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        user_ns["display"] = self.display

    def run_cell(self, source: str) -> object:
        """Statement by statement; the value of the last. Raises the first error, in the end.
        An import or a call that fails, such as a check, does not stop the statements after it.
        After other errors, such as of a file that is not here, only definitions are taken."""
        first, value, stopped = None, None, False
        source, name = TransformerManager().transform_cell(source), f"<cell {len(linecache.cache)}>"
        linecache.cache[name] = len(source), None, source.splitlines(True), name  # for inspect
        for statement in ast.parse(source).body:
            if stopped and not isinstance(statement, DEFINITIONS):
                continue
            mode, tree = "exec", ast.Module([statement], [])
            if isinstance(statement, ast.Expr):
                mode, tree = "eval", ast.Expression(statement.value)
            code = self.compile(tree, name, mode)
            self.user_ns["get_ipython"] = lambda: self  # whatever the cell has imported
            try:
                asyncio._set_running_loop(self.loop)  # as in Jupyter: a cell can create tasks
                try:
                    value = eval(code, self.user_ns)
                finally:
                    asyncio._set_running_loop(None)
                if code.co_flags & inspect.CO_COROUTINE:
                    value = self.loop.run_until_complete(value)
            except BaseException as error:  # SystemExit and time limits, too
                first = first or error
                passed_over = isinstance(error, Exception) and isinstance(statement, PASSED_OVER)
                stopped = stopped or not passed_over
        if first:
            raise first
        return value

    def run_line_magic(self, name: str, line: str) -> object:
        if name == "run":  # a script beside the notebook; in the same names, as with -i
            script = Path(next(one for one in line.split() if one[0] != "-").strip("'\""))
            return self.run_cell(script.with_suffix(script.suffix or ".py").read_text("utf-8"))
        line = line if name == "time" else OPTIONS.sub("", line, 1)
        return self.run_cell(line) if name in ("time", "timeit") else None

    def run_cell_magic(self, name: str, line: str, cell: str) -> object:
        if name in ("writefile", "file"):
            with open(line.split()[-1], "a" if "-a" in line.split() else "w") as file:
                file.write(cell)
        return self.run_cell(cell) if name in CELL_MAGICS else None

    def getoutput(self, command: str) -> list[str]:
        return []

    def __getattr__(self, name: str) -> Callable:
        return lambda *arguments, **options: None


def run_cells(
    prelude: str, cells: list[str], names: Names, limits: Limits, loop: Loop, first: Names
) -> list[dict[str, object]]:
    """Runs them in order, in `names`; returns what failed, [{"cell": 3, "type": ..., ...}].
    first: takes what each name was at the end of the cell that defined it, whatever later ones did
    prelude: the imports of the assignment, for those who deleted them. A cell that misses a name
    is run again after the others: cells may have been moved. Once the time of all cells is used up,
    each of the others has a second, enough to define functions."""
    exec(prelude, names)
    first |= names
    shell, waiting, failures, outputs = Shell(names, loop), dict(enumerate(cells, 1)), {}, {}
    names |= {"In": ["", *cells], "Out": outputs, "_oh": outputs, "_dh": [os.getcwd()]}
    cpu, clock = time.process_time(), time.monotonic()
    for _ in range(MOST_PASSES):
        before = len(waiting)
        for number, source in waiting.items():
            failures.pop(number, None)
            spent = max(time.process_time() - cpu, (time.monotonic() - clock) / 2)
            try:
                with at_most(max(1, min(limits.call_seconds, limits.cells_seconds - spent))):
                    value = shell.run_cell(source)
                if value is not None:
                    names["_"] = outputs[number] = value
            except BaseException as error:  # SystemExit and time limits: the others still count
                failures[number] = {"cell": number} | described(error)
            first |= {name: value for name, value in names.items() if name not in first}
        waiting = {n: waiting[n] for n, found in failures.items() if found["type"] == "NameError"}
        if not waiting or len(waiting) == before:
            break
    return [failures[number] for number in sorted(failures)]


def decoded(argument: dict, arrays: dict[str, np.ndarray]) -> object:
    """An argument of a question: a tensor, a tuple, or what JSON holds."""
    if "array" in argument:
        return torch.from_numpy(arrays[argument["array"]].copy())
    return tuple(argument["tuple"]) if "tuple" in argument else argument["value"]


def encoded(result: object, most_bytes: int) -> np.ndarray:
    """A result as an array; raises TypeError for what is not a number or tensor."""
    if result is None or result is ...:
        raise Fault("NothingBack")
    kind = type(result).__name__[:60]
    if isinstance(result, Tensor):
        result = result.detach().cpu()
        result = (result.float() if result.dtype == torch.bfloat16 else result).numpy()
    array = np.ascontiguousarray(result) if np.ndim(result) else np.asarray(result)
    if array.dtype.str not in DTYPES:
        raise TypeError(f"the result is a {kind}; a tensor or a number is wanted")
    if array.nbytes > most_bytes:
        raise ValueError(f"the result takes {array.nbytes / 2**20:,.0f} MiB")
    return array


def with_weights(module: nn.Module, weights: dict[str, np.ndarray]) -> nn.Module:
    """The module with these parameters; raises Fault if it has others."""
    own = dict(module.named_parameters())
    if {n: tuple(w.shape) for n, w in own.items()} != {n: a.shape for n, a in weights.items()}:
        raise Fault("OtherParts")
    with torch.no_grad():
        for name, array in weights.items():
            own[name].copy_(torch.from_numpy(array))
    return module


def answer(call: dict, arrays: dict[str, np.ndarray], names: dict, most_bytes: int) -> Message:
    """What the submission answers to one question; or the value of a name."""
    student: Callable = names[call["name"]]
    if call["sizes"] is not None:
        student = student(*(decoded(size, arrays) for size in call["sizes"]))
        if call["weights"]:
            weights = {name: arrays[key] for name, key in call["weights"].items()}
            student = with_weights(student, weights)
    arguments = [decoded(argument, arrays) for argument in call["arguments"]]
    leaves = [a.requires_grad_() for a in arguments if isinstance(a, Tensor) and call["upstream"]]
    result = student(*arguments) if callable(student) else student
    found = {"output": encoded(result, most_bytes)}
    if call["upstream"]:
        result.backward(torch.from_numpy(arrays[call["upstream"]]))
        tensors = {f"input {n}": value for n, value in enumerate(leaves)}
        tensors |= dict(student.named_parameters())
        for name, value in tensors.items():
            gradient = torch.zeros(value.shape) if value.grad is None else value.grad
            found[f"gradient of {name}"] = encoded(gradient, most_bytes)
    return Message({}, found)


def put_questions(request: Message, limits: Limits, names: Names, send: Send) -> None:
    """Answers the calls by `names`, or by the request's own code, which sees these names."""
    if request.facts["own"]:
        names = {"names": names}
        exec(request.facts["own"], names)
    for number, call in enumerate(request.facts["calls"], request.facts["number"]):
        try:
            if call["name"] not in names:
                raise Fault("NameNotFound")
            torch.set_default_dtype(torch.float32)  # whatever cells have set for all that follows
            torch.set_default_device(None)
            torch.set_float32_matmul_precision("highest")
            torch.set_grad_enabled(True)
            with at_most(limits.call_seconds):
                reply = answer(call, request.arrays, names, limits.answer_mib * 2**20)
        except BaseException as error:  # SystemExit, too: the next question is asked all the same
            reply = Message({"error": described(error)}, {})
        send(reply._replace(facts=reply.facts | {"call": number}))


def changed(asked: list[str], first: dict, last: dict) -> dict[str, object]:
    """The first definitions of names that were defined again: of those asked for, or else of other
    functions and classes; in any case of modules and built-in functions, which a loop may hide."""
    built_in = {n: value for n, value in vars(builtins).items() if n in last and n[0] != "_"}
    usual = {n: v for n, v in (first | built_in).items() if n not in ("get_ipython", "display")}
    again = {n: value for n, value in usual.items() if last.get(n) is not value}
    tasks = {n: value for n, value in again.items() if n in asked}
    kinds = (types.ModuleType, types.BuiltinFunctionType)
    kinds += () if tasks else (types.FunctionType, type)
    return tasks | {n: v for n, v in again.items() if n in built_in or isinstance(v, kinds)}


def put_all(
    messages: Iterator[Message], limits: Limits, names: Names, earlier: Names, send: Send
) -> None:
    """Puts the questions, then once more to earlier definitions, if any; then those of own code."""
    request = next(messages)
    put_questions(request, limits, names, send)
    if earlier:
        last = {name: names.get(name) for name in earlier}
        names |= earlier
        again = request.facts | {"number": len(request.facts["calls"])}
        put_questions(request._replace(facts=again), limits, names, send)
        names |= last
    put_questions(next(messages), limits, names, send)


def main() -> None:
    requests = os.fdopen(os.dup(0), "rb")
    facts = read_message(requests).facts
    limits = Limits(**facts["limits"])
    results, nothing = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # nobody reads what a submission prints, be it 100 MB
        os.dup2(nothing, stream)

    def send(message: Message) -> None:
        data = memoryview(packed(message))
        while data:
            data = data[os.write(results, data) :]

    leave, os._exit = os._exit, sys.exit  # by which cells restart Colab, to use what they installed
    signal.signal(signal.SIGPROF, stop)
    signal.signal(signal.SIGALRM, stop)
    torch.set_num_threads(1)
    if facts["alone"]:  # bubblewrap sees to it elsewhere
        die_with_parent()
    limit_resources(limits, facts["alone"])
    os.chdir(tempfile.mkdtemp())  # below the home, the one place to write to
    sys.path.append("")  # as in Jupyter
    loop = asyncio.new_event_loop()  # for `await`; it makes a socket, which the filter refuses
    filter_system_calls()
    send(Message({"ready": True}, {}))

    for name, source in facts["modules"].items():
        if name.endswith(
            (".py", ".ipynb")
        ):  # the student's own; the others are the assignment's public checks
            Path(name).write_text(source, "utf-8")
            continue
        module = sys.modules[name] = types.ModuleType(name)
        exec(compile(source, name, "exec"), module.__dict__)
    sys.modules["__main__"] = notebook = types.ModuleType("__main__")  # for pickle and type hints
    names, first = vars(notebook), {}
    failures = run_cells(facts["prelude"], facts["cells"], names, limits, loop, first)
    earlier = changed(facts["names"], first, names)
    send(Message({"failures": failures[:MOST_FAILURES], "twice": bool(earlier)}, {}))
    put_all((read_message(requests) for _ in range(2)), limits, names, earlier, send)
    send(Message({"finished": True}, {}))
    leave(0)  # whatever threads and exit handlers the submission has set up


if __name__ == "__main__":
    main()
