"""The command line, in small: what each command does, writes and prints."""

import json
import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import small_town
import torch
from failing import failure
from PIL import Image

from annlib import __main__, published_experiments
from annlib.cli.train import Train
from annlib.data.balloon_town.dataset import write_scenes
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.engine import trainer
from annlib.engine.optimization import Step
from annlib.engine.runs import read_validations
from annlib.model.build import load_model
from annlib.model.checkpoint import load, save


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Small experiments, a folder of our own, and the threads put back."""
    for module, name, value in small_town.CHANGES:
        monkeypatch.setattr(module, name, value)
    monkeypatch.delenv("ANNLIB_TRACEBACK", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network trained for two steps by the command itself."""
    folder = tmp_path_factory.mktemp("trained")
    words = ("train", "balloon_ann", "--iterations", "2", "--out", folder)
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in small_town.CHANGES:
            patch.setattr(module, name, value)
        patch.setattr(sys, "argv", ["annlib", *map(str, words)])
        __main__.main()
    return folder / "last.safetensors"


def test_list_shows_every_experiment(annlib) -> None:
    printed = annlib("list")
    for name in (*small_town.LAPTOP, *published_experiments.ZOO):
        assert f"| {name} " in printed


def test_scenes_are_written_and_counted(annlib) -> None:
    assert annlib("data", "scenes", "town", "--count", 3) == "3 scenes in town\n"
    assert len(list(Path("town/images").iterdir())) == 3


def test_scenes_go_into_no_folder_with_other_things(annlib) -> None:
    Path("town").mkdir()
    Path("town/mine.txt").write_text("mine")
    assert "not an empty folder" in failure(annlib, "data", "scenes", "town")
    assert [path.name for path in Path("town").iterdir()] == ["mine.txt"]


def test_no_scenes_are_refused(annlib) -> None:
    assert "--count is 0" in failure(annlib, "data", "scenes", "town", "--count", 0)


def test_training_prints_scores_and_keeps_them(annlib) -> None:
    printed = annlib("train", "balloon_fcn", "--iterations", 3)
    saved = load(Path("runs/balloon_fcn-seed0/last.safetensors"))
    mean = next(line for line in printed.splitlines() if line.startswith("| mean"))
    assert f" {100 * saved.notes['scores']['miou']:.2f} |" in mean
    assert saved.step == 3


def test_same_command_again_overwrites_nothing(annlib) -> None:
    words = ("train", "balloon_fcn", "--iterations", 1)
    annlib(*words)
    assert "runs/balloon_fcn-seed0 holds a run already" in failure(annlib, *words)


def test_run_is_scored_on_the_way_and_keeps_records(annlib) -> None:
    words = ("--iterations", 22, "--score-every", 8, "--keep", 1, "--out", "run")
    output = annlib("train", "balloon_fcn", *words)
    assert [line["step"] for line in read_validations(Path("run"))] == [8, 16, 22]
    assert re.findall(r"step (\d+): mIoU", output) == ["8", "16"]
    assert {path.name for path in Path("run").glob("*.safetensors")} == {
        "last.safetensors",
        "best.safetensors",
        "step-000022.safetensors",
    }
    facts = json.loads(Path("run/best.json").read_text())
    scores = {line["step"]: line["miou"] for line in read_validations(Path("run"))}
    assert facts == {"step": facts["step"], "miou": max(scores.values())}
    assert Path("run/curve.png").stat().st_size > 5000
    assert load(Path("run/last.safetensors")).notes["seconds"] > 0


def test_run_without_looks_is_scored_at_its_end_alone(annlib) -> None:
    annlib("train", "balloon_fcn", "--iterations", 2, "--out", "run")
    assert [line["step"] for line in read_validations(Path("run"))] == [2]


def test_precision_and_parts_are_noted_with_the_run(annlib) -> None:
    words = ("--iterations", 1, "--precision", "bf16", "--accumulate", 2, "--out", "run")
    annlib("train", "balloon_ann", *words)
    compute = load(Path("run/last.safetensors")).notes["compute"]
    assert (compute["precision"], compute["accumulate"]) == ("bf16", 2)
    message = failure(annlib, "train", "balloon_ann", "--accumulate", 3, "--out", "other")
    assert "batch of 2 images" in message


