"""Measure how much code a reader must follow, and print it as a Markdown table.

    python tools/yardstick.py                             the table of this checkout
    python tools/yardstick.py tools/yardstick_before.md   beside the values of that table

Each trace runs in a new process, so that modules are counted as a person's command loads them.
"""

import ast
import contextlib
import inspect
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "annlib"


# Adapters: the only names of annlib that this script knows. A module that moves gets its new place.
def first_of(*names: str) -> Any:
    """The first of these objects that exists, each given as module.name."""
    for module, _, name in (dotted.rpartition(".") for dotted in names):
        with contextlib.suppress(ModuleNotFoundError, AttributeError):
            return getattr(import_module(module), name)
    raise ImportError(f"None of {', '.join(names)} exists: add the new place to this script.")


def run_command(*words: str) -> None:
    """What `annlib WORDS` runs."""
    sys.argv = ["annlib", *words]
    first_of("annlib.__main__.main")()


def predict(folder: Path) -> None:
    run_command("predict", str(folder / "val/images/0.png"), "--out", str(folder / "out"))


def image_to_logits(folder: Path) -> None:
    """The shortest way from Python: an image file and the shipped weights -> logits."""
    import torch

    read_image = first_of("annlib.data.io.read_image", "annlib.data.files.read_image")
    shipped_model = first_of("annlib.model.build.shipped_model")  # as the lessons import it
    normalize = first_of(
        "annlib.data.transforms.normalize",
        "annlib.data.transforms.normalise",
        "annlib.data.normalise.normalise",
    )
    with torch.inference_mode():
        model = shipped_model("balloon_ann")
        model(normalize(read_image(folder / "val/images/0.png"))[None])


def training(folder: Path) -> None:
    run_command("train", "balloon_ann", "--iterations", "3", "--out", str(folder / "run"))


def evaluate(folder: Path) -> None:
    weights = str(ROOT / "data/weights/balloon_ann.safetensors")
    run_command(
        "evaluate",
        weights,
        "--data",
        str(folder),
        "--split",
        "val",
        "--out",
        str(folder / "scores"),
    )


def is_training_loop(code: CodeType) -> bool:
    """The generator that yields once a step."""
    return code.co_qualname == "train" and code.co_filename == str(
        PACKAGE / "engine/optimization.py"
    )


BLOCKS = ("PyramidPool", "AsymmetricAttention", "AFNB")  # what one reads to understand AFNB
CORE = ("config.py", "published_experiments.py", "experiments.py", "model/", "data/", "engine/")
# What section 2 of the plan keeps beside the core: the drawn data set, the preparation of data sets
# (with its checks), imitations of them. Old and new names, so that both tables count the same.
NOT_CORE = (
    "balloon_town/",
    "town",
    "painting",
    "planning",
    "scenery",
    "layout",
    "scenes",
    "prepar",
)
NOT_CORE += (
    "annotations",
    "convert",
    "unpacking",
    "check",
    "contact_sheet",
    "synthetic",
    "mimic",
    "mini",
)
# End of the adapters.

EXPLANATION = """\
Made by `python tools/yardstick.py`. A trace counts files / functions / lines of these functions /
lines of them that are executed / nested calls within annlib, without the code that draws Balloon
Town. A goal is for the first two or three of them.
"""
TRACES: dict[str, Callable[[Path], None]] = {
    "predict": predict,
    "image_to_logits": image_to_logits,
    "training": training,
    "evaluate": evaluate,
}


