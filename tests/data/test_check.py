"""A data set checked: every way in which it can be wrong is found, and all of them are listed."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from annlib.data.check import (
    BAR_WIDTH,
    IGNORED,
    CheckedSplit,
    Sample,
    check_split,
    contact_sheet,
    evenly,
    in_both,
    report,
    samples,
)
from annlib.data.classes import ADE20K, BENCHMARKS, CITYSCAPES, VOC12AUG, DatasetSpec, folder_spec
from annlib.data.folders import LISTS, Pairs
from annlib.data.io import read_labels
from annlib.data.synthetic import MARK, mimic

each = pytest.mark.parametrize("spec", BENCHMARKS, ids=lambda spec: spec.name)


def imitation(root: Path, spec: DatasetSpec) -> Path:
    mimic(spec.name, root / "data", 5, 2, (32, 48))
    return root / "data"


@each
def test_nothing_is_wrong_with_what_is_right(tmp_path: Path, spec: DatasetSpec) -> None:
    for split, count in (("train", 5), ("val", 2)):
        found = check_split(imitation(tmp_path / split, spec), spec, split)
        assert (found.problems, found.num_opened, len(found.intact)) == ([], count, count)


@each
def test_pixels_and_images_of_each_class_are_counted(tmp_path: Path, spec: DatasetSpec) -> None:
    found = check_split(imitation(tmp_path, spec), spec, "train")
    pixels, images = Counter(), Counter()
    table = spec.label_table().tolist()
    for path in found.pairs.labels:
        values = Counter(table[v] for v in np.array(Image.open(path)).flatten().tolist())
        pixels.update(values)
        images.update(values.keys())
    assert found.pixels.tolist() == [pixels[index] for index in range(256)]
    assert found.images.tolist() == [images[index] for index in range(256)]


def test_sizes_are_told_from_the_smallest_to_the_largest(tmp_path: Path) -> None:
    root = imitation(tmp_path, ADE20K)
    found = check_split(root, ADE20K, "train")
    sizes = {tuple(read_labels(path).shape) for path in found.pairs.labels}
    assert sorted(sizes) == sorted(found.sizes)
    assert found.sizes[0] == (32, 32)
    city = check_split(imitation(tmp_path / "city", CITYSCAPES), CITYSCAPES, "train")
    assert city.sizes == [(32, 48)]


@each
def test_every_problem_is_listed_not_only_the_first(tmp_path: Path, spec: DatasetSpec) -> None:
    root = imitation(tmp_path, spec)
    images, labels, *_ = check_split(root, spec, "train").pairs
    labels[0].unlink()
    images[1].unlink()
    labels[2].write_bytes(b"no image")
    Image.new("RGB", (7, 5)).save(images[3])
    values = np.array(Image.open(labels[4]))
    values[0, 0] = 251
    Image.fromarray(values).save(labels[4])
    problems = check_split(root, spec, "train").problems
    assert f"missing: {labels[0]}" in problems
    is_listed = spec.layout == "voc12aug"  # elsewhere, images determine pairs
    missed = f"missing: {images[1]}" if is_listed else f"labels without an image: {labels[1]}"
    assert missed in problems
    for path, words in (
        (labels[2], "cannot be read as an image"),
        (images[3], "does not belong together"),
        (labels[4], "holds the label 251"),
    ):
        assert [p for p in problems if str(path) in p and words in p]
    assert len(problems) == 5


@each
def test_hidden_files_are_no_problem(tmp_path: Path, spec: DatasetSpec) -> None:
    root = imitation(tmp_path, spec)
    for path in [*root.rglob("*.png"), *root.rglob("*.jpg")]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    for split, count in (("train", 5), ("val", 2)):
        found = check_split(root, spec, split)
        assert (len(found.pairs.images), found.problems) == (count, [])


def test_two_images_for_one_label_file_are_a_problem(tmp_path: Path) -> None:
    root = imitation(tmp_path, ADE20K)
    first = min((root / "ADEChallengeData2016/images/training").iterdir())
    first.with_suffix(".png").write_bytes(first.read_bytes())
    (problem,) = check_split(root, ADE20K, "train").problems
    assert problem.startswith("2 images for the label file ")
    assert f"{first}, {first.with_suffix('.png')}" in problem


def test_number_of_images_is_compared_with_the_published_one(tmp_path: Path) -> None:
    root = imitation(tmp_path, CITYSCAPES)
    (root / MARK).unlink()
    assert check_split(root, CITYSCAPES, "train").problems == ["5 images, but cityscapes has 2975"]


def test_imitation_is_known_by_its_mark_from_any_root(tmp_path: Path) -> None:
    home = imitation(tmp_path, VOC12AUG) / "VOCdevkit/VOC2012"
    for root in (home, home.parent, home.parent.parent):
        assert check_split(root, VOC12AUG, "val").problems == []


def test_empty_split_is_a_problem_of_that_split_only(tmp_path: Path) -> None:
    root = imitation(tmp_path, ADE20K)
    for path in (root / "ADEChallengeData2016/images/validation").iterdir():
        path.unlink()
    (problem,) = check_split(root, ADE20K, "val").problems
    assert "images/validation holds no image" in problem
    assert check_split(root, ADE20K, "train").problems == []


def test_wrong_root_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no cityscapes in .*looks like ade20k"):
        check_split(imitation(tmp_path, ADE20K), CITYSCAPES, "train")


def test_images_of_val_in_a_training_list_are_found_and_not_trained_on(tmp_path: Path) -> None:
    home = imitation(tmp_path, VOC12AUG) / "VOCdevkit/VOC2012"
    leak = (home / LISTS / "val.txt").read_text().split()[0]
    with (home / LISTS / "trainaug.txt").open("a") as file:
        file.write(f"{leak}\n")
    found = check_split(home, VOC12AUG, "train")
    assert found.problems == [f"image of val in a training list: {leak}"]
    assert leak not in {path.stem for path in found.pairs.images}


def test_train_ids_under_the_name_of_ids_are_found(tmp_path: Path) -> None:
    root = imitation(tmp_path, CITYSCAPES)
    for path in check_split(root, CITYSCAPES, "train").pairs.labels:
        values = CITYSCAPES.label_table().numpy()[np.array(Image.open(path))]
        Image.fromarray(values).save(path)
    (problem,) = check_split(root, CITYSCAPES, "train").problems
    assert problem.startswith("no label is above 18 in any file: are these train ids")


@given(total=st.integers(0, 60), count=st.integers(1, 70))
def test_sample_is_spread_evenly(total: int, count: int) -> None:
    chosen = evenly(total, count)
    assert len(chosen) == min(total, count)
    assert all(0 <= index < total for index in chosen)
    gaps = {b - a for a, b in pairwise([*chosen, total])}  # the last one to the end
    assert not gaps or 0 < max(gaps) <= min(gaps) + 1


@pytest.mark.parametrize("suffix", ["jpg", "bmp"])  # the same file, or the same pixels
def test_an_image_in_both_splits_is_a_problem(tmp_path: Path, suffix: str) -> None:
    root = imitation(tmp_path, ADE20K)
    train, val = (check_split(root, ADE20K, split) for split in ("train", "val"))
    assert in_both(train, val) == []
    image, label, copy = train.pairs.images[2], train.pairs.labels[2], val.pairs.images[1]
    copy.unlink()
    copy = copy.with_suffix(f".{suffix}")
    if suffix == "jpg":
        copy.write_bytes(image.read_bytes())
    else:
        Image.open(image).save(copy)
    val.pairs.labels[1].write_bytes(label.read_bytes())
    (problem,) = in_both(train, check_split(root, ADE20K, "val"))
    assert problem.startswith(f"the same image in both splits: {image} and {copy}. Scores on")


@pytest.mark.parametrize(
    ("value", "said"), [(0, "move one away."), (1, "but labelled differently: keep the right one.")]
)
def test_an_image_twice_in_a_split_is_a_problem(tmp_path: Path, value: int, said: str) -> None:
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    (tmp_path / "classes.txt").write_text("sky\nroad\n")
    drawn = np.eye(4, dtype=np.uint8)
    for name, suffix in (("a", "png"), ("b", "bmp"), ("c", "png")):
        image = tmp_path / f"images/{name}.{suffix}"
        Image.fromarray(drawn * (9 if name == "c" else 7)).save(image)
        Image.fromarray(drawn ^ (value if name == "b" else 0)).save(tmp_path / f"labels/{name}.png")
    (problem,) = check_split(tmp_path, folder_spec(tmp_path), "").problems
    images = tmp_path / "images"
    assert problem == f"{images / 'a.png'} and {images / 'b.bmp'} are the same image, {said}"


def test_contact_sheet_shows_only_pairs_that_are_intact(tmp_path: Path) -> None:
    root = imitation(tmp_path, ADE20K)
    pairs = check_split(root, ADE20K, "train").pairs
    pairs.labels[3].write_bytes(b"")
    found = check_split(root, ADE20K, "train", sample=3)  # 0, 1 and 3
    assert [caption for caption, *_ in samples(found)] == [pairs.images[i].stem for i in (0, 1)]
    assert found.num_opened == 3


THREE = DatasetSpec("three", ("sky", "road", "car"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))


def test_report_tells_shares_bars_and_problems() -> None:
    pixels, images = torch.zeros(2, 256, dtype=torch.int64)
    pixels[[0, 1, 255]] = torch.tensor([600, 1, 399])
    images[[0, 1, 255]] = torch.tensor([4, 1, 3])
    pairs = Pairs([Path("a.jpg")] * 5, [Path("a.png")] * 5, THREE)
    sizes, problems = [(3, 4), (5, 6)], ["first", "second"]
    found = CheckedSplit("train", pairs, 4, [0, 1, 2], pixels, images, sizes, {}, problems)
    text = report(found)
    lines = [line.split() for line in text.splitlines()]
    assert "three train: 5 pairs, 4 of them opened (label files: a.png, ...)" in text
    assert ["sky", "60.00", "%", "100.0", "%", "#" * BAR_WIDTH] in lines
    assert ["road", "0.10", "%", "25.0", "%", "#"] in lines  # never an empty bar
    assert ["(ignored)", "39.90", "%", "75.0", "%", "#" * (BAR_WIDTH * 399 // 600 + 1)] in lines
    assert "Absent: car\n" in text
    assert "Sizes: 3 x 4 to 5 x 6 (height x width), 2 different ones" in text
    assert text.endswith("Problems: 2\n- first\n- second\n")


def test_report_on_nothing_is_possible(tmp_path: Path) -> None:
    (tmp_path / "val/images").mkdir(parents=True)
    (tmp_path / "images").mkdir()
    found = check_split(tmp_path, THREE, "val")
    assert "Absent: sky, road, car, (ignored)" in report(found)


# The contact sheet: every pair and every class that occurs is on it, in the right colour


def sample(height: int, width: int, classes: list[int]) -> Sample:
    """Grey, with one block of each class."""
    labels = torch.tensor(classes, dtype=torch.uint8).repeat_interleave(-(-width // len(classes)))
    labels = labels[:width].expand(height, width)
    image = torch.full((3, height, width), 77, dtype=torch.uint8)
    return "name", image, labels


def colours(samples: list[Sample], spec: DatasetSpec) -> dict[tuple[int, ...], int]:
    """Colour -> how many pixels of the sheet have it."""
    found = contact_sheet("title", samples, spec).getcolors(2**24)
    return {colour: count for count, colour in found}


def test_labels_and_legend_are_drawn_in_the_colours_of_their_classes() -> None:
    found = colours([sample(20, 30, [0, 13, 255])], CITYSCAPES)
    for colour in (CITYSCAPES.palette[0], CITYSCAPES.palette[13], IGNORED):
        assert found[colour] > 20 * 10 + 100  # a third of the labels, and a field of the legend
    assert CITYSCAPES.palette[8] not in found
    assert found[77, 77, 77] >= 600  # the image is small enough to be shown as it is


@pytest.mark.parametrize("size", [(512, 1024), (9, 900), (900, 9), (1, 1)])
def test_images_of_every_shape_fit(size: tuple[int, int]) -> None:
    found = colours([sample(*size, [3])] * 3, CITYSCAPES)
    assert found[77, 77, 77] and found[CITYSCAPES.palette[3]]


def test_a_hundred_and_fifty_classes_have_a_legend() -> None:
    found = colours([sample(150, 300, list(range(150)))], ADE20K)
    assert set(ADE20K.palette) <= set(found)


def test_captions_are_written() -> None:
    with_name, without = (
        np.array(contact_sheet("title", [s], CITYSCAPES))
        for s in (sample(8, 9, [0]), ("", *sample(8, 9, [0])[1:]))
    )
    assert (with_name != without).sum() > 50