def test_small_network_has_no_imagenet_weights(annlib) -> None:
    message = failure(annlib, "train", "balloon_ann", "--backbone", "reference", "--out", "two")
    assert "No ImageNet weights fit a backbone of depth 9" in message


def test_finished_run_is_scored_again(annlib) -> None:
    trained = annlib("train", "balloon_ppm", "--iterations", 1, "--set", "train.warmup=0")
    assert annlib("train", "--resume", "runs/balloon_ppm-seed0") == trained


def test_resumed_run_takes_its_settings_from_its_folder(annlib, capsys) -> None:
    photos_of_twelve_classes()
    words = ("photos_fcn", "--data", "photos", "--iterations", 4, "--seed", 4, "--out", "run")
    with stopped_after(2):
        with pytest.raises(SystemExit) as stop:
            annlib("train", *words, "--score-every", 3, "--keep", 2)
        assert stop.value.code == 130
        output = capsys.readouterr().out
    assert output.endswith("To go on:  annlib train --resume run\n")
    Path("elsewhere").mkdir()
    os.chdir("elsewhere")  # the data folder was given relative to where it was started
    annlib("train", "--resume", "../run")
    saved = load(Path("../run/last.safetensors"))
    assert (saved.step, saved.notes["experiment"]["train"]["seed"]) == (4, 4)
    assert [line["step"] for line in read_validations(Path("../run"))] == [3, 4]
    assert len(list(Path("../run").glob("step-*.safetensors"))) == 2


def test_printed_command_repeats_the_runtime_options(annlib) -> None:
    command = Train(threads=2, precision="bf16", compile=True, cuda_graphs=True, keep=3)
    assert command.resume_command(Path("a run"), 4) == (
        "torchrun --nproc-per-node=4 -m annlib train --resume 'a run' --threads 2 "
        "--precision bf16 --compile --cuda-graphs"
    )


@pytest.mark.parametrize(
    "words", [("--seed", 0), ("--iterations", 9), ("--minutes", 5), ("--data", "photos")]
)
def test_settings_beside_resume_are_refused(annlib, words) -> None:
    annlib("train", "balloon_fcn", "--iterations", 1, "--out", "run")
    message = failure(annlib, "train", "--resume", "run", *words)
    assert f"takes all settings from run: leave out {words[0]}. Only --device, " in message


def test_old_form_of_resuming_is_answered_with_the_new_one(annlib) -> None:
    for words in (("--out", "a run", "--resume"), ("--resume", "--out", "a run")):
        message = failure(annlib, "train", "balloon_fcn", *words)
        assert message.endswith("annlib train --resume 'a run'")


def test_moved_data_of_a_resumed_run_are_given_once(annlib) -> None:
    photos_of_twelve_classes()
    annlib("train", "photos_fcn", "--data", "photos", "--iterations", 1, "--out", "run")
    Path("photos").rename("moved")
    assert "are no longer in " in failure(annlib, "train", "--resume", "run")
    annlib("train", "--resume", "run", "--data", "moved")
    annlib("train", "--resume", "run")


def test_run_of_an_older_version_is_resumed_with_its_data_folder(annlib) -> None:
    photos_of_twelve_classes()
    annlib("train", "photos_fcn", "--data", "photos", "--iterations", 1, "--out", "run")
    Path("run/run.json").unlink()
    assert "--data" in failure(annlib, "train", "--resume", "run")
    annlib("train", "--resume", "run", "--data", "photos")


@contextmanager
def stopped_after(step: int, error: BaseException | None = None) -> Iterator[None]:
    """Ctrl-C in that step of any run, or an error after it."""
    train = trainer.train

    def steps(*arguments: object) -> Iterator[Step]:
        for done in train(*arguments):
            if done.number == step and error is None:
                os.kill(os.getpid(), signal.SIGINT)
            yield done
            if done.number == step and error is not None:
                raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "train", steps)
        yield


