"""A data set looked over: every way in which it can be wrong is found, and all of them at once."""

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
    Listing,
    Summary,
    choose_samples,
    evenly,
    inspect_all,
    list_split,
    report,
    summarise,
)
from annlib.data.classes import ADE20K, BENCHMARKS, CITYSCAPES, VOC12AUG, DatasetSpec
from annlib.data.folders import LISTS
from annlib.data.io import read_labels
from annlib.data.synthetic import MARK, mimic

each = pytest.mark.parametrize("spec", BENCHMARKS, ids=lambda spec: spec.name)


def imitation(root: Path, spec: DatasetSpec) -> Path:
    mimic(spec.name, root / "data", 5, 2, (32, 48))
    return root / "data"


def checked(root: Path, spec: DatasetSpec, split: str = "train") -> tuple[Listing, Summary]:
    listing = list_split(root, spec, split)
    indices = range(len(listing.pairs.images))
    return listing, summarise(list(inspect_all(listing.pairs, indices)), listing.pairs.spec)


@each
def test_nothing_is_wrong_with_what_is_right(tmp_path: Path, spec: DatasetSpec) -> None:
    for split, count in (("train", 5), ("val", 2)):
        listing, summary = checked(imitation(tmp_path / split, spec), spec, split)
        assert (listing.problems, summary.problems) == ((), ())
        assert summary.num_inspected == count


@each
def test_pixels_and_pictures_of_each_class_are_counted(tmp_path: Path, spec: DatasetSpec) -> None:
    listing, summary = checked(imitation(tmp_path, spec), spec)
    pixels, pictures = Counter(), Counter()
    table = spec.label_table().tolist()
    for path in listing.pairs.labels:
        values = Counter(table[v] for v in np.array(Image.open(path)).flatten().tolist())
        pixels.update(values)
        pictures.update(values.keys())
    assert summary.pixels.tolist() == [pixels[index] for index in range(256)]
    assert summary.pictures.tolist() == [pictures[index] for index in range(256)]


def test_sizes_are_told_from_the_smallest_to_the_largest(tmp_path: Path) -> None:
    root = imitation(tmp_path, ADE20K)
    listing, summary = checked(root, ADE20K)
    sizes = {tuple(read_labels(path).shape) for path in listing.pairs.labels}
    assert sorted(sizes) == sorted(summary.sizes)
    assert summary.sizes[0] == (32, 32)
    _, city = checked(imitation(tmp_path / "city", CITYSCAPES), CITYSCAPES)
    assert city.sizes == ((32, 48),)


@each
def test_every_problem_is_listed_not_only_the_first(tmp_path: Path, spec: DatasetSpec) -> None:
    root = imitation(tmp_path, spec)
    images, labels, _ = list_split(root, spec, "train").pairs
    labels[0].unlink()
    images[1].unlink()
    labels[2].write_bytes(b"no picture")
    Image.new("RGB", (7, 5)).save(images[3])
    values = np.array(Image.open(labels[4]))
    values[0, 0] = 251
    Image.fromarray(values).save(labels[4])
    listing, summary = checked(root, spec)
    listed, found = list(listing.problems), list(summary.problems)
    assert f"missing: {labels[0]}" in listed
    is_listed = spec.layout == "voc12aug"  # elsewhere, the pictures that are there tell the pairs
    missed = f"missing: {images[1]}" if is_listed else f"labels without a picture: {labels[1]}"
    assert missed in listed
    for path, words in (
        (labels[2], "cannot be read as a picture"),
        (images[3], "does not belong together"),
        (labels[4], "holds the label 251"),
    ):
        assert [p for p in found if str(path) in p and words in p]
    assert len(found) == 3


@each
def test_hidden_files_are_no_problem(tmp_path: Path, spec: DatasetSpec) -> None:
    root = imitation(tmp_path, spec)
    for path in [*root.rglob("*.png"), *root.rglob("*.jpg")]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    for split, count in (("train", 5), ("val", 2)):
        listing, summary = checked(root, spec, split)
        assert (len(listing.pairs.images), listing.problems, summary.problems) == (count, (), ())


def test_two_images_for_one_label_file_are_a_problem(tmp_path: Path) -> None:
    root = imitation(tmp_path, ADE20K)
    first = min((root / "ADEChallengeData2016/images/training").iterdir())
    first.with_suffix(".png").write_bytes(first.read_bytes())
    listing, _ = checked(root, ADE20K)
    (problem,) = listing.problems
    assert problem.startswith("2 images for the label file ")
    assert f"{first}, {first.with_suffix('.png')}" in problem


