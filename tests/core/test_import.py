"""What has to be installed for which part of annlib."""

import ast
import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import annlib

PACKAGE = Path(annlib.__file__).parent
CORE = ("torch", "torchvision", "numpy", "pillow", "einops", "safetensors", "tqdm")
FACTS = ("annlib", "annlib.published_experiments", "annlib.experiments")
NETWORK = "annlib.model.checkpoint"  # after the facts, before all others
BLOCK = """
import importlib, json, sys
class Without:
    finders = list(sys.meta_path)
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {blocked!r}:
            specs = (finder.find_spec(name, path, target) for finder in self.finders)
            return next((spec for spec in specs if spec), None)
sys.meta_path[:] = [Without()]
loaded = {{}}
for module in {modules!r}:
    importlib.import_module(module)
    loaded[module] = [*sys.modules]
print(json.dumps(loaded))
"""


def needed_by(name: str, found: set[str]) -> set[str]:
    """The package and all that it requires here, added to `found`."""
    if canonicalize_name(name) in found:
        return found
    found.add(canonicalize_name(name))
    try:
        lines = requires(name) or []
    except PackageNotFoundError:
        return found
    for requirement in map(Requirement, lines):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            needed_by(requirement.name, found)
    return found


def not_needed() -> list[str]:
    """Importable names of all that is installed here, but not needed by the core."""
    core: set[str] = {"annlib", "setuptools"}
    for name in CORE:
        needed_by(name, core)
    return sorted(
        module
        for module, distributions in packages_distributions().items()
        if not core & {canonicalize_name(name) for name in distributions}
    )


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def modules_below_the_course() -> list[str]:
    folders = ("data", "model", "engine")
    paths = [*PACKAGE.glob("*.py"), *(p for f in folders for p in (PACKAGE / f).glob("*.py"))]
    return [dotted(path) for path in paths if path.stem not in ("__init__", "__main__")]


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """Modules of a new process after each import, one after another, without what is not needed."""
    modules = [*FACTS, NETWORK, *modules_below_the_course()]
    program = BLOCK.format(blocked=not_needed(), modules=[*dict.fromkeys(modules)])
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return {module: set(names) for module, names in json.loads(result.stdout).items()}


@pytest.mark.slow
def test_library_needs_the_core_packages_only(loaded: dict[str, set[str]]) -> None:
    blocked = set(not_needed())
    assert {"tyro", "matplotlib", "IPython", "jupytext", "pandas"} <= blocked
    assert {*modules_below_the_course()} <= set(loaded)
    assert not blocked & set().union(*loaded.values())


def test_front_door_offers_the_same_names_to_programs_and_editors() -> None:
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    offered = {alias.asname: node.module for node in imports for alias in node.names}
    assert offered == annlib.HOMES and [*offered] == annlib.__all__


@pytest.mark.parametrize("name", annlib.__all__)
def test_name_of_the_front_door_is_that_of_its_home(name: str) -> None:
    assert getattr(annlib, name) is getattr(sys.modules[annlib.HOMES[name]], name)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'annlib' has no attribute 'ANM'"):
        annlib.ANM  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize("module", FACTS)
def test_facts_load_nothing_heavy(module: str, loaded: dict[str, set[str]]) -> None:
    assert not {"torch", "numpy", "PIL"} & loaded[module]


@pytest.mark.slow
def test_network_loads_no_pictures_and_no_torchvision(loaded: dict[str, set[str]]) -> None:
    assert not {"torchvision", "PIL", "matplotlib", "IPython"} & loaded[NETWORK]
