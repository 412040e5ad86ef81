"""docs/recipes.md: every block runs."""

import re
from pathlib import Path

import pytest

import annlib

TEXT = (Path(annlib.__file__).parents[1] / "docs/recipes.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python ?(\w*)\n(.*?)```", TEXT, re.DOTALL)


def run(kinds: tuple[str, ...]) -> None:
    names: dict = {"__name__": "recipes"}
    for kind, code in BLOCKS:
        if kind in kinds:
            exec(compile(code, "docs/recipes.md", "exec"), names)


def test_recipes_run_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib", reason="a recipe draws")
    monkeypatch.chdir(tmp_path)
    run(("",))
    assert Path("attention.png").is_file()


def test_torchmetrics_agrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchmetrics")
    monkeypatch.chdir(tmp_path)
    run(("", "torchmetrics"))


@pytest.mark.all
@pytest.mark.filterwarnings("ignore")  # Lightning's own
def test_lightning_trains_and_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lightning")
    monkeypatch.chdir(tmp_path)
    run(("", "lightning"))


@pytest.mark.all
@pytest.mark.filterwarnings("ignore")  # torch.compile's own
def test_large_recipes_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled")
    )  # no other's leftovers
    monkeypatch.chdir(tmp_path)
    run(("", "slow"))