FULL_DISK = OSError(28, "No space left on device")


def test_full_disk_ends_with_the_folder_and_the_command_to_go_on(annlib) -> None:
    with stopped_after(25, FULL_DISK):  # saved at 20
        message = failure(annlib, "train", "balloon_fcn", "--iterations", 30, "--out", "a run")
    text, command = message.split("To go on:")
    assert text.startswith(
        "annlib: No space left on device\nThe run in a run stopped after step 25"
    )
    annlib(*shlex.split(command)[1:])
    assert load(Path("a run/last.safetensors")).step == 30


def test_full_disk_before_the_first_checkpoint_asks_for_the_same_command(annlib) -> None:
    words = ("train", "balloon_fcn", "--iterations", 6, "--out", "run")
    with stopped_after(5, FULL_DISK):
        assert "no checkpoint yet: give the same command again" in failure(annlib, *words)
    annlib(*words)


def test_minutes_choose_the_steps(annlib) -> None:
    assert " steps in 0.001 minutes" in annlib("train", "balloon_fcn", "--minutes", 0.001)


def photos_of_twelve_classes() -> None:
    for split, seed in (("train", 0), ("val", 50)):
        write_scenes(f"photos/{split}", 2, seed)
    Path("photos/classes.txt").write_text(
        "".join(f"class {i}\n" for i in range(12)) + "ignore 255\n"
    )


def test_photographs_bring_their_own_number_of_classes(annlib) -> None:
    photos_of_twelve_classes()
    annlib("train", "photos_fcn", "--data", "photos", "--iterations", 1, "--out", "run")
    assert load(Path("run/last.safetensors")).config.num_classes == 12


def test_published_row_insists_on_its_own_data_set(annlib) -> None:
    photos_of_twelve_classes()
    message = failure(
        annlib, "train", published_experiments.ROWS[0].experiment.name, "--data", "photos"
    )
    assert "no cityscapes in photos: looked for leftImg8bit" in message


def test_evaluation_repeats_the_scores_of_the_training(annlib) -> None:
    words = ("balloon_apnb", "--iterations", 2, "--set", "train.warmup=0", "--out", "run")
    trained = annlib("train", *words)
    evaluated = annlib("evaluate", "run/last.safetensors")
    assert trained == evaluated + "Saved run/last.safetensors\n"


def test_scenes_that_were_written_are_evaluated_like_those_that_are_painted(
    annlib, checkpoint: Path
) -> None:
    annlib("data", "scenes", "town", "--count", 3, "--first-seed", FIRST_VAL_SEED)
    printed = annlib("evaluate", checkpoint, "--data", "town")
    assert printed == annlib("evaluate", checkpoint)


def test_scenes_that_were_written_are_to_be_divided_for_training(annlib) -> None:
    annlib("data", "scenes", "town", "--count", 2)
    assert "training needs two splits" in failure(annlib, "train", "photos_fcn", "--data", "town")


def test_photographs_need_their_folder_for_evaluation(annlib) -> None:
    photos_of_twelve_classes()
    annlib("train", "photos_fcn", "--data", "photos", "--iterations", 1, "--out", "run")
    assert "--data" in failure(annlib, "evaluate", "run/last.safetensors")
    assert "class 11" in annlib("evaluate", "run/last.safetensors", "--data", "photos")


NOISE = np.random.default_rng(0).integers(0, 256, (11, 17, 4), dtype=np.uint8)
PHOTOGRAPHS = {
    "rgb": NOISE[..., :3],
    "rgba": NOISE,
    "grey": NOISE[..., 0],
    "sixteen bits": NOISE[..., 0].astype(np.uint16) * 257,
    "dot": NOISE[:1, :1, :3],
    "line": NOISE[:1, :, :3],
}


