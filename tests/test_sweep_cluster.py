"""data/cluster/sweep.sbatch: run here, with a stand-in for srun."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import tyro

from annlib.__main__ import CONFIG, Command
from annlib.cli.sweep import Sweep
from annlib.course.sweeping.grid import read_grid

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "data/cluster/sweep.sbatch"
README = (ROOT / "data/cluster/README.md").read_text(encoding="utf-8")


def submit(folder: Path, *arguments: str, **others: str) -> subprocess.CompletedProcess:
    (folder / "bin").mkdir(exist_ok=True)
    (folder / ".venv/bin").mkdir(parents=True, exist_ok=True)
    (folder / ".venv/bin/activate").touch()
    srun = folder / "bin/srun"
    srun.write_text('#!/bin/bash\nprintf "%q " "$@" > call; echo "$IPYTHONDIR" > scratch\n')
    srun.chmod(0o755)
    known = {"PATH": f"{folder}/bin:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": "7"}
    known |= {"SLURM_CPUS_PER_TASK": "1"} | others
    return subprocess.run(
        ["bash", str(SCRIPT), *arguments], env=known, cwd=folder, capture_output=True, text=True
    )


def called(folder: Path) -> Sweep:
    """The command of the step, as annlib reads it."""
    words = shlex.split((folder / "call").read_text())
    assert words[:4] == ["--cpus-per-task=1", "python", "-m", "annlib"]
    command = tyro.cli(Command, args=words[4:], config=CONFIG)
    assert isinstance(command, Sweep)
    return command


def test_task_n_of_the_array_runs_combination_n(tmp_path: Path) -> None:
    assert submit(tmp_path, "my grids/bins.json").returncode == 0
    command = called(tmp_path)
    assert (command.grid, command.only) == (Path("my grids/bins.json"), 7)
    assert command.out == command.folder == Path("runs/sweep-bins")
    assert not Path((tmp_path / "scratch").read_text().strip()).parent.exists()


def test_another_folder_can_be_named(tmp_path: Path) -> None:
    submit(tmp_path, "bins.json", OUT="a folder")
    assert called(tmp_path).out == Path("a folder")


def test_script_without_a_grid_says_how_to_call_it(tmp_path: Path) -> None:
    found = submit(tmp_path)
    assert found.returncode != 0 and "name the grid" in found.stderr


@pytest.mark.parametrize("form", ["--count", "--table"])
def test_commands_in_the_readme_parse(form: str) -> None:
    lines = re.findall(rf"annlib (sweep notebooks/\S+ {form})", README)
    assert lines
    for line in lines:
        command = tyro.cli(Command, args=shlex.split(line), config=CONFIG)
        assert len(read_grid(ROOT / command.grid).combinations) == 12


def test_grid_in_the_readme_is_the_one_in_the_file() -> None:
    (told,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    assert told == (ROOT / "notebooks/jobs/bins.json").read_text()