class Tracer:
    """Notes which functions and lines of annlib are executed, and how deep calls are nested.

    The bodies of modules and classes are left out, but not the functions that they call. Lambdas
    and generator expressions count as lines only. The code that draws Balloon Town, a data set
    that stands for files on disk, is left out.
    """

    def __init__(self, only_step: int | None = None):
        self.functions: set[tuple[str, str, int]] = set()
        self.lines: set[tuple[str, int]] = set()
        self.depth = 0  # the most frames of annlib on the stack, below `main`
        self.chain: list[str] = []  # frames of annlib from the command to the training loop
        self.only_step = only_step  # None: everything; n: between the yields of steps n - 1 and n
        self.yields = 0
        self.code: dict[CodeType, bool] = {}

    def is_counted(self, code: CodeType) -> bool:
        if code not in self.code:
            path = Path(code.co_filename)
            ours = path.is_relative_to(PACKAGE) and not is_beside_the_core(path)
            self.code[code] = ours and bool(code.co_flags & inspect.CO_OPTIMIZED)
        return self.code[code]

    def now(self) -> bool:
        return self.only_step is None or self.yields == self.only_step - 1

    def called(self, frame: FrameType, event: str, argument: object) -> Callable | None:
        if not self.is_counted(frame.f_code):
            return None
        ours, above = [], frame
        while above is not None:
            if self.is_counted(above.f_code) and above.f_code.co_name != "main":
                ours.append(above.f_code.co_qualname)
            above = above.f_back
        if self.now():
            self.depth = max(self.depth, len(ours))
            self.note(frame)
        if is_training_loop(frame.f_code) and not self.chain:
            self.chain = ours[::-1]
        return self.inside

    def note(self, frame: FrameType) -> None:
        code = frame.f_code
        if not code.co_name.startswith("<"):
            self.functions.add((code.co_filename, code.co_qualname, code.co_firstlineno))

    def inside(self, frame: FrameType, event: str, argument: object) -> Callable:
        if event == "line" and self.now():
            self.note(frame)  # a function that began before the step
            self.lines.add((frame.f_code.co_filename, frame.f_lineno))
        if event == "return" and is_training_loop(frame.f_code) and argument is not None:
            self.yields += 1
        return self.inside


