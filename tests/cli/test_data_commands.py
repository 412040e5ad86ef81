"""annlib data: what it prints, writes, and how it ends."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from failing import failure
from PIL import Image

from annlib.cli.data import Check, Convert
from annlib.cli.predict import Predict
from annlib.data.balloon_town.dataset import write_scenes

SIZE = ("--size", 32, 48)


@pytest.mark.parametrize("name", ["cityscapes", "ade20k", "voc12aug"])
def test_imitation_is_written_and_found_right(annlib, name: str) -> None:
    printed = annlib("data", "mimic", name, "city", "--train", 3, "--val", 2, *SIZE)
    assert printed == f"3 + 2 images like {name} in city\n"
    printed = annlib("data", "check", name, "city")
    assert f"{name} train: 3 pairs, all opened" in printed
    assert f"{name} val: 2 pairs, all opened" in printed
    assert printed.count("Problems: none") == 2
    for split in ("train", "val"):
        with Image.open(f"check/{name}_{split}.png") as sheet:
            assert min(sheet.size) > 150


def test_problems_are_listed_and_end_with_1(annlib, capsys) -> None:
    annlib("data", "mimic", "ade20k", "ade", *SIZE)
    first, second, *_ = sorted(Path("ade").rglob("annotations/training/*.png"))
    first.unlink()
    Image.fromarray(np.full((4, 4), 251, np.uint8)).save(second)
    assert failure(annlib, "data", "check", "ade20k", "ade") == (
        "annlib: ade has problems, listed above: 2."
    )
    printed = capsys.readouterr().out
    assert f"- missing: {first}" in printed
    assert "does not belong together" in printed
    assert "ade20k val: 4 pairs" in printed  # the other split is checked all the same


def test_sample_limits_what_is_opened_and_out_says_where(annlib) -> None:
    annlib("data", "mimic", "cityscapes", "city", *SIZE)
    printed = annlib("data", "check", "cityscapes", "city", "--sample", 2, "--out", "a/b")
    assert "8 pairs, 2 of them opened" in printed
    assert sorted(path.name for path in Path("a/b").iterdir()) == [
        "cityscapes_train.png",
        "cityscapes_val.png",
    ]


def test_folder_of_ones_own_is_checked_by_split_or_whole(annlib) -> None:
    for split in ("train", "val"):
        write_scenes(f"town/{split}", 1, len(split))
    Path("town/train/classes.txt").rename("town/classes.txt")
    assert annlib("data", "check", "folder", "town").count("Problems: none") == 2
    write_scenes("whole", 2)
    assert annlib("data", "check", "folder", "whole").startswith("whole: 2 pairs, all opened")
    assert Path("check/whole_whole.png").is_file()


def test_camvid_is_compared_with_its_number_of_images(annlib, capsys) -> None:
    for split in ("train", "val"):
        write_scenes(f"town/{split}", 1)
    assert "has problems" in failure(annlib, "data", "check", "camvid", "town")
    assert "- 1 images, but camvid has 367" in capsys.readouterr().out


def write_masks(foreground: int) -> None:
    """masks/: squares of that value on 0, as of a binary segmentation."""
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            Path("masks", split, kind).mkdir(parents=True)
        labels = np.zeros((32, 32), np.uint8)
        labels[8:24, 8:24] = foreground
        Image.fromarray(labels).save(f"masks/{split}/labels/a.png")
        image = np.stack([labels, labels, np.full_like(labels, len(split))], -1)
        Image.fromarray(image).save(f"masks/{split}/images/a.png")
    Path("masks/classes.txt").write_text("background\npolyp\n")


TRAIN_MASKS = ("train", "photos_fcn", "--data", "masks", "--iterations", 1, "--out", "run")


def test_masks_of_0_and_255_are_a_problem_and_are_not_trained_on(annlib, capsys) -> None:
    write_masks(255)
    assert "listed above: 1" in failure(annlib, "data", "check", "folder", "masks")
    problem = "class 'polyp' never occurs in the training labels, but 255 covers 25.0 % of their"
    assert problem in capsys.readouterr().out
    assert problem in failure(annlib, *TRAIN_MASKS)
    assert not Path("run").exists()
    with Path("masks/classes.txt").open("a") as file:
        file.write("255=1\n")  # the remedy that the problem names
    assert annlib("data", "check", "folder", "masks").count("Problems: none") == 2


def test_masks_of_0_and_1_beside_masks_of_0_and_255_are_a_problem(annlib, capsys) -> None:
    write_masks(1)
    Image.fromarray(np.eye(32, dtype=np.uint8) * 255).save("masks/train/labels/b.png")
    Image.new("RGB", (32, 32)).save("masks/train/images/b.png")
    assert "listed above: 1" in failure(annlib, "data", "check", "folder", "masks")
    problem = "some label files hold 1 and others 255, none holds both, but 255 covers 1.6 %"
    assert problem in capsys.readouterr().out
    assert problem in failure(annlib, *TRAIN_MASKS)


def test_masks_of_0_and_1_are_trained_on(annlib) -> None:
    write_masks(1)
    assert annlib("data", "check", "folder", "masks").count("Problems: none") == 2
    assert "polyp" in annlib(*TRAIN_MASKS)


def test_a_sample_of_the_pairs_does_not_say_which_classes_are_missing(annlib) -> None:
    write_masks(255)
    Image.fromarray(np.ones((32, 32), np.uint8)).save("masks/train/labels/b.png")
    Image.new("RGB", (32, 32)).save("masks/train/images/b.png")
    printed = annlib("data", "check", "folder", "masks", "--sample", 1)
    assert printed.count("Problems: none") == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("check cityscapes nowhere", "There is no folder nowhere. Name the one that holds citys"),
        ("check voc12aug .", "There is no voc12aug in .: looked for VOCdevkit/VOC2012"),
        ("check folder .", "There is no classes.txt"),
        ("check ade20k . --sample 0", "--sample is 0: at least one is needed"),
        ("mimic ade20k .", "is not an empty folder"),
        ("mimic ade20k new --val 0", "at least one image in each split"),
        ("prepare cityscapes new", "Cityscapes needs an account"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_message(annlib, words: str, message: str) -> None:
    Path("something.txt").write_text("in the way")
    said = failure(annlib, "data", *words.split())
    assert said.startswith("annlib: ")
    assert message in said


def test_prepared_benchmark_is_told(annlib) -> None:
    annlib("data", "mimic", "voc12aug", "voc", *SIZE)
    assert annlib("data", "prepare", "voc12aug", "voc") == (
        "voc12aug is ready in voc: train 8 images, val 4 images.\n"
        "To check it: annlib data check voc12aug voc\n"
    )


def test_check_names_the_converter_of_labels_that_it_recognises(annlib) -> None:
    write_scenes("town", 3)
    Path("town/classes.txt").unlink()
    Path("town/labels").rename("town/masks")
    told = failure(annlib, "data", "check", "folder", "town")
    assert "images with label files: see `annlib data convert town NEW_FOLDER`" in told
    printed = annlib("data", "convert", "town", "new", "--classes", "balloon_town")
    assert "Pairs: train 2, val 1, test 0" in printed
    annlib("data", "check", "folder", "new")


def test_label_of_no_class_is_told_once_with_the_line_that_ignores_it(annlib, capsys) -> None:
    write_scenes("town", 2)
    lines = Path("town/classes.txt").read_text().splitlines()
    Path("town/classes.txt").write_text("\n".join(lines))
    for path in Path("town/labels").iterdir():
        Image.fromarray(np.where(np.asarray(Image.open(path)) == 0, 99, 1).astype("u1")).save(path)
    failure(annlib, "data", "check", "folder", "town")
    printed = capsys.readouterr().out
    assert printed.count("`ignore 99`") == 1 and "(1 more files like it.)" in printed


def test_commands_print_where_standard_output_is_not_a_file(
    annlib, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_masks(1)
    monkeypatch.setattr(sys, "stdout", io.StringIO())  # as that of a notebook
    Convert(Path("masks"), Path("to")).run()
    Check("folder", Path("to")).run()
    Predict(("to/val/images",), weights="balloon_ann").run()
    printed = sys.stdout.getvalue()
    for said in ("Written: to.", "Problems: none", "-> predictions/a.overlay.png"):
        assert said in printed


@pytest.mark.skipif(sys.platform != "linux", reason="Other systems have no such file names.")
def test_names_of_files_in_another_encoding_are_printed(
    annlib, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="strict", write_through=True)
    labels = np.arange(48, dtype=np.uint8).reshape(6, 8) % 3
    for name in ("b\udce4d", "c"):  # an archive of Windows, unpacked
        for kind in ("images", "labels"):
            Path("from", kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(labels).save(f"from/{kind}/{name}.png")
    Image.fromarray(labels).save("from/images/z\udce4.png")
    monkeypatch.setattr(sys, "stdout", strict)
    annlib("data", "convert", "from", "to")
    said = failure(annlib, "data", "check", "folder", "to")
    assert "problems" in said
    printed = strict.buffer.getvalue().decode()
    assert "- images/z\\udce4.png: no label file" in printed
    assert "the same image in both splits" in printed and "b\\udce4d.png" in printed