@pytest.mark.parametrize("kind", PHOTOGRAPHS)
def test_every_kind_of_photograph_is_segmented(annlib, checkpoint: Path, kind: str) -> None:
    image = Image.fromarray(PHOTOGRAPHS[kind])
    image.save("photo.png")
    printed = annlib("predict", "photo.png", "--weights", checkpoint)
    assert printed.startswith("photo.png: ")
    with Image.open("predictions/photo.labels.png") as labels:
        assert labels.size == image.size


def test_turned_photograph_is_segmented_upright(annlib, checkpoint: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (17, 11)).save("photo.jpg", exif=exif)
    annlib("predict", "photo.jpg", "--weights", checkpoint)
    with Image.open("predictions/photo.labels.png") as labels:
        assert labels.size == (11, 17)


def test_threads_are_set(annlib) -> None:
    before = torch.get_num_threads()
    try:
        annlib("train", "balloon_fcn", "--iterations", 1, "--threads", 1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_other_values_are_recorded_and_a_resumed_run_has_them(annlib) -> None:
    words = ("train", "balloon_ann", "--out", "r", "--save-every", 2, "--set")
    settings = ("train.base_lr=0.02", "train.iterations=3", "data.crop_size=32,48")
    with stopped_after(2, FULL_DISK):
        failure(annlib, *words, *settings)
    values = json.loads(Path("r/experiment.json").read_bytes())
    assert values["train"]["base_lr"] == 0.02 and values["data"]["crop_size"] == [32, 48]
    assert load(Path("r/last.safetensors")).step == 2
    told = failure(annlib, "train", "--resume", "r", "--set", "train.base_lr=1")
    assert "leave out --set" in told
    annlib("train", "--resume", "r")
    assert load(Path("r/last.safetensors")).step == 3


def test_fine_tuning_keeps_all_but_the_classifiers(annlib, checkpoint: Path) -> None:
    photos_of_twelve_classes()
    options = ("--data", "photos", "--iterations", 1, "--init", checkpoint, "--out", "r")
    printed = annlib("train", "photos_ann", *options, "--set", "train.base_lr=0")
    fresh = "classifier.weight, classifier.bias, auxiliary.classifier.weight"
    assert f"Weights of {checkpoint}; random: {fresh}" in printed
    before, after = load(checkpoint).model, load(Path("r/last.safetensors")).model
    assert torch.equal(before["reduce.0.weight"], after["reduce.0.weight"])
    assert after["classifier.weight"].shape[0] == 12
    told = failure(annlib, "train", "balloon_ppm", "--init", checkpoint, "--out", "other")
    assert "belongs to another model: pool_scales" in told or "head ann there" in told


@pytest.mark.parametrize("order", ["the same", "other names", "reversed"])
def test_classifiers_of_other_classes_of_the_same_count_begin_random(
    annlib, checkpoint: Path, order: str
) -> None:
    names = load(checkpoint).notes["classes"]["class_names"]
    photos_of_twelve_classes()
    for split in ("train", "val"):
        for path in Path(f"photos/{split}/labels").iterdir():
            with Image.open(path) as labels:
                labels.point(lambda value: value % 10).save(path)
    own = {"the same": names, "other names": [f"c{n}" for n in range(10)], "reversed": names[::-1]}
    Path("photos/classes.txt").write_text("\n".join(own[order]))
    words = ("train", "photos_ann", "--data", "photos", "--iterations", 1, "--init", checkpoint)
    printed = annlib(*words, "--out", "r", "--set", "train.base_lr=0")
    before, after = load(checkpoint).model, load(Path("r/last.safetensors")).model
    for name in ("classifier.weight", "auxiliary.classifier.weight"):
        assert torch.equal(before[name], after[name]) == (order == "the same")
    assert torch.equal(before["reduce.0.weight"], after["reduce.0.weight"])
    told = f"classes are others: {', '.join(names)[:60]}"
    assert (told in printed) == (order != "the same")


def test_patience_ends_a_run_that_gets_no_better(annlib) -> None:
    words = ("train", "balloon_ann", "--iterations", 9, "--score-every", 1, "--out", "r")
    printed = annlib(*words, "--patience", 2, "--set", "train.base_lr=0")
    assert "no better mIoU in 2 validations" in printed
    scores = [line["miou"] for line in read_validations(Path("r"))]
    assert len(scores) < 9 and max(scores[:-2]) >= max(scores[-2:])
    told = failure(annlib, "train", "balloon_ann", "--patience", 2, "--out", "s")
    assert "give --score-every" in told


def test_warm_up_longer_than_the_training_is_told(annlib) -> None:
    printed = annlib("train", "balloon_ann", "--iterations", 5, "--out", "r")
    assert "Warm-up takes 50 steps, so that 5 steps reach 10 % of the rate" in printed


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--set train.clip_norm=0", "clip_norm is 0.0: give more than 0, or none"),
        ("--set data.crop_size=0,0", "crop_size is (0, 0): give 1 or more, or none"),
        ("--set data.ratio_range=0,1", "give more than 0"),
        ("--set model.key_channels=0", "give 1 or more"),
        ("--set model.width=2", "a backbone has 4 channels or more"),
        ("--set train.class_weights=1,1,3", "has 3 values, but balloon_town has 10 classes"),
        ("--set test.mode=slide", "needs window and stride"),
        ("--set data.crop_size=none", "The images of a batch differ in size"),
        ("--keep -1", "--keep is -1: give 0 or more"),
        ("--workers -1", "--workers is -1: give 0 or more"),
    ],
)
def test_values_that_no_training_can_use_are_told_before_it(annlib, words: str, told: str) -> None:
    assert told in failure(annlib, "train", "balloon_ann", "--iterations", 1, *words.split())
    assert not list(Path().rglob("*.safetensors"))


