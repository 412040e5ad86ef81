"""annlib grade and its array job: shares are all that there is, words arrive as they should."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from in_process import ROOT

from annlib import __main__
from annlib.__main__ import read_command
from annlib.cli.assignments import Grade, share_of
from annlib.grader import batch, sandbox

SCRIPT = ROOT / "data/cluster/grade.sbatch"


@pytest.mark.parametrize(("count", "shares"), [(10, 3), (2, 5), (1, 1)])
def test_shares_together_are_all_and_none_twice(count: int, shares: int) -> None:
    found = list(range(count))
    parts = [share_of(found, (number, shares), 7) for number in range(1, shares + 1)]
    assert sorted(one for part in parts for one in part) == found


@pytest.mark.parametrize(
    ("share", "seed"), [((0, 3), 7), ((4, 3), 7), ((1, 3), None)], ids=["0 of 3", "4 of 3", "seed"]
)
def test_a_share_that_would_lose_work_is_refused(share: tuple[int, int], seed: int | None) -> None:
    with pytest.raises(ValueError, match="--share"):
        share_of([1, 2, 3], share, seed)


def called(folder: Path, words: list[str], variables: dict[str, str]) -> Grade:
    """A dry run: a script with a scheduler's variables, and a command that only tells its words."""
    (folder / "bin").mkdir()
    (folder / "bin/activate").write_text(f"PATH={folder}/bin:$PATH\n")
    command = folder / "bin/annlib"
    command.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    command.chmod(0o755)
    known = os.environ | {"VENV": str(folder), "PATH": f"{folder}/bin:{os.environ['PATH']}"}
    done = subprocess.run(words, env=known | variables, capture_output=True, text=True, check=True)
    given = read_command(done.stdout.splitlines())
    assert isinstance(given, Grade)
    return given


def test_array_job_calls_the_command_with_its_share(tmp_path: Path) -> None:
    variables = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "10"}
    given = called(tmp_path, ["bash", str(SCRIPT), "A1", "my class", "42"], variables)
    assert (given.share, given.seed, given.resume) == ((2, 10), 42, True)
    assert given.submissions == Path("my class")


def test_pods_of_the_kubernetes_job_grade_all_shares_once(tmp_path: Path) -> None:
    job = yaml.safe_load(SCRIPT.with_name("grade.yaml").read_text(encoding="utf-8"))["spec"]
    (container,) = job["template"]["spec"]["containers"]
    variables = {one["name"]: one["value"] for one in container["env"]}
    shares = []
    for index in range(job["completions"]):
        (tmp_path / str(index)).mkdir()
        variables["JOB_COMPLETION_INDEX"] = str(index)
        words = [*container["command"], *container["args"]]
        given = called(tmp_path / str(index), words, variables)
        assert (given.assignment, given.seed, given.resume) == ("A1", 4242, True)
        shares.append(given.share)
    assert shares == [(number, len(shares)) for number in range(1, len(shares) + 1)]


def test_without_a_sandbox_the_command_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "class").mkdir()
    (tmp_path / "class/anna.ipynb").write_text("{")
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    words = ["annlib", "grade", "A1", str(tmp_path / "class"), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match="apt install bubblewrap"):
        __main__.main()


@pytest.mark.parametrize(
    "probe", [sandbox.PROBE, "open(__import__('sys').argv[2] + '.probe', 'x')"]
)
def test_a_sandbox_that_is_not_tight_is_found_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, probe: str
) -> None:
    """Here it is none at all: the probe sees the tests, and what it writes is on the disk."""
    below = tmp_path / "annlib/grader/sandbox.py"
    below.parent.mkdir(parents=True)
    below.touch()
    (tmp_path / "tests").mkdir()
    monkeypatch.setattr(sandbox, "__file__", str(below))
    monkeypatch.setattr(sandbox, "PROBE", probe)
    monkeypatch.setattr(sandbox, "bubblewrap", lambda stage, user: ("/usr/bin/env",))
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: "/usr/bin/bwrap")
    monkeypatch.setattr(sandbox, "started_by_root", lambda: False)
    assert "not tight" in sandbox.why_not()
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".probe"] == []


def test_unsafe_grading_is_announced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "class").mkdir()
    (tmp_path / "class/anna.ipynb").write_text("{")  # nothing to run: no worker is needed
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    Grade("A1", tmp_path / "class", out=tmp_path / "out", unsafe=True).run()
    shown = capsys.readouterr()
    assert "NOT ISOLATED" in shown.err and "Started by root" not in shown.err
    assert "damaged" in (tmp_path / "out/grades.csv").read_text(encoding="utf-8")
    assert batch.result_path(tmp_path / "out", "anna").exists()


@pytest.mark.parametrize("option", ["roster", "late", "requests", "points"])
def test_a_list_that_cannot_be_read_is_not_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, option: str
) -> None:
    """Else every later call would fail by a file that nobody has made."""
    (tmp_path / "class").mkdir()
    (tmp_path / "class/anna.ipynb").write_text("{")
    given = tmp_path / "course.xlsx"
    with zipfile.ZipFile(given, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    how = {"out": tmp_path / "out", "unsafe": True}
    with pytest.raises(ValueError, match=f"{given} .*workbook .*save it as CSV"):
        Grade("A1", tmp_path / "class", **how, **{option: given}).run()
    with pytest.raises(FileNotFoundError):
        Grade("A1", tmp_path / "class", **how, **{option: tmp_path / "nowhere.csv"}).run()
    Grade("A1", tmp_path / "class", **how).run()
    assert (tmp_path / "out/grades.csv").exists()


def test_root_grades_only_under_the_user_that_it_gives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "class").mkdir()
    (tmp_path / "class/anna.ipynb").write_text("{")  # nothing to run: no worker is needed
    monkeypatch.setattr(sandbox, "started_by_root", lambda: True)
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(sandbox, "bubblewrap", lambda stage, user: ("/usr/bin/env",))
    monkeypatch.setattr(sandbox, "PROBE", "print('nothing')")
    folders = (tmp_path / "class", tmp_path / "out")
    with pytest.raises(ValueError, match="ordinary user.*--as-user nobody"):
        Grade("A1", folders[0], out=folders[1]).run()
    for name in ("root", "0", "nobody-of-this-name", "-1"):
        with pytest.raises(ValueError, match="never as root"):
            Grade("A1", folders[0], out=folders[1], as_user=name).run()
    Grade("A1", folders[0], out=folders[1], as_user="12345").run()
    assert "damaged" in (tmp_path / "out/grades.csv").read_text(encoding="utf-8")
    monkeypatch.setattr(sandbox, "started_by_root", lambda: False)
    with pytest.raises(ValueError, match="only root can run workers as another user"):
        Grade("A1", folders[0], out=folders[1], as_user="12345").run()
