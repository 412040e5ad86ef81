"""The layers of the package: a file imports from its own folder or from a lower layer."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import annlib

PACKAGE = Path(annlib.__file__).parent
LAYERS = {"data": 1, "model": 1, "engine": 2, "course": 3, "grader": 4}
LAYERS |= {"assignments": 5, "cli": 6, "__main__": 7}  # assignments: in the folder course
LAYERS["__init__"] = 4  # offers names of the layers below to notebooks
STANDARD_LIBRARY_ONLY = ("config", "published_experiments", "experiments")
NOTEBOOK_PACKAGES = {"matplotlib", "seaborn", "ipywidgets", "anywidget", "IPython", "nbformat"}
NOTEBOOK_PACKAGES |= {"nbclient", "nbconvert", "papermill", "jupytext"}


def part_of(dotted: str) -> str:
    """annlib.data.io -> data, annlib.config -> config, annlib.ANN -> __init__"""
    if dotted.startswith("annlib.course.assignments"):
        return "assignments"
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
    layer = LAYERS.get(part, 0)
    wrong = []
    for name in imports(source):
        top, other = name.partition(".")[0], part_of(name)
        if top == "annlib":
            wrong += [name] if other != part and LAYERS.get(other, 0) >= max(layer, 1) else []
        elif top in NOTEBOOK_PACKAGES:
            wrong += [name] if part not in ("course", "grader", "assignments") else []
        elif (
            top in ("benchmarks", "tests", "tools")
            or part in STANDARD_LIBRARY_ONLY
            and top not in sys.stdlib_module_names
            or top == ""
        ):
            wrong.append(name)
    return wrong


def test_every_file_imports_from_its_layer_or_below() -> None:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        first, *rest = path.relative_to(PACKAGE).parts
        folder = str(path.parent.relative_to(PACKAGE))
        part = "assignments" if folder == "course/assignments" else first if rest else path.stem
        wrong = forbidden(part, path.read_text(encoding="utf-8"))
        if wrong:
            found[str(path.relative_to(PACKAGE))] = wrong
    assert found == {}


@pytest.mark.parametrize(
    ("part", "line"),
    [
        ("config", "import torch"),
        ("config", "import annlib.data.io"),
        ("data", "from annlib.model.ann import ANN"),
        ("data", "from annlib import model"),
        ("engine", "from annlib import ANN"),
        ("model", "from annlib.data.io import read_image"),
        ("model", "def f():\n    from annlib.engine.optimization import train"),
        ("engine", "from annlib.course import plots"),
        ("engine", "import matplotlib.pyplot"),
        ("course", "from annlib.grader.intake import collect"),
        ("grader", "from annlib.course.assignments.a1 import A1"),
        ("course", "from benchmarks.common import Machine"),
        ("cli", "from IPython.display import display"),
        ("data", "from .files import read_image"),
        ("data", "from annlib.data.io import *"),
    ],
)
def test_wrong_import_is_found(part: str, line: str) -> None:
    assert forbidden(part, line)


def test_every_folder_has_a_layer() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(LAYERS) - {"__main__", "__init__", "assignments"}