@pytest.mark.parametrize(
    "change",
    [
        *({"data": 5}, {"keep": "3"}, {"score_every": "a"}, {"later": 1}, {"classes": 3}),
        *({"data": {"path": 1}}, {"keep": -1}, {"score_every": 10**400}, {"patience": True}),
    ],
)
def test_options_of_a_run_that_were_changed_are_refused_by_file(annlib, change: dict) -> None:
    annlib("train", "balloon_fcn", "--iterations", 1, "--out", "run")
    options = json.loads(Path("run/run.json").read_text())
    for text in (json.dumps(options | change), "[]", "{}", "", json.dumps(options)[:-9]):
        Path("run/run.json").write_text(text)
        told = failure(annlib, "train", "--resume", "run")
        assert "run.json was changed" in told and "Delete it" in told
    Path("run/run.json").unlink()
    annlib("train", "--resume", "run", "--score-every", 1)


@pytest.mark.parametrize("change", ["", "{}", {"hidden_channels": -1}, {"width": 2**63}])
def test_a_run_whose_settings_were_damaged_has_them_in_its_checkpoint(annlib, change) -> None:
    with stopped_after(2), pytest.raises(SystemExit):
        annlib("train", "balloon_fcn", "--iterations", 4, "--out", "run")
    path = Path("run/experiment.json")
    whole = path.read_bytes()
    values = json.loads(whole)
    changed = values | {"model": values["model"] | change} if isinstance(change, dict) else None
    path.write_text(json.dumps(changed) if changed else change)
    assert "Or delete run/experiment.json: last" in failure(annlib, "train", "--resume", "run")
    path.unlink()
    annlib("train", "--resume", "run")
    assert load(Path("run/last.safetensors")).step == 4 and path.read_bytes() == whole


def test_weights_that_are_not_of_a_run_are_not_resumed(annlib, checkpoint: Path) -> None:
    annlib("train", "balloon_ann", "--iterations", 2, "--out", "run")
    saved = load(checkpoint)
    model = load_model(saved)
    save(Path("run/last.safetensors"), model, step=1, notes={"sha256": "c0ffee"})
    assert "last.safetensors is not of a run" in failure(annlib, "train", "--resume", "run")


def test_an_experiment_file_of_notepad_is_read(annlib) -> None:
    text = 'base = "balloon_fcn"\n[train]\niterations = 1\n'
    Path("mine.toml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert "mIoU" in annlib("train", "mine.toml")
