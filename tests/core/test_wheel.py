"""The wheel holds what the commands read, and works where there is no checkout."""

import fnmatch
import os
import runpy
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import annlib
from tools.release import built, contents, sources

ROOT = Path(annlib.__file__).parents[1]
PATTERNS = runpy.run_path(str(ROOT / "setup.py"))["PATTERNS"]
LEFT_OUT = ("data/reference/*", "data/results/widgets/*", "*.png")  # no command reads them
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
COMMANDS = """
--version
list
data scenes town --count 2
data check folder town
predict town/images/000000.png
train balloon_ann --iterations 2
evaluate runs/balloon_ann-seed0/last.safetensors
course lessons
assign release A1
sweep notebooks/jobs/heads_and_seeds.json --count
weights list
lessons run 00 --jobs 1"""


def tracked(*folders: str) -> list[str]:
    command = ("git", "ls-files", "-z", *folders)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    return [name for name in done.stdout.split("\0") if (ROOT / name).is_file()]


def test_wheel_holds_every_lesson_and_result_that_is_not_left_out_by_name() -> None:
    missing = [
        name
        for name in tracked("data", "notebooks")
        if not any(fnmatch.fnmatch(name, pattern) for pattern in (*PATTERNS, *LEFT_OUT))
    ]
    assert missing == []
    assert [pattern for pattern in PATTERNS if not any(ROOT.glob(pattern))] == []


@pytest.mark.all
@pytest.mark.timeout(900)  # a minute where nothing else runs
@pytest.mark.filterwarnings("default")  # of tarfile, from Python 3.12 on
def test_commands_and_a_lesson_run_from_the_wheel_alone(tmp_path: Path) -> None:
    source = sources(ROOT, tmp_path / "source")
    with tarfile.open(built(source, "sdist", tmp_path / "out")) as archive:
        archive.extractall(tmp_path / "sdist")
    (unpacked,) = (tmp_path / "sdist").iterdir()
    wheel = built(source, "wheel", tmp_path / "out")
    assert contents(wheel) == contents(built(unpacked, "wheel", tmp_path / "again"))
    assert wheel.name.startswith(f"annlib-{annlib.__version__}-")
    assert wheel.stat().st_size < 10e6
    shutil.rmtree(unpacked)

    subprocess.run(
        (sys.executable, "-m", "venv", "--without-pip", "venv"), cwd=tmp_path, check=True
    )
    python = tmp_path / "venv/bin/python"
    pip = (sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", str(wheel))
    subprocess.run(pip, check=True, env=os.environ | OFFLINE, cwd=tmp_path)
    (packages,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    dependencies = [path for path in sys.path if path.endswith("-packages")]
    (packages / "dependencies.pth").write_text("\n".join(dependencies))
    unset = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    shared = [str(Path(path).parents[2] / "share/jupyter") for path in dependencies]
    unset["JUPYTER_PATH"] = os.pathsep.join(shared)  # templates of nbconvert, beside site-packages
    away = tmp_path / "away"
    away.mkdir()
    where = (python, "-c", "import annlib; print(annlib.__file__)")
    told = subprocess.run(where, cwd=away, env=unset, capture_output=True, text=True, check=True)
    assert Path(told.stdout).is_relative_to(packages)
    for words in COMMANDS.split("\n")[1:]:
        command = (python, "-m", "annlib", *words.split())
        done = subprocess.run(command, cwd=away, env=unset, capture_output=True, text=True)
        findings = [line for line in done.stdout.splitlines() if ".ipynb [" in line]
        late = bool(findings) and all("[time]" in line for line in findings)  # a busy machine
        assert done.returncode == 0 or late, f"annlib {words}\n{done.stdout}\n{done.stderr}"
    assert (away / "lessons/00_start_here.ipynb").is_file()
    assert (away / "build/course/index.html").is_file()
