"""Where a result comes from is said exactly, and says nothing about who made it where."""

import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy
import pytest
import torch

from annlib.engine import results as module
from annlib.engine.results import command, git_state, provenance, write_results

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    done = subprocess.run(
        ["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with one commit of annlib/a.py."""
    (tmp_path / "annlib").mkdir()
    (tmp_path / "annlib/a.py").write_text("a = 1\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "one")
    return tmp_path


def test_versions_are_those_that_are_imported() -> None:
    versions = provenance()["versions"]
    assert versions["torch"] == torch.__version__
    import torchvision

    assert versions["torchvision"].split("+")[0] == torchvision.__version__.split("+")[0]
    assert versions["numpy"] == numpy.__version__
    assert versions["python"] == sys.version.split()[0]
    assert versions.get("cuda") == torch.version.cuda


def test_start_is_now_in_utc() -> None:
    started = datetime.fromisoformat(provenance()["started"])
    assert started.tzinfo is not None
    assert abs(datetime.now(UTC) - started) < timedelta(seconds=60)


def test_facts_are_json() -> None:
    facts = provenance()
    assert json.loads(json.dumps(facts)) == facts


def test_package_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> str:
        raise PackageNotFoundError(package)

    installed = provenance()["versions"]
    monkeypatch.setattr(module, "version", missing)
    assert installed.keys() - provenance()["versions"].keys() == {"annlib", "numpy", "torchvision"}


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="Linux tells the model there")
def test_processor_is_named() -> None:
    assert f": {provenance()['hardware']['cpu']}" in Path("/proc/cpuinfo").read_text()
    assert provenance()["hardware"]["cores"] == os.cpu_count()


def test_gpus_are_listed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    assert provenance()["hardware"]["gpus"] == ["GPU 0", "GPU 1"]


def test_nothing_says_who_and_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/quixote")
    monkeypatch.setenv("USER", "quixote")
    paths = [
        "/home/quixote/data",
        "--out=/home/quixote/runs",
        "/scratch/quixote/x",
        "/home/quixote",
    ]
    monkeypatch.setattr(sys, "argv", ["/home/quixote/bin/annlib", "train", *paths])
    facts = provenance()
    words = ["~/data", "--out=~/runs", "/scratch/$USER/x", "~"]
    assert facts["command"] == ["annlib", "train", *words]
    text = json.dumps(facts)
    assert "quixote" not in text
    assert socket.gethostname() not in text


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("/home/anna-lena/data", "/home/anna-lena/data"),
        ("/mnt/home/anna/data", "/mnt/home/$USER/data"),
        ("/data/annals/x", "/data/annals/x"),
        ("anna", "anna"),
        ("--lr=/home/anna", "--lr=~"),
    ],
)
def test_only_whole_folders_are_replaced(word: str, shown: str, monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    monkeypatch.setenv("USER", "anna")
    assert command(["annlib", word]) == ["annlib", shown]


def test_home_at_the_root_hides_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/")
    monkeypatch.delenv("USER", raising=False)
    monkeypatch.delenv("LOGNAME", raising=False)
    assert command(["annlib", "/data/x"]) == ["annlib", "/data/x"]


@pytest.mark.parametrize("program", ["/venv/bin/annlib", "/x/annlib/__main__.py"])
def test_program_is_annlib_however_it_was_started(program: str) -> None:
    assert command([program, "list"]) == ["annlib", "list"]


@needs_git
def test_clean_checkout_is_its_commit(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    expected = {"commit": commit, "dirty": False, "diff": [], "untracked": []}
    assert git_state(checkout) == expected


@needs_git
def test_changes_are_told(checkout: Path) -> None:
    (checkout / "annlib/a.py").write_text("a = 2\nb = 3\n")
    state = git_state(checkout)
    assert state["dirty"]
    assert state["diff"][0].startswith("annlib/a.py | 3 ")
    assert "1 file changed, 2 insertions(+), 1 deletion(-)" in state["diff"][1]


@needs_git
def test_new_source_counts_and_new_data_do_not(checkout: Path) -> None:
    (checkout / "photos").mkdir()
    (checkout / "photos/a.png").touch()
    assert not git_state(checkout)["dirty"]
    (checkout / "annlib/b.py").touch()
    state = git_state(checkout)
    assert state["dirty"] and state["untracked"] == ["annlib/b.py"]


@needs_git
def test_folder_inside_another_checkout_is_none(checkout: Path) -> None:
    assert git_state(checkout / "annlib") is None


@needs_git
def test_environment_of_another_git_does_not_matter(checkout: Path, monkeypatch) -> None:
    before = git_state(checkout)
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # as in a git hook
    assert git_state(checkout) == before


def test_no_checkout_no_git_and_a_slow_git_are_left_out(tmp_path: Path, monkeypatch) -> None:
    assert git_state(tmp_path) is None

    def slow(*arguments: object, timeout: float, **others: object) -> None:
        raise subprocess.TimeoutExpired("git", timeout)

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", slow)
        assert git_state(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) is None
    monkeypatch.setattr(module, "CHECKOUT", tmp_path)
    assert "git" not in provenance()


def test_results_say_when_where_and_how_they_were_made(tmp_path: Path) -> None:
    text = write_results("the table", tmp_path / "a.md", "annlib reproduce")
    table, where = text.split("\n\n")
    assert table == "the table"
    assert where.endswith("Remake: `annlib reproduce`\n")
    for fact in (date.today(), platform.machine(), f"{os.cpu_count()} CPUs", torch.__version__):
        assert str(fact) in where


def test_results_are_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    before = write_results("old", tmp_path / "a.md", "the command")
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_results("new", tmp_path / "a.md", "the command")
    assert (tmp_path / "a.md").read_text() == before
