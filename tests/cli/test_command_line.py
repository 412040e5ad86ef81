"""The command line: its overview, what it says when something cannot be done, how it ends."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest
import torch

from annlib.__main__ import COMMANDS, SUCCESSORS, read_command
from annlib.cli import common, lessons
from annlib.cli.data import Scenes

HELP = """
import sys
sys.argv = ["annlib", *{words!r}, "--help"]
from annlib.__main__ import main
try:
    main()
except SystemExit as stop:
    print("code", stop.code)
import resource
print("heavy", *sorted({{"torch", "numpy", "PIL", "matplotlib"}} & set(sys.modules)))
print("commands", sum(name.startswith("annlib.cli.") for name in sys.modules))
print("seconds", resource.getrusage(resource.RUSAGE_SELF).ru_utime)
"""


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train", "Name an experiment (`annlib list` shows them), or --resume RUN."),
        ("train balloon_an", "No experiment 'balloon_an'. Nearest: balloon_ann, "),
        ("train balloon_ann --iterations 0", "Give --iterations (at least 1) or --minutes"),
        ("train balloon_ann --iterations 5 --minutes 1", "or --minutes, not both"),
        ("train balloon_ann --minutes 0", "--minutes is 0: give a number above 0"),
        ("train balloon_ann --minutes nan", "--minutes is nan: "),
        ("lessons run 04 --seed -1", "--seed is -1: give 0 or more"),
        ("lessons run 04 --data-root nope", "There is no folder nope (--data-root)"),
        (
            "lessons run 04 --experiment balloon_an",
            "No experiment 'balloon_an'. Nearest: balloon_ann",
        ),
        ("train balloon_ann --minutes inf", "--minutes is inf: "),
        ("train --resume run", "There is no run in run: run/experiment.json is missing"),
        ("train balloon_ann --classes camvid", "omit --classes"),
        ("train balloon_ann --threads 0", "--threads is 0: at least one is needed"),
        ("train balloon_ann --resume", "annlib train --resume runs/balloon_ann-seed0"),
        ("train photos_ann", "folder is not shipped with annlib: name its folder with --data"),
        ("train photos_ann --data missing", "There is no missing/classes.txt"),
        ("train photos_ann --data . --classes kitti", "No built-in class list 'kitti'"),
        ("train photos_ann --data . --classes camvid", "There is no folder train/images"),
        ("evaluate missing.safetensors", "There is no checkpoint missing.safetensors"),
        ("predict a.jpg --weights a.pth", "There is no checkpoint a.pth"),
        ("predict", "Name at least one image: annlib predict photo.jpg"),
        ("data scenes .", "is not an empty folder"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_message(annlib, command: str, message: str) -> None:
    Path("something.txt").write_text("in the way")
    with pytest.raises(SystemExit) as stop:
        annlib(*command.split())
    assert str(stop.value.code).startswith("annlib: ")
    assert message in stop.value.code


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_missing_gpu_is_told(annlib) -> None:
    with pytest.raises(SystemExit, match="'cuda', but torch finds 0 CUDA GPUs here. Use 'cpu'"):
        annlib("train", "balloon_ann", "--device", "cuda")


def test_half_written_weights_are_told(annlib) -> None:
    Path("a.safetensors").write_bytes(b"\x40")
    with pytest.raises(SystemExit, match=r"annlib: a\.safetensors is damaged or only half written"):
        annlib("evaluate", "a.safetensors")


@pytest.mark.parametrize("command", ["", "trian", "train balloon_ann --fast", "list all", "zoo"])
def test_wrong_command_line_ends_with_2(annlib, command: str, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        annlib(*command.split())
    assert stop.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_unknown_experiment_ends_with_1_and_no_traceback() -> None:
    words = [sys.executable, "-m", "annlib", "train", "baloon_ann"]
    run = subprocess.run(words, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("annlib: No experiment 'baloon_ann'. Nearest: balloon_ann")
    assert run.stderr.count("\n") == 1


def test_traceback_is_shown_on_request(annlib, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNLIB_TRACEBACK", "1")
    with pytest.raises(KeyError, match="No experiment"):
        annlib("train", "balloon_an")


@pytest.mark.slow
def test_reader_may_stop_reading(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "annlib", "list"]  # as in: annlib list | head -1
    process = subprocess.Popen(command, cwd=tmp_path, stdout=PIPE, stderr=PIPE, text=True)
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == ("", 0)
    process.stderr.close()


def test_interrupt_ends_with_130(annlib, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(command: Scenes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Scenes, "run", interrupted)
    with pytest.raises(SystemExit) as stop:
        annlib("data", "scenes", "town")
    assert stop.value.code == 130


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A command that ends in this error."""

    def fail(command: Scenes) -> None:
        raise error

    monkeypatch.setattr(Scenes, "run", fail)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "Could not write a.md: the disk is full"), "Could not write a.md: the disk"),
        (OSError(28, "No space left on device", "a.md"), "a.md: No space left on device"),
        (FileNotFoundError("There is no a.md."), "There is no a.md."),
        (KeyError("No 'a'"), "No 'a'"),
        (
            ModuleNotFoundError("No module named 'papermill'", name="papermill"),
            "papermill is not installed, but needed here: pip install -e '.[course]'",
        ),
    ],
)
def test_message_is_told_without_numbers_and_quotes(
    annlib, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    failing(monkeypatch, error)
    with pytest.raises(SystemExit) as stop:
        annlib("data", "scenes", "town")
    assert stop.value.code.startswith(f"annlib: {message}")


def test_missing_file_of_our_own_is_not_taken_for_a_missing_package(annlib, monkeypatch) -> None:
    failing(monkeypatch, ModuleNotFoundError("No module", name="annlib.data.towns"))
    with pytest.raises(ModuleNotFoundError):
        annlib("data", "scenes", "town")


def test_programming_errors_are_not_hidden(annlib, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scenes, "run", lambda command: command.colour)
    with pytest.raises(AttributeError, match="colour"):
        annlib("data", "scenes", "town")


def test_lab_opens_the_first_lesson_with_the_settings_of_the_course(
    annlib, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, words: started.append(words))
    annlib("course", "mine")
    annlib("lab", "mine")
    monkeypatch.chdir("mine")
    annlib("lab", "--no-browser")
    for words, lesson in zip(
        started, ("mine/00_start_here.ipynb", "00_start_here.ipynb"), strict=True
    ):
        assert lesson in words and words[:3] == [sys.executable, "-m", "jupyterlab"]
        (folder,) = (word.partition("=")[2] for word in words if "app_settings_dir" in word)
        assert Path(folder, "overrides.json").is_file()
    assert ["--no-browser" in words for words in started] == [False, True]


def test_lab_without_lessons_says_how_to_write_them() -> None:
    with pytest.raises(FileNotFoundError, match="holds no lessons.*annlib course my_course"):
        lessons.Lab(Path("nothing")).run()


def test_overview_shows_every_command_in_80_columns(annlib, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        annlib("--help")
    lines = capsys.readouterr().out.splitlines()
    assert stop.value.code == 0 and max(map(len, lines)) <= 80
    shown = [line.split()[0] for line in lines if line.startswith("  ")]
    assert shown == list(COMMANDS) and len(shown) == 15


@pytest.mark.parametrize("words", [*COMMANDS, "data check", "weights fetch", "runs compare"])
def test_help_of_a_command_has_80_columns_and_no_type_none(
    annlib, words: str, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        annlib(*words.split(), "--help")
    text = capsys.readouterr().out
    assert stop.value.code == 0 and "{None}" not in text
    assert text.startswith(f"usage: annlib {words}") and max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("words", [[], ["predict"]])
def test_help_loads_only_the_command_and_nothing_heavy(words: list[str]) -> None:
    program = HELP.format(words=words)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    *text, code, heavy, commands, seconds = run.stdout.splitlines()
    assert (code, heavy, commands) == ("code 0", "heavy", f"commands {1 + len(words)}")
    assert float(seconds.split()[1]) < 1.5
    assert len(text) > 5


def test_help_of_every_command_but_runs_loads_nothing_heavy() -> None:
    program = """
import sys
from annlib.__main__ import COMMANDS, read_command
for name in COMMANDS.keys() - {"runs"}:  # which loads torch
    try:
        read_command([name, "--help"])
    except SystemExit as stop:
        assert stop.code == 0
print("heavy", *sorted({"torch", "numpy", "PIL", "matplotlib"} & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout.splitlines()[-1] == "heavy", run.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_example_in_the_help_of_a_command_is_understood(name: str, capsys) -> None:
    example = COMMANDS[name][2]
    with pytest.raises(SystemExit):
        read_command([name, "--help"])
    assert f"Example: {example}" in " ".join(capsys.readouterr().out.split())
    assert shlex.split(example)[:2] == ["annlib", name]
    assert callable(read_command(shlex.split(example)[1:]).run)


@pytest.mark.parametrize("old", SUCCESSORS)
def test_old_command_is_answered_with_its_successor(old: str, annlib, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        annlib(*old.split(), "--device", "cpu")
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and f"replaced by `{SUCCESSORS[old]}`" in message
    module = SUCCESSORS[old].split()[2].rstrip(";")
    root = Path(common.__file__).parents[2]
    if module.startswith(("benchmarks", "tools", "tests")) and module != "benchmarks.NAME":
        assert (root / f"{module.replace('.', '/')}.py").exists()


def test_options_of_a_command_in_a_command_have_short_names(annlib, capsys) -> None:
    with pytest.raises(SystemExit):
        annlib("lessons", "run", "--help")
    assert " --mode " in capsys.readouterr().out
