"""Lessons refuse parameters that would have no effect, and choose what fits their mode."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from annlib.course.lesson import CLAIM, PROGRESS, bundle, open_lesson, progress
from annlib.engine.inference import choose_device

EACH = {"quick": 1, "learn": 2, "full": 3}


@pytest.mark.parametrize("mode", EACH)
def test_lesson_picks_what_belongs_to_its_mode(mode: str) -> None:
    assert open_lesson(mode, "cpu", 0).pick(**EACH) == EACH[mode]


def test_seed_of_the_run_is_torch_s_seed() -> None:
    drawn = [(open_lesson("quick", "cpu", seed), torch.rand(3))[1] for seed in (4, 4, 5)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_auto_takes_a_gpu_only_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for found, device in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=found: found)
        assert choose_device("auto").type == device


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"mode": "quik"}, ValueError, "mode is 'quik'"),
        ({"device": "gpu"}, ValueError, "device is 'gpu'"),
        ({"device": "cuda:99"}, ValueError, "torch finds"),
        ({"seed": -1}, ValueError, "whole number"),
        ({"seed": "1"}, ValueError, "whole number"),
        ({"data_root": "/nowhere/at/all", "uses": ("data_root",)}, FileNotFoundError, "no folder"),
        ({"data_root": "."}, ValueError, "would have no effect"),
        ({"experiment": "balloon_ann"}, ValueError, "would have no effect"),
        ({"experiment": "baloon_an", "uses": ("experiment",)}, ValueError, "balloon_ann"),
    ],
    ids=str,
)
def test_wrong_parameter_is_refused_with_a_way_on(
    arguments: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        open_lesson(**({"mode": "quick", "device": "cpu", "seed": 0} | arguments))


def test_lesson_that_uses_them_gets_folder_and_experiment(tmp_path: Path) -> None:
    uses = ("data_root", "experiment")
    lesson = open_lesson("quick", "cpu", 0, str(tmp_path), "balloon_ann", uses)
    assert (lesson.data_root, lesson.experiment) == (tmp_path, "balloon_ann")


def test_parameter_that_papermill_passed_on_in_vain_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cells = ["", "mode = 'learn'", "# Parameters\nmode = 'quick'\nsead = 7\n"]
    monkeypatch.setattr(
        "annlib.course.lesson.get_ipython", lambda: SimpleNamespace(user_ns={"In": cells})
    )
    with pytest.raises(ValueError, match="no parameter 'sead'.*mean 'seed'"):
        open_lesson("quick", "cpu", 0)


@pytest.mark.parametrize(
    ("mode", "seed", "judge"), [("learn", 0, "run"), ("quick", 0, "record"), ("learn", 1, "none")]
)
def test_claim_is_judged_where_it_can_be(mode, seed, judge, monkeypatch) -> None:
    shown = []
    monkeypatch.setattr("annlib.course.lesson.display", lambda data, raw: shown.append(data))
    open_lesson(mode, "cpu", seed).claim("gain", 2.5, 0.1, "x", modes=("learn",))
    assert shown[0][CLAIM]["judge"] == judge
    assert "gain: yours 2.5 x" in shown[0]["text/plain"]


@pytest.mark.parametrize(("value", "flag"), [(2.55, ""), (3.0, "≠ ")])
def test_a_claim_stands_beside_the_texts_number_and_a_difference_is_flagged(
    value: float, flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    monkeypatch.setattr("annlib.course.lesson.display", lambda data, raw: shown.append(data))
    monkeypatch.setattr("annlib.course.lesson.recorded_claims", lambda: {"gain": 2.5})
    open_lesson("learn", "cpu", 0).claim("gain", value, 0.1, "x")
    said = f"{flag}gain: yours {value:.1f}, text 2.5 x" + (": they differ" if flag else "")
    assert shown[0]["text/plain"] == said and said in shown[0]["text/html"]


@pytest.mark.parametrize(("name", "within"), [("Gain", 1), ("a b", 1), ("gain", -1)])
def test_claim_that_no_text_can_lean_on_is_refused(name: str, within: float) -> None:
    with pytest.raises(ValueError):
        open_lesson("quick", "cpu", 0).claim(name, 1.0, within)


def test_progress_hands_on_every_item_and_ends_full(monkeypatch: pytest.MonkeyPatch) -> None:
    states = []
    handle = SimpleNamespace(update=lambda data, raw: states.append(data[PROGRESS]))
    monkeypatch.setattr("annlib.course.lesson.display", lambda data, raw, display_id: handle)
    assert list(progress("abc", 3, "letters")) == ["a", "b", "c"]
    assert states[-1] == {"done": 3, "total": 3}


def test_progress_says_in_words_what_the_bar_shows() -> None:
    shown = bundle(25, 100, "steps", 30.0)
    assert shown["text/plain"] == "25 of 100 steps, 30 s, about 90 s to go"
    assert '<progress value="25" max="100"' in shown["text/html"]
    assert "to go" not in bundle(100, 100, "steps", 30.0)["text/plain"]


@pytest.mark.slow
def test_what_every_lesson_imports_leaves_slow_libraries_to_the_cells_that_need_them() -> None:
    code = (
        "import sys\n"
        "from annlib.course import checks, plots, widgets\n"
        "slow = ('nbformat', 'papermill', 'pandas', 'scipy.stats', 'seaborn', 'torchvision')\n"
        "print([name for name in slow if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
