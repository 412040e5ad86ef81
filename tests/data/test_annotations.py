"""JSON of COCO and LabelMe that is merged, incomplete, ambiguous or of newer versions."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annlib.data.annotations import recognise
from annlib.data.classes import folder_spec
from annlib.data.convert import convert
from annlib.data.datasets import SegmentationFolder
from annlib.data.transforms import to_tensors

SIZE = (6, 8)


def photo(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def converted(target: Path, split: str) -> list[np.ndarray]:
    """The labels of a split, read as training reads them."""
    data = SegmentationFolder(target, folder_spec(target), split, to_tensors)
    return [data.read(i)[1].numpy() for i in range(len(data))]


def document(root: Path, file: str, images: list, marks: list, kinds: list) -> None:
    """A COCO file; images: (id, file name), marks: (image, category, left column), kinds: names."""
    content = {
        "images": [{"id": i, "file_name": n, "height": 6, "width": 8} for i, n in images],
        "annotations": [
            {"image_id": i, "category_id": c, "segmentation": outline(x)} for i, c, x in marks
        ],
        "categories": [{"id": i, "name": name} for i, name in kinds],
    }
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(json.dumps(content))


def outline(left: int | None) -> list:
    """Two columns of all rows; no outline for None."""
    return [] if left is None else [[left, 0, left + 2, 0, left + 2, 6, left, 6]]


def columns(**classes: int) -> np.ndarray:
    """The labels of such outlines.  classes: by left column, c2=1"""
    expected = np.zeros(SIZE, np.uint8)
    for place, index in classes.items():
        expected[:, int(place[1:]) : int(place[1:]) + 2] = index
    return expected


def test_coco_files_that_number_classes_differently_keep_the_names(tmp_path: Path) -> None:
    root = tmp_path / "from"
    for seed, (split, kinds) in enumerate(
        {"train": [(1, "cat"), (2, "dog")], "valid": [(1, " dog "), (2, "cat"), (3, "dog")]}.items()
    ):
        photo(root / split / "0.jpg", seed)
        marks = [(0, number, 2 * number) for number, _ in kinds]
        document(root, f"{split}/_annotations.coco.json", [(0, "0.jpg")], marks, kinds)
    convert(root, tmp_path / "to")
    assert folder_spec(tmp_path / "to").class_names == ("background", "cat", "dog")
    assert np.array_equal(converted(tmp_path / "to", "train")[0], columns(c2=1, c4=2))
    assert np.array_equal(converted(tmp_path / "to", "val")[0], columns(c2=2, c4=1, c6=2))


THREE = [(i, f"{i}.jpg") for i in range(3)]


@pytest.mark.parametrize(
    ("images", "marks", "kinds", "message"),
    [
        (THREE, [(0, 1, 2), (1, 7, 2)], [(1, "cat")], r"a\.json: its categories lack 7"),
        (
            [*THREE[:2], (0, "2.jpg")],
            [(0, 1, 2)],
            [(1, "cat")],
            r"a\.json: two images or .* one id",
        ),
        (THREE, [(0, 1, 2)], [(1, "cat"), (1, "dog")], "two categories have one id: renumber"),
        (THREE, [(i, 1, None) for i in range(3)], [(1, "cat")], r"an outline \(boxes\): 3"),
        (THREE, [(0, 1, 2)], [(None, "cat"), (1, "dog")], r"tool would not write \(TypeError"),
        ([(0, "0.jpg"), (1, "0.jpg")], [(0, 1, 2), (1, 1, 4)], [(1, "cat")], "labelled twice, in"),
        (THREE, [(i, i, 2) for i in range(3)], [(0, "#a"), (1, "b"), (2, "c")], "cannot hold all"),
    ],
)
def test_coco_that_cannot_be_meant_so_is_refused(
    tmp_path: Path, images: list, marks: list, kinds: list, message: str
) -> None:
    for i in range(3):
        photo(tmp_path / f"from/images/{i}.jpg", i)
    document(tmp_path / "from", "a.json", images, marks, kinds)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        convert(tmp_path / "from", tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_image_that_two_coco_files_label_is_refused(tmp_path: Path) -> None:
    photo(tmp_path / "from/train2017/0.jpg")
    for name in ("instances", "person_keypoints"):
        path = f"annotations/{name}_train2017.json"
        document(tmp_path / "from", path, [(0, "0.jpg")], [(0, 1, 2)], [(1, "person")])
    both = r"0\.jpg is labelled twice, in .*instances_train2017.* and .*keypoints_train2017\.json"
    with pytest.raises(ValueError, match=both):
        convert(tmp_path / "from", tmp_path / "to")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("é.jpg", "é.jpg"),  # in the other spelling of Unicode on disk
        ("../../label-studio/upload/1/é.jpg", "é.jpg"),
        ("C:\\photos\\é.jpg", "é.jpg"),
        ("day2/é.jpg", None),
    ],
)
def test_file_names_of_coco_are_found(tmp_path: Path, name: str, found: str | None) -> None:
    photo(tmp_path / "from/day1/e\u0301.jpg", 1), photo(tmp_path / "from/day1/b.jpg", 2)
    images, marks = [(0, name), (1, "b.jpg")], [(0, 1, 2), (1, 1, 4)]
    document(tmp_path / "from", "a.json", images, marks, [(1, "cat")])
    samples = recognise(tmp_path / "from").samples
    assert [sample.image.name for sample in samples] == ["e\u0301.jpg"] * bool(found) + ["b.jpg"]


def test_image_name_of_coco_that_two_folders_hold_is_refused_or_that_beside_it(
    tmp_path: Path,
) -> None:
    for seed, folder in enumerate("ab"):
        photo(tmp_path / f"from/{folder}/0.jpg", seed)
    document(tmp_path / "from", "all.json", [(0, "0.jpg")], [(0, 1, 2)], [(1, "cat")])
    with pytest.raises(ValueError, match=r"all\.json: 0\.jpg may be a/0\.jpg or b/0\.jpg: say"):
        convert(tmp_path / "from", tmp_path / "to")
    (tmp_path / "from/all.json").unlink()
    for left, folder in ((2, "a"), (4, "b")):
        path = f"{folder}/its.json"
        document(tmp_path / "from", path, [(0, "0.jpg")], [(0, 1, left)], [(1, "cat")])
    samples = recognise(tmp_path / "from").samples
    for sample, expected in zip(samples, (columns(c2=1), columns(c4=1)), strict=True):
        assert sample.image.parent == sample.label.parent
        assert np.array_equal(sample.codes(), expected)


@pytest.mark.parametrize("repeated", [True, False])
def test_image_of_another_split_is_taken_only_where_no_name_repeats(
    tmp_path: Path, repeated: bool
) -> None:
    photo(tmp_path / "from/train/1.jpg", 1), photo(tmp_path / "from/val/0.jpg", 2)
    if repeated:
        photo(tmp_path / "from/val/1.jpg", 3)
    images, marks = [(0, "0.jpg"), (1, "1.jpg")], [(0, 1, 2), (1, 1, 4)]
    document(tmp_path / "from", "instances_train.json", images, marks, [(1, "cat")])
    found = recognise(tmp_path / "from")
    paths = [one.image.relative_to(tmp_path / "from").as_posix() for one in found.samples]
    assert paths == ["val/0.jpg"] * (not repeated) + ["train/1.jpg"]
    assert ("0.jpg: no such image" in found.left_out) == repeated


def test_what_json_leaves_without_labels_is_reported(tmp_path: Path) -> None:
    for i in range(4):
        photo(tmp_path / f"from/images/{i}.jpg", i)
    marks = [(0, 1, 2), (1, 1, 4), (1, 1, None)]
    document(tmp_path / "from", "a.json", THREE, marks, [(1, "cat")])
    report = convert(tmp_path / "from", tmp_path / "to")
    assert "- a.json: annotations without an outline (boxes): 1" in report
    assert "images/2.jpg: no annotation" in report and "images/3.jpg: no annotation" in report


def test_annotations_of_images_that_coco_does_not_list_are_reported(tmp_path: Path) -> None:
    for i in range(3):
        photo(tmp_path / f"from/images/{i}.jpg", i)
    marks = [(i, 1, 2) for i in range(3)] + [(7, 1, 4), ("1", 1, 4)]
    document(tmp_path / "from", "a.json", THREE, marks, [(1, "cat")])
    report = convert(tmp_path / "from", tmp_path / "to")
    assert "- a.json: annotations of images that it does not list: 2" in report


@pytest.mark.parametrize("area", [None, 0, "missing", "right"])
@pytest.mark.parametrize("first", [0, 1])
def test_small_objects_of_coco_cover_large_ones_whatever_their_areas(
    tmp_path: Path, area: int | str | None, first: int
) -> None:
    kinds = [(1, "house"), (2, "door")]
    for i in range(2):
        photo(tmp_path / f"from/images/{i}.jpg", i)
    document(tmp_path / "from", "a.json", THREE[:2], [], kinds)
    shapes = {1: [0, 0, 8, 0, 8, 6, 0, 6], 2: [2, 0, 4, 0, 4, 6, 2, 6]}
    marks = [
        {"image_id": i, "category_id": kind, "segmentation": [shapes[kind]]}
        | ({} if area == "missing" else {"area": {1: 48, 2: 12}[kind] if area == "right" else area})
        for i in range(2)
        for kind in sorted(shapes, reverse=bool(first))
    ]
    content = json.loads((tmp_path / "from/a.json").read_text()) | {"annotations": marks}
    (tmp_path / "from/a.json").write_text(json.dumps(content))
    convert(tmp_path / "from", tmp_path / "to")
    expected = np.ones(SIZE, np.uint8)
    expected[:, 2:4] = 2
    assert np.array_equal(converted(tmp_path / "to", "val")[0], expected)


def test_label_files_beside_json_are_told(tmp_path: Path) -> None:
    labelme(tmp_path / "from", {"label": "roof", "points": [[1, 1], [3, 1], [3, 3], [1, 3]]})
    for i in range(2):
        (tmp_path / "from/masks").mkdir(exist_ok=True)
        Image.new("L", SIZE[::-1]).save(tmp_path / f"from/masks/{i}.png")
    report = convert(tmp_path / "from", tmp_path / "to")
    assert "- masks/0.png: label files beside the LabelMe JSON: 2" in report


def test_pixels_to_ignore_in_labelme_are_no_second_form_of_a_class(tmp_path: Path) -> None:
    root = tmp_path / "from"
    labelme(root, {"label": "roof", "points": [[1, 1], [3, 1], [3, 3], [1, 3]]})
    content = json.loads((root / "labels/10.json").read_text())
    content["shapes"][0]["label"] = "__ignore__"
    (root / "labels/10.json").write_text(json.dumps(content))
    assert "4.17 %  (not labelled, 255)" in convert(root, tmp_path / "to")


def labelme(root: Path, shape: dict, copies: int = 1) -> None:
    for i in range(2):
        photo(root / f"images/{i}.png", i)
        for copy in range(copies):
            path = root / f"labels/{i}{copy}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"imagePath": f"../images/{i}.png", "shapes": [shape]}))


BITS = np.array([[1, 0, 1], [1, 1, 0]], np.uint8)


def mask_of_labelme() -> str:
    Image.fromarray(BITS > 0).save(content := io.BytesIO(), "png")
    return base64.b64encode(content.getvalue()).decode()


@pytest.mark.parametrize(
    "shape",
    [
        {"points": [[3, 1], [6, 1], [6, 3], [3, 3]], "shape_type": "rectangle"},
        {"points": [[3, 1], [6, 1], [6, 3], [3, 3]], "shape_type": "rotation"},
        {"points": [[3, 1], [5, 2]], "shape_type": "mask", "mask": mask_of_labelme()},
        {"points": [[3, 1], [6, 1], [6, 3], [3, 3]], "shape_type": None},
    ],
    ids=lambda shape: str(shape["shape_type"]),
)
def test_newer_shapes_of_labelme_are_drawn(tmp_path: Path, shape: dict) -> None:
    labelme(tmp_path / "from", shape | {"label": "roof "})
    report = convert(tmp_path / "from", tmp_path / "to")
    assert "Left out" not in report and "%  roof\n" in report
    expected = np.zeros(SIZE, np.uint8)
    expected[1:3, 3:6] = BITS if "mask" in shape else 1
    assert np.array_equal(converted(tmp_path / "to", "val")[0], expected)


@pytest.mark.parametrize(
    ("shape", "copies", "message"),
    [
        (
            {"label": "a", "points": [[0, 0], [1, 1], [1, 0]]},
            2,
            "0.png is labelled twice, in .*00.j",
        ),
        ({"points": [[0, 0], [1, 1], [1, 0]]}, 1, r"would not write \(KeyError: 'label'"),
        ({"label": "a", "points": "none"}, 1, r"00\.json holds JSON .* not write \(ValueError"),
    ],
)
def test_labelme_that_cannot_be_meant_so_is_refused(
    tmp_path: Path, shape: dict, copies: int, message: str
) -> None:
    labelme(tmp_path / "from", shape, copies)
    with pytest.raises(ValueError, match=message):
        convert(tmp_path / "from", tmp_path / "to")


def test_list_without_background_leaves_the_rest_unlabelled_and_says_so(tmp_path: Path) -> None:
    labelme(tmp_path / "from", {"label": "roof", "points": [[1, 1], [3, 1], [3, 3], [1, 3]]})
    for names, said in (("roof\ndoor\n", True), ("background\nroof\n", False)):
        (tmp_path / "from/classes.txt").write_text(names)
        report = convert(tmp_path / "from", tmp_path / f"to{said}")
        assert ("because the list has no `background`" in report) == said
