"""The house: a file imports from its own folder or from a floor below, never from above."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import annlib

PACKAGE = Path(annlib.__file__).parent
FLOORS = {"data": 1, "model": 1, "engine": 2, "speed": 3, "course": 4, "commands": 5, "__main__": 6}
FLOORS["__init__"] = 4  # the front door, for notebooks: offers names of the floors below
# Facts, and files from the network: they need nothing but the standard library.
FLAT = ("config", "zoo", "experiments", "downloads", "transfer")
SHOWING = {"matplotlib", "seaborn", "ipywidgets", "anywidget", "IPython", "nbformat", "nbclient"}
SHOWING |= {"nbconvert", "papermill", "jupytext"}
FILES = sorted(PACKAGE.rglob("*.py"))


def part_of(dotted: str) -> str:
    """annlib.data.io -> data, annlib.config -> config, annlib.ANN -> __init__"""
    part = (dotted.split(".") + ["__init__"])[1]
    return part if any(PACKAGE.glob(f"{part}*")) else "__init__"


def imports(source: str) -> Iterator[str]:
    """The dotted names that a source imports, those inside functions included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            if node.level or any(alias.name == "*" for alias in node.names):
                yield ".*"
            elif node.module == "annlib":
                yield from (f"annlib.{alias.name}" for alias in node.names)
            else:
                yield node.module


def forbidden(part: str, source: str) -> list[str]:
    """What a file of a part of annlib imports, but must not."""
    floor = FLOORS.get(part, 0)
    wrong = []
    for name in imports(source):
        top, other = name.partition(".")[0], part_of(name)
        if top == "annlib":
            wrong += [name] if other != part and FLOORS.get(other, 0) >= max(floor, 1) else []
        elif top in SHOWING:
            wrong += [name] if part != "course" else []
        elif part in FLAT and top not in sys.stdlib_module_names or top == "":
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_file_imports_from_its_floor_or_below(path: Path) -> None:
    first, *rest = path.relative_to(PACKAGE).parts
    part = first if rest else path.stem
    assert forbidden(part, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("part", "line"),
    [
        ("config", "import torch"),
        ("config", "import annlib.data.io"),
        ("downloads", "import requests"),
        ("data", "from annlib.model.ann import ANN"),
        ("data", "from annlib import model"),
        ("engine", "from annlib import ANN"),
        ("model", "from annlib.data.io import read_image"),
        ("model", "def f():\n    from annlib.engine.train import train"),
        ("engine", "from annlib.course import plots"),
        ("engine", "import matplotlib.pyplot"),
        ("commands", "from IPython.display import display"),
        ("data", "from .files import read_image"),
        ("data", "from annlib.data.io import *"),
    ],
)
def test_wrong_import_is_found(part: str, line: str) -> None:
    assert forbidden(part, line)


def test_every_folder_has_a_floor() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(FLOORS) - {"__main__", "__init__"}


def test_folders_are_opened_by_one_sentence_and_no_code() -> None:
    for path in PACKAGE.glob("*/**/__init__.py"):
        (only,) = ast.parse(path.read_text(encoding="utf-8")).body
        assert isinstance(only.value, ast.Constant), path
