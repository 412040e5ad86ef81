"""environment.yml, pyproject.toml and requirements.lock say the same."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

yaml = pytest.importorskip("yaml", reason="comes with Jupyter")
ROOT = Path(__file__).parents[2]
ON_DEMAND = ("reference", "openvino", "types")  # extras that no environment of ours contains
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib", "seaborn-base": "seaborn"}

Ranges = dict[str, SpecifierSet]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def pip_ranges(text: str) -> Ranges:
    """The direct dependencies of pyproject.toml, its extras included but for those on demand."""
    project = tomllib.loads(text)["project"]
    groups = project["optional-dependencies"]
    extras = [line for name, lines in groups.items() if name not in ON_DEMAND for line in lines]
    found = [Requirement(line) for line in [*project["dependencies"], *extras]]
    python = {"python": SpecifierSet(project["requires-python"])}
    return python | {requirement.name: requirement.specifier for requirement in found}


def conda_ranges(text: str) -> Ranges:
    """The direct dependencies of environment.yml under their names on PyPI."""
    lines = yaml.safe_load(text)["dependencies"]
    plain = [line for line in lines if isinstance(line, str) and line != "pip"]
    by_pip = [line for part in lines if isinstance(part, dict) for line in part["pip"]]
    found = [Requirement(line) for line in plain + by_pip]
    return {CONDA_NAMES.get(one.name, one.name): one.specifier for one in found}


def locked(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in (x.split("==") for x in lines)}


def test_conda_and_pip_install_the_same_ranges() -> None:
    assert conda_ranges(text_of("environment.yml")) == pip_ranges(text_of("pyproject.toml"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("einops>=0.8", "einops>=0.7"),
        ("  - einops>=0.8\n", ""),
        ("pytorch>=", "pytorch-cpu>="),
        ("<3.13", "<3.14"),
        ("  - pip:", "  - rich\n  - pip:"),
        ("playwright>=1.50", "playwright>=1.51"),
        ("python>=3.11", "python>=3.12"),
    ],
)
def test_changed_environment_is_noticed(old: str, new: str) -> None:
    text = text_of("environment.yml")
    assert old in text
    assert conda_ranges(text.replace(old, new)) != pip_ranges(text_of("pyproject.toml"))


def test_locked_versions_lie_in_the_ranges() -> None:
    versions = locked(text_of("requirements.lock"))
    ranges = pip_ranges(text_of("pyproject.toml"))
    del ranges["python"]
    outside = [name for name, allowed in ranges.items() if versions[name] not in allowed]
    assert outside == []


def test_what_is_on_demand_is_installed_by_nothing_but_its_extra() -> None:
    extras = tomllib.loads(text_of("pyproject.toml"))["project"]["optional-dependencies"]
    lines = [line for extra in ON_DEMAND for line in extras[extra] if not line.startswith("annlib")]
    names = {canonicalize_name(Requirement(line).name) for line in lines}
    assert {"mmsegmentation", "openvino", "pyright"} <= names
    assert not names & locked(text_of("requirements.lock")).keys()
    installed = re.findall(r"'\.\[([\w,]+)\]'", text_of("Makefile"))
    assert installed and not {*ON_DEMAND} & {*",".join(installed).split(",")}


def test_lock_holds_names_and_versions_only() -> None:
    for line in text_of("requirements.lock").splitlines():
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.]+", line), line


def test_every_package_folder_is_installed() -> None:
    packages = tomllib.loads(text_of("pyproject.toml"))["tool"]["setuptools"]["packages"]
    folders = [path.parent for path in (ROOT / "annlib").rglob("__init__.py")]
    assert sorted(packages) == sorted(".".join(f.relative_to(ROOT).parts) for f in folders)
