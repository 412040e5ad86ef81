"""annlib data convert: labels of other tools become the same labels in our layout."""

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from PIL import Image

from annlib.data.annotations import inside, recognise
from annlib.data.check import check_split
from annlib.data.classes import folder_spec
from annlib.data.convert import convert
from annlib.data.datasets import SegmentationFolder
from annlib.data.io import read_labels
from annlib.data.transforms import to_tensors

SIZE = (6, 8)
NUMBERS = np.random.default_rng(0)
LABELS = [NUMBERS.integers(0, 3, SIZE, dtype=np.uint8) for _ in range(5)]
COLOURS = np.array([(0, 0, 0), (200, 10, 10), (10, 200, 10)], np.uint8)
LIST = "sky 0 0 0\nroad 200 10 10\ncar 10 200 10\n"


def photo(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def save(path: Path, labels: np.ndarray, palette: bytes = b"") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        return np.save(path, labels)
    image = Image.fromarray(labels)
    if palette:
        image.putpalette(palette)
    image.save(path)


def converted(target: Path, split: str) -> list[np.ndarray]:
    """The labels of a split, read as training reads them."""
    data = SegmentationFolder(target, folder_spec(target), split, to_tensors)
    return [data.read(i)[1].numpy() for i in range(len(data))]


def in_one_folder(root: Path, form: str) -> None:
    """Five photos and labels of one form, not divided."""
    for i, labels in enumerate(LABELS):
        photo(root / f"images/{i}.jpg", i)
        if form == "colour":
            save(root / f"masks/{i}_mask.png", COLOURS[labels])
        elif form == "binary":
            save(root / f"masks/{i}.png", np.where(labels > 0, 255, 0).astype(np.uint8))
        elif form == "sixteen bits":
            save(root / f"masks/{i}.png", labels.astype(np.uint16))
        elif form == "npy":
            save(root / f"masks/{i}.npy", labels.astype(np.int64))
        elif form == "palette":
            save(root / f"masks/{i}.png", labels, COLOURS.tobytes())
        elif form == "other palette":  # the same colours under other indices
            save(root / f"masks/{i}.png", (labels + 1) % 3, COLOURS[[2, 0, 1]].tobytes())
        elif form == "from 1":
            save(root / f"masks/{i}.tif", labels + 1)


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("colour", {"classes": "list.txt"}),
        ("binary", {}),
        ("sixteen bits", {}),
        ("npy", {}),
        ("palette", {"classes": "list.txt"}),
        ("other palette", {"classes": "list.txt"}),
        ("from 1", {"classes": "list.txt", "shift": -1}),
    ],
)
def test_each_form_of_labels_keeps_its_classes(
    form: str, options: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_text(LIST)
    in_one_folder(Path("from"), form)
    report = convert(Path("from"), Path("to"), val_share=0.4, seed=1, **options)
    assert "train 3, val 2" in report
    for split in ("train", "val"):
        paths = sorted(Path("to", split, "labels").iterdir())
        for path, found in zip(paths, converted(Path("to"), split), strict=True):
            labels = LABELS[int(path.stem)]
            expected = labels > 0 if form == "binary" else labels
            assert np.array_equal(found, expected)
    assert convert(Path("from"), Path("again"), val_share=0.4, seed=1, **options) == report
    same = [sorted(p.name for p in Path(f, "val/images").iterdir()) for f in ("to", "again")]
    assert same[0] == same[1]


def test_nested_folders_and_their_splits_are_kept(tmp_path: Path) -> None:
    root = tmp_path / "from"
    for i, split in enumerate(("training", "training", "validation", "test")):
        photo(root / f"img_dir/{split}/street{i % 2}/0.png", i)
        save(root / f"ann_dir/{split}/street{i % 2}/0_label.png", LABELS[i])
    assert "train 2, val 1, test 1" in convert(root, tmp_path / "to")
    assert np.array_equal(converted(tmp_path / "to", "train")[1], LABELS[1])
    assert [p.name for p in (tmp_path / "to/test/labels").iterdir()] == ["street1_0.png"]


def test_voc_and_its_lists(tmp_path: Path) -> None:
    root, lists = tmp_path / "VOC2012", tmp_path / "VOC2012/ImageSets/Segmentation"
    for i in range(3):
        photo(root / f"JPEGImages/{i}.jpg", i)
        save(root / f"SegmentationClass/{i}.png", np.where(LABELS[i] == 2, 255, LABELS[i]))
        save(root / f"SegmentationObject/{i}.png", LABELS[i] + 9)
    photo(root / "JPEGImages/9.jpg")
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("0\n1\n")
    (lists / "val.txt").write_text("2\n")
    report = convert(root, tmp_path / "to")
    assert "train 2, val 1" in report and "JPEGImages/9.jpg: no label file" in report
    assert "aeroplane" in (tmp_path / "to/classes.txt").read_text()
    expected = np.where(LABELS[2] == 2, 255, LABELS[2])
    assert np.array_equal(converted(tmp_path / "to", "val")[0], expected)


def test_cityscapes_ids(tmp_path: Path) -> None:
    for split in ("train", "val"):
        photo(tmp_path / f"c/leftImg8bit/{split}/bonn/bonn_0_leftImg8bit.png")
        ids = np.array([[0, 7, 33], [8, 11, 1]], np.uint8)
        save(tmp_path / f"c/gtFine/{split}/bonn/bonn_0_gtFine_labelIds.png", ids)
        save(tmp_path / f"c/gtFine/{split}/bonn/bonn_0_gtFine_color.png", COLOURS[ids % 3])
    convert(tmp_path / "c", tmp_path / "to")
    label = Image.open(tmp_path / "to/val/labels/bonn_0.png")
    assert np.asarray(label).tolist() == [[255, 0, 18], [1, 2, 255]]


def coco(root: Path, split: str, mark: dict) -> None:
    photo(root / f"{split}2017/0.jpg")
    image = {"id": 7, "file_name": "0.jpg", "height": SIZE[0], "width": SIZE[1]}
    marks = [{"image_id": 7, "category_id": 3, "area": 9} | one for one in (mark,)]
    marks.append({"image_id": 7, "category_id": 1, "segmentation": [[0, 0, 2, 0, 2, 1, 0, 1]]})
    kinds = [{"id": 3, "name": "tree"}, {"id": 1, "name": "car"}]
    path = root / f"annotations/instances_{split}2017.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": [image], "annotations": marks, "categories": kinds}))


