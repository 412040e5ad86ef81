"""README.md and docs: commands run as they stand there, what they name exists, numbers agree."""

import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_town
from PIL import Image

from annlib import __main__
from annlib.course import profiler
from annlib.data.balloon_town.dataset import write_scenes
from annlib.engine import predictor
from annlib.model import build
from annlib.published_experiments import published

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = {"README.md": README} | {
    f"docs/{path.name}": path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("docs/*.md"))
}
TEXT = "\n".join(DOCUMENTS.values())
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = re.findall(r"^(?:\.venv/bin/)?annlib (.*)", "\n".join(BLOCKS), re.MULTILINE)

BIG_BLOCKS = "\n".join(re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL))
BIG_COMMANDS = re.findall(r"^(?:torchrun .* -m )?annlib (.*)", BIG_BLOCKS, re.MULTILINE)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Small experiments of three steps; photographs; a shipped network."""
    for module, name, value in small_town.CHANGES:
        monkeypatch.setattr(module, name, value)
    few = {
        name: replace(experiment, train=replace(experiment.train, iterations=3))
        for name, experiment in small_town.LAPTOP.items()
    }
    monkeypatch.setattr(small_town.experiments, "LAPTOP", few)
    monkeypatch.setattr(profiler, "pace", lambda *arguments: profiler.Pace(60.0, 0.0))
    for module in (build, predictor):
        monkeypatch.setattr(module, "SHIPPED", Path())
    monkeypatch.chdir(tmp_path)
    for name in ("balloon_ann", "streets_ann"):
        Path(f"{name}.safetensors").symlink_to("runs/balloon_ann-seed0/last.safetensors")


def some_photographs() -> None:
    for split, seed in (("train", 0), ("val", 50)):
        write_scenes(f"my_streets/{split}", 2, seed)
    Path("my_streets/train/classes.txt").rename("my_streets/classes.txt")
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    for name in ("photo.jpg", "china.jpg"):
        Image.fromarray(noise).save(name)


def test_commands_run_one_after_the_other(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    some_photographs()
    assert len(COMMANDS) >= 7
    for command in COMMANDS:
        monkeypatch.setattr(sys, "argv", ["annlib", *shlex.split(command, comments=True)])
        __main__.main()


@pytest.mark.parametrize("words", BIG_COMMANDS)
def test_command_that_needs_more_than_a_laptop_is_understood(words: str) -> None:
    command = __main__.read_command(shlex.split(words, comments=True))
    name = getattr(command, "name", getattr(command, "network", getattr(command, "experiment", "")))
    assert not str(name).startswith("ann_") or published(name)


def test_make_targets_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    wanted = re.findall(r"^make ([a-z]+)", "\n".join(BLOCKS), re.MULTILINE)
    assert wanted
    assert set(wanted) <= set(targets)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        (n, x)
        for n, text in DOCUMENTS.items()
        for x in re.findall(r"\]\((?!http)([^)#]+)[)#]", text)
    ],
)
def test_link_leads_somewhere(name: str, target: str) -> None:
    assert (ROOT / name).parent.joinpath(target).exists()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\btests/[\w/]+\.py", TEXT))))
def test_test_that_is_named_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize(
    "part", re.findall(r"^\*\*[^|]+\]\(data/results.*?\n\n\|.*?\n\n", README, re.M | re.S)
)
def test_numbers_of_a_result_are_those_of_its_table(part: str) -> None:
    (source,) = re.findall(r"\]\((data/results/[^)]+\.md)\)", part)
    text = (ROOT / source).read_text(encoding="utf-8")
    known = [float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)]

    def agrees(shown: str) -> bool:
        """Rounded, or rounded after a change of the unit from ms to s."""
        digits = len(shown.partition(".")[2])
        return any(round(n / unit, digits) == float(shown) for n in known for unit in (1, 1000))

    shown = re.findall(r"\d+(?:\.\d+)?", part[part.index("|---") :])
    assert len(shown) > 10 and [number for number in shown if not agrees(number)] == []


def test_there_are_results_to_compare() -> None:
    assert len(re.findall(r"^\*\*.*?\]\(data/results", README, re.MULTILINE | re.DOTALL)) >= 3