def trace(what: str) -> None:
    """In a process of its own: prints what one of TRACES executes, as JSON."""
    import numpy as np
    from PIL import Image

    tracer = Tracer(3 if what == "training" else None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random = np.random.default_rng(0)
        for kind, values, shape in (("images", 256, (96, 128, 3)), ("labels", 3, (96, 128))):
            (folder / "val" / kind).mkdir(parents=True)
            for index in range(2):
                pixels = random.integers(values, size=shape, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / "val" / kind / f"{index}.png")
        threading.settrace(tracer.called)
        sys.settrace(tracer.called)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                TRACES[what](folder)
        finally:
            sys.settrace(None)
            threading.settrace(None)
    if tracer.only_step and tracer.yields < tracer.only_step:
        sys.exit("The training loop was not seen: is_training_loop needs its new place.")
    result = {
        "files": len({file for file, _, _ in tracer.functions}),
        "functions": len(tracer.functions),
        "lines": lines_of(tracer.functions),
        "executed": len(tracer.lines),
        "depth": tracer.depth,
        "chain": tracer.chain,
        "names": sorted({name for _, name, _ in tracer.functions}),
        "modules": len([m for m in sys.modules if m.partition(".")[0] == "annlib"]),
    }
    print(json.dumps(result))


def lines_of(functions: set[tuple[str, str, int]]) -> int:
    """Lines that one reads: the source of these functions, with decorators and docstrings."""
    lines: set[tuple[str, int]] = set()
    for file in {file for file, _, _ in functions}:
        starts = {start for other, _, start in functions if other == file}
        for node in ast.walk(ast.parse(Path(file).read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                start = min([node.lineno, *(one.lineno for one in node.decorator_list)])
                last = node.end_lineno + 1 if start in starts else start
                lines |= {(file, line) for line in range(start, last)}
    return len(lines)


def traced(what: str) -> dict[str, Any]:
    """The result of `trace` in a new process, on the CPU."""
    command = [sys.executable, __file__, "--trace", what]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"The trace {what!r} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules_with_one_importer(files: dict[Path, str]) -> int:
    """Modules that exactly one file imports, inside functions and for type checkers included.

    Importers are the files of annlib and the lessons' sources. `from annlib.course import plots`
    imports the module plots. `__init__` and `__main__` are importers, but are not counted.
    """
    modules = {module_name(path) for path in files}
    importers: dict[str, set[Path]] = defaultdict(set)
    sources = {path: path.read_text() for path in (ROOT / "notebooks/source").rglob("*.py")}
    for path, text in {**files, **sources}.items():
        for node in ast.walk(ast.parse(text)):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                whole = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [name if name in modules else node.module for name in whole]
            for name in names:
                importers[name].add(path)
    counted = {module_name(path) for path in files if not path.stem.startswith("__")}
    return sum(len(importers[name]) == 1 for name in counted)


def is_beside_the_core(path: Path) -> bool:
    inside = path.relative_to(PACKAGE).as_posix()
    return inside.startswith("data/") and inside.removeprefix("data/").startswith(NOT_CORE)


def is_core(path: Path) -> bool:
    inside = path.relative_to(PACKAGE).as_posix()
    return inside.startswith(CORE) and not is_beside_the_core(path)


def code_lines(node: ast.AST, text: str) -> int:
    """Lines of a class with code: no blank lines, comments or docstrings."""
    lines = set(range(node.lineno, node.end_lineno + 1))
    for inner in ast.walk(node):
        if isinstance(inner, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(inner):
            lines -= set(range(inner.body[0].lineno, inner.body[0].end_lineno + 1))
    texts = text.splitlines()
    return sum(not texts[n - 1].lstrip().startswith("#") for n in lines if texts[n - 1].strip())


def lines_of_blocks(files: dict[Path, str], executed: list[str]) -> str:
    """Code lines of BLOCKS, where the forward pass of `executed` runs them."""
    found = {}
    for path, text in files.items():
        for node in ast.parse(text).body if "model" in path.parts else []:
            if isinstance(node, ast.ClassDef) and node.name in BLOCKS:
                found[node.name] = code_lines(node, text)
    missing = [name for name in BLOCKS if f"{name}.forward" not in executed]
    total = f"{sum(found.values())}"
    return f"{total}; not run: {', '.join(missing)}" if missing else f"{total}, all of them run"


def is_one_return(node: ast.AST) -> bool:
    """Whether a function is a single `return`, apart from its docstring."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return len(body) == 1 and isinstance(body[0], ast.Return)


def measure() -> dict[str, tuple[str, str]]:
    """{question: (value of this checkout, goal)}"""
    files = {path: path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}
    sizes = {path: len(text.splitlines()) for path, text in files.items()}
    nodes = [node for text in files.values() for node in ast.walk(ast.parse(text))]
    functions = [n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    short = [p for p, size in sizes.items() if size < 40 and p.name != "__init__.py"]
    core = sum(size for path, size in sizes.items() if is_core(path))
    runs = {what: traced(what) for what in TRACES}

    def counts(what: str, *kinds: str) -> str:
        return " / ".join(str(runs[what][kind]) for kind in kinds)

    every = ("files", "functions", "lines", "executed", "depth")
    chain = runs["training"]["chain"]
    return {
        "trace of `annlib predict` on one image": (counts("predict", *every), "12 / 45 / 450"),
        "trace from Python, image file -> logits": (
            counts("image_to_logits", *every),
            "6 / 30 / 300",
        ),
        "trace of one warm training step": (counts("training", *every), "6 / 25"),
        "trace of `annlib evaluate --out` on two images": (counts("evaluate", *every), "14 / 60"),
        "annlib modules loaded by `annlib predict`": (counts("predict", "modules"), "25"),
        "frames from the command to the training loop": (f"{len(chain)}: {', '.join(chain)}", "3"),
        "files": (str(len(files)), "about 150"),
        "files under 40 lines": (str(len(short)), "10"),
        "modules with one importer": (str(modules_with_one_importer(files)), "40"),
        "package lines": (f"{sum(sizes.values()):,}", "21,000"),
        "core lines": (f"{core:,}", "4,500"),
        "code lines to understand AFNB": (
            lines_of_blocks(files, runs["image_to_logits"]["names"]),
            "110, all run",
        ),
        "functions; those that are a single `return`": (
            f"{len(functions):,}; {sum(map(is_one_return, functions))}",
            "",
        ),
    }


def table(values: dict[str, tuple[str, str]], before: str | None = None) -> str:
    """Markdown; with the values of an earlier table in between."""
    rows = [["question", "value", "goal (at most)"]]
    rows += [[question, *pair] for question, pair in values.items()]
    if before is not None:
        lines = [line.strip("| ").split(" | ") for line in before.splitlines() if "|" in line]
        earlier = {line[0]: line[1] for line in lines}
        earlier["question"] = "before"
        rows = [[question, earlier.get(question, ""), *rest] for question, *rest in rows]
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--trace"]:
        trace(sys.argv[2])
    else:
        before = Path(sys.argv[1]).read_text() if sys.argv[1:] else None
        print(EXPLANATION)
        print(table(measure(), before))