def test_coco_polygons_and_run_lengths(tmp_path: Path) -> None:
    expected = np.zeros(SIZE, np.uint8)
    expected[1:4, 2:7] = 2
    flat = expected.T.ravel() > 0
    counts = [len(run) for run in np.split(flat, np.flatnonzero(np.diff(flat)) + 1)]
    expected[0, :2] = 1
    square = {"segmentation": [[2, 1, 7, 1, 7, 4, 2, 4]]}
    coco(tmp_path / "from", "train", square)
    coco(tmp_path / "from", "val", {"segmentation": {"size": SIZE, "counts": counts}, "iscrowd": 1})
    assert "COCO JSON" in convert(tmp_path / "from", tmp_path / "to")
    for split in ("train", "val"):
        assert np.array_equal(converted(tmp_path / "to", split)[0], expected)
    names = [line.split()[0] for line in (tmp_path / "to/classes.txt").read_text().splitlines()]
    assert names == ["background", "car", "tree"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools
def test_compressed_run_lengths_need_pycocotools(tmp_path: Path) -> None:
    mask = np.zeros(SIZE, np.uint8, order="F")
    mask[1:4, 2:7] = 1
    packed = "d0L3"  # any text
    try:
        from pycocotools.mask import encode

        packed = encode(mask)["counts"].decode()
    except ModuleNotFoundError:
        pass
    for split in ("train", "val"):
        coco(tmp_path / "from", split, {"segmentation": {"size": SIZE, "counts": packed}})
    if packed == "d0L3":
        with pytest.raises(ValueError, match="pip install pycocotools"):
            convert(tmp_path / "from", tmp_path / "to")
        return
    convert(tmp_path / "from", tmp_path / "to")
    assert np.array_equal(converted(tmp_path / "to", "val")[0] == 2, mask)


def test_labelme_shapes(tmp_path: Path) -> None:
    for i in range(2):
        photo(tmp_path / f"from/{i}.png", i)
        shapes = [
            {"label": "roof", "points": [[1, 1], [6, 4]], "shape_type": "rectangle"},
            {"label": "door", "points": [[2, 2], [4, 2], [4, 4], [2, 4]]},
            {"label": "__ignore__", "points": [[7, 0], [8, 0], [8, 1], [7, 1]]},
            {"label": "roof", "points": [[0, 0], [1, 5]], "shape_type": "line"},
        ]
        document = {"imagePath": f"{i}.png", "shapes": shapes}
        (tmp_path / f"from/{i}.json").write_text(json.dumps(document))
    report = convert(tmp_path / "from", tmp_path / "to")
    assert "1 of the kind 'line'" in report
    expected = np.zeros(SIZE, np.uint8)
    expected[1:4, 1:6] = 2  # roof comes after door
    expected[2:4, 2:4] = 1
    expected[0, 7] = 255
    assert np.array_equal(converted(tmp_path / "to", "val")[0], expected)


def test_polygon_holds_the_pixels_whose_centre_it_holds() -> None:
    for _ in range(20):
        points = NUMBERS.uniform(-3, 23, (3, 2))
        centres = np.stack(np.meshgrid(np.arange(20) + 0.5, np.arange(17) + 0.5), -1)
        expected = Outline(points).contains_points(centres.reshape(-1, 2)).reshape(17, 20)
        assert np.array_equal(inside(points.ravel().tolist(), 17, 20), expected)


@pytest.mark.parametrize(
    ("form", "text", "options", "message"),
    [
        ("colour", None, {}, "--classes FILE"),
        ("colour", "sky 0 0 0\nroad 200 10 10\n", {}, "lacks the colour 10 200 10"),
        ("from 1", LIST, {}, "--shift -1"),
        ("npy", LIST, {"ignore": ("tree",)}, "the classes are sky, road, car"),
        ("npy", None, {"val_share": 0}, "between 0 and 1"),
    ],
)
def test_what_is_unclear_is_asked(
    form: str, text: str | None, options: dict, message: str, tmp_path: Path
) -> None:
    in_one_folder(tmp_path / "from", form)
    if text:
        (tmp_path / "list.txt").write_text(text)
        options = options | {"classes": str(tmp_path / "list.txt")}
    with pytest.raises(ValueError, match=message):
        convert(tmp_path / "from", tmp_path / "to", **options)
    assert not (tmp_path / "to").exists()


def test_ignored_class_and_unknown_colours_become_255(tmp_path: Path) -> None:
    in_one_folder(tmp_path / "from", "colour")
    (tmp_path / "list.txt").write_text("sky 0 0 0\nroad 200 10 10\nsea 1 2 3\n")
    options = {"ignore": ("sky",), "ignore_unknown": True}
    report = convert(tmp_path / "from", tmp_path / "to", str(tmp_path / "list.txt"), **options)
    assert "Not labelled (255) now: the colour 10 200 10" in report
    for path, found in zip(
        sorted((tmp_path / "to/train/labels").iterdir()),
        converted(tmp_path / "to", "train"),
        strict=True,
    ):
        assert np.array_equal(found, np.where(LABELS[int(path.stem)] == 1, 0, 255))


def test_folder_without_labels_is_not_recognised(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    assert recognise(tmp_path) is None
    with pytest.raises(FileNotFoundError, match="Nothing to convert"):
        convert(tmp_path, tmp_path / "to")


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_png_of_few_bits_keeps_its_classes(bits: int, tmp_path: Path) -> None:
    for i, labels in enumerate(LABELS):
        photo(tmp_path / f"from/images/{i}.jpg", i)
        values = np.where(labels == 2, 3, labels)  # 3 of 2 bits is white, as 255 of 8 bits
        digits = "".join(f"{value:0{bits}b}" for row in values for value in row)
        rows = np.frombuffer(int(digits, 2).to_bytes(len(digits) // 8), np.uint8)
        rows = np.pad(rows.reshape(len(values), -1), ((0, 0), (1, 0)))
        path = tmp_path / f"from/masks/{i}.png"
        save(path, labels)
        content = path.read_bytes()
        head = struct.pack(">II5B", *SIZE[::-1], bits, 0, 0, 0, 0)
        parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b""))
        chunks = [
            struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
            for name, part in parts
        ]
        path.write_bytes(content[:8] + b"".join(chunks))
    convert(tmp_path / "from", tmp_path / "to")
    for path, found in zip(
        sorted((tmp_path / "to/train/labels").iterdir()),
        converted(tmp_path / "to", "train"),
        strict=True,
    ):
        assert np.array_equal(found, LABELS[int(path.stem)])


def test_jpeg_inside_a_tiff_is_refused(tmp_path: Path) -> None:
    in_one_folder(tmp_path / "from", "from 1")
    for path in (tmp_path / "from/masks").iterdir():
        Image.open(path).save(path, compression="jpeg")
    with pytest.raises(ValueError, match=r"\.tif is compressed as TIFF, which changes label"):
        convert(tmp_path / "from", tmp_path / "to")


def test_transparent_pixels_are_not_labelled(tmp_path: Path) -> None:
    in_one_folder(tmp_path / "from", "colour")
    (tmp_path / "list.txt").write_text(LIST)  # black is the sky
    opaque = np.full(SIZE, 255, np.uint8)
    opaque[2:4] = 0
    for i, labels in enumerate(LABELS):
        pixels = np.dstack([COLOURS[labels], opaque])
        pixels[2:4] = 0
        save(tmp_path / f"from/masks/{i}_mask.png", pixels)
    report = convert(tmp_path / "from", tmp_path / "to", str(tmp_path / "list.txt"))
    assert "transparent pixels are not labelled" in report and " 33.33 %  (not label" in report
    for path, found in zip(
        sorted((tmp_path / "to/train/labels").iterdir()),
        converted(tmp_path / "to", "train"),
        strict=True,
    ):
        assert np.array_equal(found, np.where(opaque == 0, 255, LABELS[int(path.stem)]))


def turned_labelme(root: Path, height: int, width: int) -> None:
    """Two photos of SIZE that are shown turned by 90 degrees, with a box of 2 x 3 at the bottom."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for i in range(2):
        photo(root / f"{i}.png", i)
        Image.open(root / f"{i}.png").save(root / f"{i}.png", exif=exif)
        shape = {"label": "door", "points": [[1, 6], [4, 8]], "shape_type": "rectangle"}
        sizes = {"imageHeight": height, "imageWidth": width}
        document = {"imagePath": f"{i}.png", "shapes": [shape], **sizes}
        (root / f"{i}.json").write_text(json.dumps(document))


def test_labelme_shapes_lie_on_the_upright_image(tmp_path: Path) -> None:
    turned_labelme(tmp_path / "from", *SIZE[::-1])
    convert(tmp_path / "from", tmp_path / "to")
    expected = np.zeros(SIZE[::-1], np.uint8)
    expected[6:8, 1:4] = 1
    assert np.array_equal(converted(tmp_path / "to", "val")[0], expected)


def test_labelme_shapes_of_another_size_are_refused(tmp_path: Path) -> None:
    turned_labelme(tmp_path / "from", *SIZE)
    with pytest.raises(ValueError, match=r"0\.json labels .* \(6, 8\) .*upright, is \(8, 6\)"):
        convert(tmp_path / "from", tmp_path / "to")


def test_images_that_are_not_read_are_counted(tmp_path: Path) -> None:
    in_one_folder(tmp_path / "from", "binary")
    for name in ("0.jpe", "1.ppm", "notes.txt"):
        (tmp_path / f"from/images/{name}").touch()
    report = convert(tmp_path / "from", tmp_path / "to")
    assert "- Convert them to JPEG or PNG, or move them away: 1 .jpe, 1 .ppm in " in report


def four_photos(root: Path, names: list[str]) -> None:
    for i, name in enumerate(names):
        photo(root / f"images/{name}.jpg", i)
        save(root / f"masks/{name}.png", LABELS[i])


@pytest.mark.parametrize(
    ("names", "line", "form"),
    [
        ("img 1,img 2,img 3,img 4", "{}.jpg", "{}.txt"),
        ("im.1,im.2,im.3,im.4", "{}", "{}.txt"),
        ("a,b,c,d", "{0}.jpg,{0}.png", "{}.txt"),
        ("a,b,c,d", "'images/{}.jpg'", "{}_list.txt"),
        ("a,b,c,d", 'C:\\x\\{}.jpg;"1"', "{}.csv"),
        ("a,b,c,d", "images/{0}.jpg masks/{0}.png", "{}.lst"),
    ],
)
def test_split_lists_of_every_form_are_read(
    tmp_path: Path, names: str, line: str, form: str
) -> None:
    root, names = tmp_path / "from", names.split(",")
    four_photos(root, names)
    for split, some in (("train", (names[0], names[3])), ("val", names[1:3])):
        lines = ["filename", "# by hand", *map(line.format, some), ""]
        (root / form.format(split)).write_text("\n".join(lines))
    assert "as they were divided" in convert(root, tmp_path / "to")
    for split, some in (("train", (names[0], names[3])), ("val", names[1:3])):
        written = {path.stem for path in (tmp_path / "to" / split / "images").iterdir()}
        assert written == {*some}


def test_split_list_of_other_images_is_refused(tmp_path: Path) -> None:
    four_photos(tmp_path / "from", ["A", "B", "C", "D"])
    for split, name in (("train", "a"), ("val", "b"), ("test", "x")):
        (tmp_path / f"from/{split}.txt").write_text(f"{name}\n")
    with pytest.raises(ValueError, match=r"train\.txt lists none of the images: .* line is 'a'"):
        convert(tmp_path / "from", tmp_path / "to")


def test_text_that_may_be_a_split_list_is_reported(tmp_path: Path) -> None:
    four_photos(tmp_path / "from", ["a", "train_1", "c", "d"])
    for name in ("my_train.txt", "train_1.txt", "notes.txt"):
        (tmp_path / f"from/{name}").write_text("a\n")
    report = convert(tmp_path / "from", tmp_path / "to")
    assert "Left out: 1\n- my_train.txt: not read: if it is a split list, name it" in report


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (
            "labelmap.txt",
            "# label:color_rgb:parts:actions\nsky:0,0,0::\nroad:200,10,10::\ncar:10,200,10::",
        ),
        ("class_names.txt", "_background_\nroad\ncar\n"),
        ("_classes.csv", "Pixel Value, Class\n0, sky\n1, road\n2, car\n"),
        ("train/_classes.csv", "Pixel Value, Class\n0, sky\n1, road\n2, car\n"),
    ],
)
def test_class_lists_that_tools_write_beside_labels_name_the_classes(
    tmp_path: Path, file: str, text: str
) -> None:
    for i, labels in enumerate(LABELS):
        photo(tmp_path / f"from/JPEGImages/{i}.jpg", i)
        save(tmp_path / f"from/SegmentationClass/{i}.png", labels, COLOURS.tobytes())
    (tmp_path / "from" / file).parent.mkdir(exist_ok=True)
    (tmp_path / "from" / file).write_text(text)
    convert(tmp_path / "from", tmp_path / "to")
    assert folder_spec(tmp_path / "to").class_names[1:] == ("road", "car")
    for path, found in zip(
        sorted((tmp_path / "to/train/labels").iterdir()),
        converted(tmp_path / "to", "train"),
        strict=True,
    ):
        assert np.array_equal(found, LABELS[int(path.stem)])


@pytest.mark.parametrize("ending", ["_L", "_seg", "-mask"])
def test_images_whose_names_end_as_labels_do_are_images(tmp_path: Path, ending: str) -> None:
    for i in range(2):
        for j, end in enumerate((ending, "_R")):
            photo(tmp_path / f"from/images/{i}{end}.png", 2 * i + j)
            save(tmp_path / f"from/labels/{i}{end}.png", LABELS[2 * i + j])
    samples = recognise(tmp_path / "from").samples
    assert len(samples) == 4
    for sample in samples:
        assert sample.image.name == sample.label.name


@pytest.mark.parametrize("others", ["masks/{}.png", "labels/{}.npy", "labels/{}_mask.png"])
def test_two_label_files_of_convert_for_an_image_are_refused(tmp_path: Path, others: str) -> None:
    in_one_folder(tmp_path / "from", "palette")
    (tmp_path / "from/masks").rename(tmp_path / "from/labels")
    for i in range(5):
        save(tmp_path / "from" / others.format(i), LABELS[0])
    with pytest.raises(ValueError, match=r"Keep one label file for .*images/0\.jpg: labels/0\."):
        convert(tmp_path / "from", tmp_path / "to")


def test_labels_of_another_split_are_not_taken(tmp_path: Path) -> None:
    for i in range(2):
        photo(tmp_path / f"from/images/train/a{i}.jpg", i)
        photo(tmp_path / f"from/images/val/{i}.jpg", 5 + i)
        for name in (f"a{i}", f"{i}"):
            save(tmp_path / f"from/labels/train/{name}.png", LABELS[i])
    report = convert(tmp_path / "from", tmp_path / "to")
    assert "- images/val/0.jpg: no label file" in report and "Pairs: train 1, val 1" in report


def test_labels_without_an_image_and_listed_names_without_one_are_reported(tmp_path: Path) -> None:
    four_photos(tmp_path / "from", ["a", "b", "c", "d"])
    save(tmp_path / "from/masks/e.png", LABELS[0])
    for split, names in (("train", "a\nb\nf"), ("val", "c\nd")):
        (tmp_path / f"from/{split}.txt").write_text(names)
    report = convert(tmp_path / "from", tmp_path / "to")
    assert "- masks/e.png: no image" in report
    assert "- train.txt: lines that name no image: 1, such as 'f'" in report


@pytest.mark.parametrize("form", ["{1}.jpg", "{1}"])
def test_numbers_of_lines_in_a_list_of_pandas_are_no_names(tmp_path: Path, form: str) -> None:
    four_photos(tmp_path / "from", ["0", "1", "2", "3"])
    for split, rows in (("train", ((0, 3), (1, 2))), ("val", ((2, 1), (3, 0)))):
        lines = [f"{row[0]},{form.format(*row)}" for row in rows]
        (tmp_path / f"from/{split}.csv").write_text("\n".join([",image", *lines]))
    convert(tmp_path / "from", tmp_path / "to")
    assert {path.stem for path in (tmp_path / "to/train/images").iterdir()} == {"3", "2"}


def test_folders_that_are_links_are_read(tmp_path: Path) -> None:
    in_one_folder(tmp_path / "disk", "palette")
    (tmp_path / "from").mkdir()
    for name in ("images", "masks"):
        (tmp_path / "from" / name).symlink_to(tmp_path / "disk" / name)
    assert len(recognise(tmp_path / "from").samples) == 5


@pytest.mark.parametrize(
    ("values", "refused"),
    [
        ((0, 128, 255), True),
        ((0, 85, 170, 255), True),
        ((0, 1, 255), False),
        ((0, 15, 255), False),
        ((0, 50, 100), False),
    ],
)
def test_evenly_spaced_greys_up_to_255_are_asked_about(
    tmp_path: Path, values: tuple[int, ...], refused: bool
) -> None:
    for i in range(2):
        photo(tmp_path / f"from/images/{i}.jpg", i)
        save(tmp_path / f"from/masks/{i}.png", np.resize(np.array(values, np.uint8), SIZE))
    if not refused:
        convert(tmp_path / "from", tmp_path / "to")
        return
    with pytest.raises(
        ValueError, match=r"are greys \(0, .*255\), and 255 may be a class: .*255=2"
    ):
        convert(tmp_path / "from", tmp_path / "to")
    names = [f"level {i} of" for i in range(len(values))]
    lines = [*names, *(f"{v}={i}" for i, v in enumerate(values))]
    (tmp_path / "from/classes.txt").write_text("\n".join(lines))
    convert(tmp_path / "from", tmp_path / "to")
    expected = np.resize(np.arange(len(values), dtype=np.uint8), SIZE)
    assert np.array_equal(converted(tmp_path / "to", "val")[0], expected)


def test_two_classes_of_one_colour_are_refused_where_colours_count(tmp_path: Path) -> None:
    in_one_folder(tmp_path / "from", "colour")
    (tmp_path / "from/classes.txt").write_text(
        "sky 0 0 0\nroad 200 10 10\nsea 0 0 0\ncar 10 200 10\n"
    )
    with pytest.raises(ValueError, match=r"Two classes of the list are \(0, 0, 0\)"):
        convert(tmp_path / "from", tmp_path / "to")


@pytest.mark.parametrize(
    "change",
    [
        lambda labels: labels.astype(np.float64),
        lambda labels: labels[..., None],
        lambda labels: labels[None].astype(np.float32),
    ],
    ids=["float", "one channel", "one image"],
)
def test_whole_numbers_of_any_type_are_labels(tmp_path: Path, change: Callable) -> None:
    for i, labels in enumerate(LABELS):
        photo(tmp_path / f"from/images/{i}.jpg", i)
        save(tmp_path / f"from/labels/{i}.npy", change(labels))
    for sample, labels in zip(recognise(tmp_path / "from").samples, LABELS, strict=True):
        assert np.array_equal(sample.codes(), labels)


@pytest.mark.parametrize("number", [0.5, np.nan, np.inf, 1e30])
def test_other_numbers_are_no_labels(tmp_path: Path, number: float) -> None:
    for i in range(2):
        photo(tmp_path / f"from/images/{i}.jpg", i)
        save(tmp_path / f"from/labels/{i}.npy", np.full(SIZE, number))
    with pytest.raises(ValueError, match=r"0\.npy holds float64 .*: labels are a whole number"):
        convert(tmp_path / "from", tmp_path / "to")


def test_masks_as_gif_are_read(tmp_path: Path) -> None:
    for i, labels in enumerate(LABELS):
        photo(tmp_path / f"from/train/{i}.jpg", i)
        save(tmp_path / f"from/train_masks/{i}_mask.gif", labels, COLOURS.tobytes())
    for sample, labels in zip(recognise(tmp_path / "from").samples, LABELS, strict=True):
        assert np.array_equal(sample.codes(), labels)


def test_greys_of_a_gif_are_its_values_whatever_its_palette(tmp_path: Path) -> None:
    expected = [np.uint8([0, 2, 5])[labels] for labels in LABELS]
    expected[4] = np.uint8([2, 5, 5])[LABELS[4]]  # here Pillow stores the place 0 for 2
    for i, labels in enumerate(expected):
        photo(tmp_path / f"from/images/{i}.jpg", i)
        save(tmp_path / f"from/masks/{i}.gif", labels)
    convert(tmp_path / "from", tmp_path / "to")
    assert folder_spec(tmp_path / "to").class_names == ("class 0", "class 2", "class 5")
    for path in (tmp_path / "to").glob("*/labels/*.png"):
        values = np.uint8([0, 2, 5])[read_labels(path).numpy()]
        assert np.array_equal(values, expected[int(path.stem)])


def test_a_gif_of_greys_beside_coloured_ones_is_refused(tmp_path: Path) -> None:
    colours = np.uint8([(200, 10, 10), (0, 0, 0), (70, 70, 70)])
    for i, labels in enumerate(LABELS):
        photo(tmp_path / f"from/images/{i}.jpg", i)
        palette = colours if i else colours[[1, 1, 2]]
        save(tmp_path / f"from/masks/{i}.gif", labels, palette.tobytes())
    with pytest.raises(ValueError, match=r"1\.gif draws .* by the value ., other files by"):
        convert(tmp_path / "from", tmp_path / "to")


def sorted_palettes(root: Path, colours: np.ndarray) -> None:
    """The same labels, but a tool has sorted the palette of each file by how often it occurs."""
    for i, labels in enumerate(LABELS):
        order = np.roll([0, 1, 2], i)
        photo(root / f"images/{i}.jpg", i)
        save(
            root / f"labels/{i}.png",
            order.argsort()[labels].astype(np.uint8),
            colours[order].tobytes(),
        )


def test_palettes_that_a_tool_has_sorted_are_refused_or_read_by_their_colours(
    tmp_path: Path,
) -> None:
    root = tmp_path / "from"
    sorted_palettes(root, COLOURS)
    with pytest.raises(
        ValueError, match=r"1\.png draws \(10, 200, 10\) by the value 0, other files by 2"
    ):
        convert(root, tmp_path / "to")
    (root / "classes.txt").write_text(LIST)
    convert(root, tmp_path / "to")
    for path in (tmp_path / "to/train/labels").iterdir():
        assert np.array_equal(read_labels(path).numpy(), LABELS[int(path.stem)])


def test_palettes_that_a_tool_has_sorted_are_told_before_training(tmp_path: Path) -> None:
    sorted_palettes(tmp_path, COLOURS + 1)  # of which the class list knows none
    (tmp_path / "classes.txt").write_text("sky\nroad\ncar\n")
    data = SegmentationFolder(tmp_path, folder_spec(tmp_path), "", to_tensors)
    with pytest.raises(ValueError, match="other files by .*`annlib data convert`"):
        data.keep_below(2**20)
    problems = check_split(tmp_path, folder_spec(tmp_path), "").problems
    assert any("other files by" in problem for problem in problems)


def test_palettes_of_one_colour_say_nothing_about_the_order(tmp_path: Path) -> None:
    for i, labels in enumerate(LABELS):
        photo(tmp_path / f"from/images/{i}.jpg", i)
        colours = COLOURS if i else COLOURS * 0
        save(tmp_path / f"from/labels/{i}.png", labels, colours.tobytes())
    assert "Pairs: train 4, val 1" in convert(tmp_path / "from", tmp_path / "to")


@pytest.mark.parametrize("name", ["{}.jpg.png", "{}.jpg_mask.png", "{}.JPG.npy"])
def test_label_files_with_the_suffix_of_the_image_are_its_labels(tmp_path: Path, name: str) -> None:
    for i, labels in enumerate(LABELS):
        photo(tmp_path / f"from/img/{i}.jpg", i)
        save(tmp_path / "from/masks" / name.format(i), labels)
    for sample, labels in zip(recognise(tmp_path / "from").samples, LABELS, strict=True):
        assert np.array_equal(sample.codes(), labels)


def test_names_that_do_not_fit_are_shown(tmp_path: Path) -> None:
    photo(tmp_path / "from/images/img_1.jpg")
    save(tmp_path / "from/labels/lab_1.png", LABELS[0])
    shown = (
        r"Nothing to convert .*\n- labels/lab_1\.png: no image\n- images/img_1\.jpg: no label file"
    )
    with pytest.raises(FileNotFoundError, match=shown):
        convert(tmp_path / "from", tmp_path / "to")


def test_values_for_no_data_are_told(tmp_path: Path) -> None:
    for i, labels in enumerate(LABELS):
        photo(tmp_path / f"from/images/{i}.jpg", i)
        numbers = np.where(labels == 2, -9999, labels.astype(int))
        save(tmp_path / f"from/labels/{i}.tif", numbers.astype(np.float32))
    with pytest.raises(
        ValueError, match=r"0\.tif holds -9999 to 1: .* Write 255 where a pixel has"
    ):
        convert(tmp_path / "from", tmp_path / "to")


@pytest.mark.parametrize("name", ["out", "a_train", "images_out/new"])
@pytest.mark.parametrize("form", ["binary", "colour", "coco"])
def test_an_earlier_output_inside_the_folder_is_left_out_and_told(
    tmp_path: Path, name: str, form: str
) -> None:
    root, options = tmp_path / "from", {}
    if form == "coco":
        for split in ("train", "val"):
            coco(root, split, {"segmentation": [[2, 1, 7, 1, 7, 4, 2, 4]]})
    else:
        in_one_folder(root, form)
    if form == "colour":
        (tmp_path / "list.txt").write_text(LIST)
        options["classes"] = str(tmp_path / "list.txt")
    first = convert(root, root / name, **options)
    second = convert(root, tmp_path / "second", seed=7, **options)
    assert second.splitlines()[0] == first.splitlines()[0] and "Pairs: train" in second
    assert f"- {name}: left out, for it looks like an earlier output of" in second
    written = [path.stem for path in (tmp_path / "second").glob("*/images/*")]
    assert sorted(written) == sorted(path.stem for path in (root / name).glob("*/images/*"))


def test_outputs_of_convert_are_converted_where_there_is_nothing_else(tmp_path: Path) -> None:
    for name in ("a", "b"):
        in_one_folder(tmp_path / name, "binary")
        convert(tmp_path / name, tmp_path / "both" / name)
    assert "Pairs: train 8, val 2" in convert(tmp_path / "both", tmp_path / "to")


@pytest.mark.parametrize("names", ["", "sky\nroad\n", "sky\nroad\nignore 255\n"])
@pytest.mark.parametrize(
    "second", [np.uint8([0, 255]), np.array([(0, 0, 0), (255,) * 3], np.uint8)]
)
def test_masks_of_0_and_1_beside_masks_of_0_and_255_are_asked_about(
    tmp_path: Path, names: str, second: np.ndarray
) -> None:
    root, masks = tmp_path / "from", [(labels > 0).astype(np.uint8) for labels in LABELS]
    for i, mask in enumerate(masks):
        photo(root / f"images/{i}.jpg", i)
        save(root / f"masks/{i}.png", second[mask] if i % 2 else mask)
    if names:
        (root / "classes.txt").write_text(names)
    if "ignore" not in names:
        with pytest.raises(ValueError, match="hold 0 and 1, others 0 and 255: make them the same"):
            convert(root, tmp_path / "to")
        masks[2][0, :2] = 1, 255  # a file with both: 255 is what it is elsewhere
        save(root / "masks/2.png", masks[2])
    convert(root, tmp_path / "to")
    expected = sum((m == 1).sum() for m in masks[::2])
    written = [read_labels(path) for path in (tmp_path / "to").glob("*/labels/*.png")]
    assert sum(int((labels == 1).sum()) for labels in written) == expected


@pytest.mark.parametrize(("edge", "refused"), [(range(1, 60), True), (range(1, 9), False)])
def test_masks_with_soft_edges_are_refused(tmp_path: Path, edge: range, refused: bool) -> None:
    mask = np.zeros((30, 40), np.uint8)
    mask[:15] = 255
    mask.flat[580 : 580 + len(edge)] = edge
    for i in range(2):
        photo(tmp_path / f"from/images/{i}.jpg", i)
        save(tmp_path / f"from/masks/{i}.png", mask)
    if refused:
        with pytest.raises(ValueError, match=r"greys \(0, 1, 2, .* and 55 more\), .* threshold"):
            convert(tmp_path / "from", tmp_path / "to")
    else:
        assert "class 8" in convert(tmp_path / "from", tmp_path / "to")


def test_images_that_a_list_of_test_images_leaves_out_are_divided(tmp_path: Path) -> None:
    four_photos(tmp_path / "from", ["a", "b", "c", "d"])  # as the Oxford pets are
    (tmp_path / "from/test.txt").write_text("d 1 1 1\n")
    assert "Pairs: train 2, val 1, test 1" in convert(tmp_path / "from", tmp_path / "to")
    assert [path.stem for path in (tmp_path / "to/test/images").iterdir()] == ["d"]


def test_masks_that_end_in_segmentation_are_labels(tmp_path: Path) -> None:
    for i, labels in enumerate(LABELS):
        photo(tmp_path / f"from/ISIC2018_Training_Input/ISIC_{i}.jpg", i)
        folder = "ISIC2018_Training_GroundTruth" if i % 2 else "ISIC2018_Training_Input"
        save(tmp_path / "from" / folder / f"ISIC_{i}_segmentation.png", labels)
    for sample, labels in zip(recognise(tmp_path / "from").samples, LABELS, strict=True):
        assert np.array_equal(sample.codes(), labels)


def test_labels_that_are_still_packed_are_named(tmp_path: Path) -> None:
    photo(tmp_path / "from/images/a.jpg")
    (tmp_path / "from/masks.zip").write_bytes(b"PK")
    with pytest.raises(FileNotFoundError, match=r"There lies masks\.zip: was it unpacked"):
        convert(tmp_path / "from", tmp_path / "to")


def test_masks_of_one_value_on_a_transparent_ground_are_told(tmp_path: Path) -> None:
    for i in range(2):
        photo(tmp_path / f"from/images/{i}.jpg", i)
        save(tmp_path / f"from/masks/{i}.png", np.uint8([(255,) * 4, (0,) * 4])[LABELS[i] % 2])
    with pytest.raises(ValueError, match="0 classes are left .*transparent pixels are not labell"):
        convert(tmp_path / "from", tmp_path / "to")


@pytest.mark.parametrize(
    ("image", "label", "pairs"),
    [
        ("images/city1/{}.jpg", "labels/city2/{}.png", 0),  # numbers begin again in each city
        ("images/city1/{}.jpg", "labels/city1/{}.png", 3),
        ("images/city1/{}.jpg", "labels/fine/city1/{}.png", 3),
        ("images/{}.jpg", "labels/trimaps/{}.png", 3),
        ("images/day1/{}.jpg", "labels/{}.png", 3),
        ("raw/{}.jpg", "coloured/{}_mask.png", 3),
    ],
)
def test_labels_of_another_folder_are_not_taken(
    tmp_path: Path, image: str, label: str, pairs: int
) -> None:
    for i in range(3):
        photo(tmp_path / "from" / image.format(i), i)
        save(tmp_path / "from" / label.format(i), LABELS[i])
    found = recognise(tmp_path / "from")
    assert len(found.samples) == pairs
    if not pairs:
        assert "images/city1/0.jpg: no label file in a folder that fits" in found.left_out


def test_several_label_files_that_fit_an_image_are_told(tmp_path: Path) -> None:
    for i in range(2):
        photo(tmp_path / f"from/images/{i}.jpg", i)
        for kind in ("cat", "dog"):
            save(tmp_path / f"from/masks/{kind}/{i}.png", LABELS[i])
    with pytest.raises(
        FileNotFoundError, match=r"images/0\.jpg: 2 label files, such as masks/cat/0\.png"
    ):
        convert(tmp_path / "from", tmp_path / "to")


@pytest.mark.parametrize("name", ["split.csv", "my-split.txt"])
def test_a_table_of_splits_that_is_not_read_is_reported(tmp_path: Path, name: str) -> None:
    four_photos(tmp_path / "from", ["a", "b", "c", "d"])
    (tmp_path / "from" / name).write_text("image,split\na.jpg,train\nb.jpg,val\n")
    report = convert(tmp_path / "from", tmp_path / "to")
    assert f"- {name}: not read: if it is a split list, name it" in report


@pytest.mark.parametrize(
    ("colour", "others", "expected"),
    [
        ((10, 200, 10), (9, 9, 9), 2),  # only 255 has the colour of the car
        ((10, 200, 10), (10, 200, 10), 255),  # the end of the palette is filled up
        ((0, 0, 0), (0, 0, 0), 255),
        ((224, 224, 192), (9, 9, 9), 255),  # as VOC draws it
        (None, None, 255),  # the palette ends before
    ],
)
def test_255_of_a_palette_is_a_class_only_where_it_alone_has_its_colour(
    tmp_path: Path, colour: tuple | None, others: tuple | None, expected: int
) -> None:
    palette = [*COLOURS[:2].ravel().tolist()] + [9] * 60
    if colour:
        palette[6:] = [*others] * 253 + [*colour]
    for i, labels in enumerate(LABELS):
        photo(tmp_path / f"from/images/{i}.jpg", i)
        save(tmp_path / f"from/masks/{i}.png", np.where(labels == 2, 255, labels), bytes(palette))
    (tmp_path / "list.txt").write_text(LIST)
    convert(tmp_path / "from", tmp_path / "to", str(tmp_path / "list.txt"))
    for path in (tmp_path / "to").glob("*/labels/*.png"):
        labels = LABELS[int(path.stem)]
        assert np.array_equal(read_labels(path).numpy(), np.where(labels == 2, expected, labels))


@pytest.mark.parametrize("suffix", ["png", "gif"])
@pytest.mark.parametrize("listed", ["", "sky\nroad\n", "sky 0 0 0\nroad 255 255 255\n"])
def test_masks_of_0_and_255_with_a_grey_palette_keep_their_foreground(
    tmp_path: Path, suffix: str, listed: str
) -> None:
    ramp = np.arange(256, dtype=np.uint8).repeat(3).tobytes()
    masks = [np.where(labels > 0, 255, 0).astype(np.uint8) for labels in LABELS]
    masks[2][:] = 0
    for i, mask in enumerate(masks):
        photo(tmp_path / f"from/images/{i}.jpg", i)
        save(tmp_path / f"from/masks/{i}.{suffix}", mask, ramp)
    if listed:
        (tmp_path / "from/classes.txt").write_text(listed)
    convert(tmp_path / "from", tmp_path / "to")
    for path in (tmp_path / "to").glob("*/labels/*.png"):
        assert np.array_equal(read_labels(path).numpy(), masks[int(path.stem)] // 255)


def test_255_is_the_class_that_the_list_calls_white(tmp_path: Path) -> None:
    in_one_folder(tmp_path / "from", "binary")
    (tmp_path / "from/classes.txt").write_text("polyp 255 255 255\nbackground 0 0 0\n")
    assert "0 is background, 255 polyp" in convert(tmp_path / "from", tmp_path / "to")
    for path in (tmp_path / "to").glob("*/labels/*.png"):
        assert np.array_equal(read_labels(path).numpy(), LABELS[int(path.stem)] == 0)


def test_values_beyond_a_palette_are_told(tmp_path: Path) -> None:
    for i, labels in enumerate(LABELS):
        photo(tmp_path / f"from/images/{i}.jpg", i)
        save(tmp_path / f"from/masks/{i}.png", labels + 30, COLOURS.tobytes() + bytes(60))
    (tmp_path / "list.txt").write_text(LIST)
    with pytest.raises(ValueError, match="The class list lacks the value"):
        convert(tmp_path / "from", tmp_path / "to", str(tmp_path / "list.txt"))


def test_colours_beside_values_are_told(tmp_path: Path) -> None:
    in_one_folder(tmp_path / "from", "palette")
    for i in range(2):
        save(tmp_path / f"from/masks/{i}.png", LABELS[i])
    (tmp_path / "list.txt").write_text(LIST)
    with pytest.raises(ValueError, match="hold colours, others values such as 2: make them the"):
        convert(tmp_path / "from", tmp_path / "to", str(tmp_path / "list.txt"))


@pytest.mark.parametrize("listed", [True, False])
def test_colours_that_the_class_list_does_not_give_are_told(tmp_path: Path, listed: bool) -> None:
    colours = np.uint8([(0, 0, 0), (128, 0, 0), (0, 128, 0)])  # of Pascal VOC
    for i, labels in enumerate(LABELS):
        photo(tmp_path / f"from/images/{i}.jpg", i)
        save(tmp_path / f"from/masks/{i}.png", colours[labels])
    lines = "sky 0 0 0\ncar 0 128 0\nroad 128 0 0\n" if listed else "sky\nroad\ncar\n"
    (tmp_path / "list.txt").write_text(lines)
    report = convert(tmp_path / "from", tmp_path / "to", str(tmp_path / "list.txt"))
    assert ("(those of Pascal VOC, by their order)" in report) != listed


@pytest.mark.parametrize("form", ["{}.jpg", "data/{}.jpg", "images/{0}.jpg masks/{0}.png", "{}"])
def test_split_lists_with_folders_mean_these_images_and_not_all_of_a_name(
    tmp_path: Path, form: str
) -> None:
    lists = {"train": ["city1/0", "city1/1"], "val": ["city2/1"]}
    for i, name in enumerate(["city1/0", "city1/1", "city2/0", "city2/1"]):
        photo(tmp_path / f"from/images/{name}.jpg", i)
        save(tmp_path / f"from/masks/{name}.png", LABELS[i])
    for split, some in lists.items():
        (tmp_path / f"from/{split}.txt").write_text("\n".join(map(form.format, some)))
    report = convert(tmp_path / "from", tmp_path / "to")
    assert "Left out: 1\n- images/city2/0.jpg: in no split list" in report
    for split, numbers in {"train": [0, 1], "val": [3]}.items():
        for found, number in zip(converted(tmp_path / "to", split), numbers, strict=True):
            assert np.array_equal(found, LABELS[number])


def test_split_lists_without_folders_mean_all_images_of_a_name(tmp_path: Path) -> None:
    for i, name in enumerate(["a/0", "b/0", "a/1", "b/1"]):
        photo(tmp_path / f"from/images/{name}.jpg", i)
        save(tmp_path / f"from/masks/{name}.png", LABELS[i])
    for split, name in (("train", "0"), ("val", "1.jpg")):
        (tmp_path / f"from/{split}.txt").write_text(name)
    convert(tmp_path / "from", tmp_path / "to")
    written = sorted(path.name for path in (tmp_path / "to/val/images").iterdir())
    assert written == ["a_1.jpg", "b_1.jpg"]
    (tmp_path / "from/val.txt").write_text("1\na/0")
    with pytest.raises(ValueError, match=r"val\.txt lists a/0, also in train"):
        convert(tmp_path / "from", tmp_path / "again")


@pytest.mark.parametrize("image", ["{}.jpg", "images/{}.jpg", "train/{}.jpg"])
@pytest.mark.parametrize("label", ["labels/{}.png", "{}_mask.png", "fine/labels/{}.png"])
@pytest.mark.parametrize("lost", ["labels of b/0", "image a/0 and labels of b/0"])
def test_images_without_labels_do_not_take_those_of_another_folder(
    tmp_path: Path, image: str, label: str, lost: str
) -> None:
    for i, name in enumerate(["a/0", "a/1", "b/0", "b/1"]):
        if name not in lost or name == "b/0":
            photo(tmp_path / "from" / image.format(name), i)
        if name != "b/0":
            save(tmp_path / "from" / label.format(name), LABELS[i])
    found = recognise(tmp_path / "from")
    pairs = {tuple(one.image.with_suffix("").parts[-2:]): one.codes() for one in found.samples}
    expected = {("a", "0"): 0, ("a", "1"): 1, ("b", "1"): 3}
    if "image" in lost:
        del expected["a", "0"]
    assert pairs.keys() == expected.keys()
    assert all(np.array_equal(pairs[key], LABELS[i]) for key, i in expected.items())
    assert f"{image.format('b/0')}: no label file in a folder that fits" in found.left_out