def test_number_of_pictures_is_compared_with_the_published_one(tmp_path: Path) -> None:
    root = imitation(tmp_path, CITYSCAPES)
    (root / MARK).unlink()
    assert list_split(root, CITYSCAPES, "train").problems == (
        "5 pictures, but cityscapes has 2975",
    )


def test_imitation_is_known_by_its_mark_from_any_root(tmp_path: Path) -> None:
    home = imitation(tmp_path, VOC12AUG) / "VOCdevkit/VOC2012"
    for root in (home, home.parent, home.parent.parent):
        assert list_split(root, VOC12AUG, "val").problems == ()


def test_empty_half_is_a_problem_of_that_half_only(tmp_path: Path) -> None:
    root = imitation(tmp_path, ADE20K)
    for path in (root / "ADEChallengeData2016/images/validation").iterdir():
        path.unlink()
    (problem,) = list_split(root, ADE20K, "val").problems
    assert "images/validation holds no picture" in problem
    assert list_split(root, ADE20K, "train").problems == ()


def test_wrong_root_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no cityscapes in .*looks like ade20k"):
        list_split(imitation(tmp_path, ADE20K), CITYSCAPES, "train")


def test_pictures_of_val_in_a_training_list_are_found_and_not_trained_on(tmp_path: Path) -> None:
    home = imitation(tmp_path, VOC12AUG) / "VOCdevkit/VOC2012"
    leak = (home / LISTS / "val.txt").read_text().split()[0]
    with (home / LISTS / "trainaug.txt").open("a") as file:
        file.write(f"{leak}\n")
    listing = list_split(home, VOC12AUG, "train")
    assert listing.problems == (f"picture of val in a training list: {leak}",)
    assert leak not in {path.stem for path in listing.pairs.images}


def test_train_ids_under_the_name_of_ids_are_found(tmp_path: Path) -> None:
    root = imitation(tmp_path, CITYSCAPES)
    for path in list_split(root, CITYSCAPES, "train").pairs.labels:
        values = CITYSCAPES.label_table().numpy()[np.array(Image.open(path))]
        Image.fromarray(values).save(path)
    (problem,) = checked(root, CITYSCAPES)[1].problems
    assert problem.startswith("no label is above 18 in any file: are these train ids")


@given(total=st.integers(0, 60), count=st.integers(1, 70))
def test_sample_is_spread_evenly(total: int, count: int) -> None:
    chosen = evenly(total, count)
    assert len(chosen) == min(total, count)
    assert all(0 <= index < total for index in chosen)
    gaps = {b - a for a, b in pairwise([*chosen, total])}  # the last one to the end
    assert not gaps or 0 < max(gaps) <= min(gaps) + 1


def test_contact_sheet_shows_only_pairs_that_are_sound(tmp_path: Path) -> None:
    pairs = list_split(imitation(tmp_path, ADE20K), ADE20K, "train").pairs
    pairs.labels[3].write_bytes(b"")
    indices = [1, 3, 4]
    found = list(inspect_all(pairs, indices))
    chosen = choose_samples(pairs, indices, found)
    assert [sample.caption for sample in chosen] == [pairs.images[i].stem for i in (1, 4)]


THREE = DatasetSpec("three", ("sky", "road", "car"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))


def test_report_tells_shares_bars_and_problems(tmp_path: Path) -> None:
    pixels, pictures = torch.zeros(256, dtype=torch.int64), torch.zeros(256, dtype=torch.int64)
    pixels[[0, 1, 255]] = torch.tensor([600, 1, 399])
    pictures[[0, 1, 255]] = torch.tensor([4, 1, 3])
    listing = list_split(imitation(tmp_path, ADE20K), ADE20K, "train")
    listing = Listing("train", listing.pairs, ("first",))
    text = report(listing, Summary(4, pixels, pictures, ((3, 4), (5, 6)), ("second",)), THREE)
    lines = [line.split() for line in text.splitlines()]
    assert "three train: 5 pairs, 4 of them opened" in text
    assert ["sky", "60.00", "%", "100.0", "%", "#" * BAR_WIDTH] in lines
    assert ["road", "0.10", "%", "25.0", "%", "#"] in lines  # what is there is seen
    assert ["(ignored)", "39.90", "%", "75.0", "%", "#" * (BAR_WIDTH * 399 // 600 + 1)] in lines
    assert "Not there: car\n" in text
    assert "Sizes: 3 x 4 to 5 x 6 (height x width), 2 different ones" in text
    assert text.endswith("Problems: 2\n- first\n- second\n")


def test_report_on_nothing_is_possible(tmp_path: Path) -> None:
    listing = Listing("val", list_split(imitation(tmp_path, ADE20K), ADE20K, "val").pairs, ())
    listing.pairs.images.clear()
    assert "Not there: sky, road, car, (ignored)" in report(listing, summarise([], THREE), THREE)
