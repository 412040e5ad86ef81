"""docs/colab.ipynb: its cells run, and the first one does on Colab what it says."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

import annlib

PATH = Path(annlib.__file__).parents[1] / "docs/colab.ipynb"
NOTEBOOK = nbformat.read(PATH, as_version=4)
INSTALL, LOOK, LESSONS = (cell.source for cell in NOTEBOOK.cells if cell.cell_type == "code")


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list:
    """What the first cell does, on a stand-in for Colab."""
    done: list = []
    output = ModuleType("google.colab.output")
    output.enable_custom_widget_manager = lambda: done.append("widgets")
    colab = ModuleType("google.colab")
    colab.output = output
    for name, module in {"google": ModuleType("google"), "google.colab": colab}.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(subprocess, "run", lambda words, check: done.append(words[-1]))
    return done


def test_notebook_says_that_it_is_untested_and_holds_no_outputs() -> None:
    nbformat.validate(NOTEBOOK)
    assert "Nobody has run this notebook on Colab yet" in NOTEBOOK.cells[0].source
    assert not any(cell.get("outputs") for cell in NOTEBOOK.cells)


def test_elsewhere_nothing_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    exec(INSTALL, {})
    assert "nothing was installed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wheel", "wanted"),
    [
        ("https://a.org/annlib.whl", "annlib[course] @ https://a.org/annlib.whl"),
        ("annlib.whl", "annlib.whl[course]"),
    ],
)
def test_on_colab_it_installs_the_wheel_and_allows_widgets(
    done: list, wheel: str, wanted: str
) -> None:
    exec(INSTALL.replace('WHEEL = ""', f"WHEEL = {wheel!r}"), {})
    assert done == [wanted, "widgets"]


def test_on_colab_an_empty_address_is_reported(done: list) -> None:
    with pytest.raises(ValueError, match="WHEEL is empty"):
        exec(INSTALL, {})
    assert done == []


def test_first_look_shows_the_explorer_and_lessons_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(LOOK, {})
    monkeypatch.setenv("PYTHONPATH", str(PATH.parents[1]))
    exec(LESSONS, {})
    assert "04_pyramid_sampling.ipynb" in capsys.readouterr().out
