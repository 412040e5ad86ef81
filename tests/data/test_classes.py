"""Class lists: from the file of a folder, or built in and compared with other sources than ours."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from golden_rules import golden

from annlib.config import IGNORE_INDEX, ModelConfig
from annlib.data.classes import (
    ADE20K,
    BALLOON_TOWN,
    BENCHMARKS,
    CAMVID,
    CITYSCAPES,
    CITYSCAPES_TRAIN_IDS,
    VOC12AUG,
    DatasetSpec,
    folder_spec,
    spec_with,
    spread_colour,
)
from annlib.data.synthetic import PUBLISHED_IMAGES
from annlib.engine import predictor
from annlib.model.checkpoint import Checkpoint
from annlib.published_experiments import ROWS


def classes_of(root: Path, text: str) -> DatasetSpec:
    (root / "classes.txt").write_bytes(text.encode())
    return folder_spec(root)


def test_classes_file_gives_names_and_colours(tmp_path: Path) -> None:
    text = "\ufeffsky 1 2 3\r\n\r\n  road marking   4 5 6\r\n"  # as Windows writes it
    spec = classes_of(tmp_path, text)
    assert spec.class_names == ("sky", "road marking")
    assert spec.palette == ((1, 2, 3), (4, 5, 6))


def test_classes_without_colours_get_those_of_pascal_voc(tmp_path: Path) -> None:
    spec = classes_of(tmp_path, "sky\nroute 66\nlane 1 2\ncar 1 2 3\n")
    assert spec.class_names == ("sky", "route 66", "lane 1 2", "car")
    assert spec.palette == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (1, 2, 3))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"classes\.txt names 0 classes"),
        ("polyp\n", "names 1 class; 2 to 255 are possible.*background counts: list it as class 0"),
        ("\n".join(map(str, range(300))), r"names 300 classes"),
        ("sky\nroad\nsky\n", "line 3: .* names 'sky' twice"),
        ("sky 0 0 256", r"line 1: .* has the colour \(0, 0, 256\)\. The largest"),
    ],
)
def test_wrong_classes_are_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classes_of(tmp_path, text)


ROAD_AND_SKY = (("road", "sky"), ((128, 64, 128), (0, 128, 255)))


@pytest.mark.parametrize(
    "text",
    [
        "# my classes\nroad 128 64 128\n\n  # up there\nsky 0 128 255  # the blue one\n",
        "name,r,g,b\nroad,128,64,128\nsky, 0, 128, 255\n",
        "id;Name;Red;Green;Blue\n0;road;128;64;128\n1;sky;0;128;255\n",
        "# label:color_rgb:parts:actions\nroad:128,64,128::\nsky:0,128,255:wing,beak:fly\n",
        "label:color_rgb:parts:actions\nroad:128,64,128::\nsky:0,128,255::\n",
        "road #804080\nsky,#0080ff\n",
        "0: road 128 64 128\n1: sky (0, 128, 255)\n",
        "id name\n0 road 128 64 128\n1 sky 0 128 255\n",
        "\"road\",128,64,128\n'sky';0;128;255\n",
        '"name","r","g","b"\n"road","128","64","128"\n"sky","0","128","255"\n',  # of R
        'Class Name,RGB Values\nroad,"128,64,128"\nsky,"0, 128, 255"\n',
        "category,r,g,b\nroad,128,64,128\nsky,0,128,255\n",
        "128 64 128\troad\n0 128 255\t\tsky\n",  # label_colors.txt of CamVid
        "Klasse;R;G;B\nroad;128;64;128\nsky;0;128;255\n",
        "name,r,g,b,\nroad,128,64,128,\nsky,0,128,255,\n",  # of a spreadsheet
        "'road': (128, 64, 128),\n'sky': (0, 128, 255),\n",
    ],
)
def test_class_lists_of_other_tools_are_read_as_the_same_classes(tmp_path: Path, text: str) -> None:
    spec = classes_of(tmp_path, text)
    assert (spec.class_names, spec.palette) == ROAD_AND_SKY


def test_classes_csv_of_roboflow_is_read(tmp_path: Path) -> None:
    spec = classes_of(tmp_path, "Pixel Value, Class\n0, background\n1, road\n2, wet road\n")
    assert spec.class_names == ("background", "road", "wet road")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_class_list_in_any_marked_unicode_is_read(tmp_path: Path, encoding: str) -> None:
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    (tmp_path / "classes.txt").write_bytes(mark + "straße\nhimmel\n".encode(encoding))
    assert folder_spec(tmp_path).class_names == ("straße", "himmel")


@pytest.mark.parametrize(
    ("content", "line", "byte"),
    [
        ("sky\nstraße\n".encode("latin-1"), 2, 8),
        ("road\nsky\n".encode("utf-16-le"), 1, 1),
        (b"\xff\xfer\0\x00", 1, 4),
    ],
)
def test_class_list_in_another_encoding_is_refused(
    tmp_path: Path, content: bytes, line: int, byte: int
) -> None:
    (tmp_path / "classes.txt").write_bytes(content)
    with pytest.raises(ValueError, match=rf"line {line}, byte {byte}: .*save it as UTF-8"):
        folder_spec(tmp_path)


def test_stand_in_for_a_class_list_is_refused(tmp_path: Path) -> None:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    with pytest.raises(ValueError, match=r"classes\.txt .*Git LFS pointer.*`git lfs pull`"):
        classes_of(tmp_path, text)


def test_labels_of_labelme_are_read_as_they_are_meant(tmp_path: Path) -> None:
    spec = classes_of(tmp_path, "__ignore__\n_background_\nroad\n")
    assert (spec.class_names, spec.ignored) == (("background", "road"), (255,))


def test_list_of_convert_with_numbered_classes_is_read(tmp_path: Path) -> None:
    spec = spec_with(f"class {value}" for value in (0, 1, 7))
    parts = zip(spec.class_names, spec.palette, strict=True)
    lines = [f"{name} {r} {g} {b}" for name, (r, g, b) in parts]
    read = classes_of(tmp_path, "\n".join([*lines, "type 2 0 0 1"]))
    assert read.class_names == (*spec.class_names, "type 2")
    assert read.palette[:3] == spec.palette


def test_numbers_that_belong_to_names_stay(tmp_path: Path) -> None:
    spec = classes_of(tmp_path, "2 wheeler\n4 wheeler\nbed, double bed\nred\nlabel 1 2 3\n")
    assert spec.class_names == ("2 wheeler", "4 wheeler", "bed, double bed", "red", "label")


def test_class_list_says_which_label_values_do_not_count(tmp_path: Path) -> None:
    spec = classes_of(tmp_path, "road\nsky\nignore 11, 255\n")
    assert (spec.class_names, spec.ignored) == (("road", "sky"), (11, 255))
    assert spec.label_table()[[0, 1, 11, 255]].tolist() == [0, 1, 255, 255]
    with pytest.raises(ValueError, match="ignores the label 1: only values .* that no class has"):
        classes_of(tmp_path, "road\nsky\nignore 1\n")


def test_class_list_says_which_label_value_a_class_has(tmp_path: Path) -> None:
    spec = classes_of(tmp_path, "background\npolyp\n255=1\n")  # masks of 0 and 255
    assert spec.label_table()[[0, 1, 2, 255]].tolist() == [0, 255, 255, 1]
    assert spec.known_values == {0, 255}
    assert spec.value_table()[:2].tolist() == [0, 255]


@pytest.mark.parametrize("line", ["255=2", "256=1", "0=1", "255=1\nignore 255"])
def test_a_label_value_that_two_classes_or_no_class_would_have_is_refused(
    tmp_path: Path, line: str
) -> None:
    with pytest.raises(ValueError, match=r"classes\.txt (says|ignores)"):
        classes_of(tmp_path, f"background\npolyp\n{line}\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes\nroad\nsky\n", "line 1: 'classes' looks like a heading. Put `#` before it"),
        ("classes:\nroad\nsky\n", "line 1: 'classes:' looks like a heading"),
        ("# c\nroad,0\nsky,1\n", "line 2: 'road,0' is not in a known form. Write `name`"),
        ("road: 0\nsky: 1\n", "line 1: 'road: 0' is not in a known form"),
        ("road,0,0,0,255\nsky,1,1,1,255\n", "line 1: .* is not in a known form"),
        ("road\n128 64 128\n", "line 2: '128 64 128' is not in a known form"),
        ('["road", "sky"]\n', "line 1: .* is not in a known form"),
        ("- road\n- sky\n", "line 1: '- road' is not in a known form"),
        ("// road\nroad\nsky\n", "line 1: '// road' is not in a known form"),
        ("road 0x804080\nsky\n", "line 1: 'road 0x804080' is not in a known form"),
        ("background=0\npolyp=255\n", "line 1: 'background=0' is not in a known form"),
        ("road #drivable\nsky\n", "line 1: 'road #drivable' is not in a known form"),
        ("road 0.5 0.2 0.5\nsky 0 0 0\n", "line 1: .* ends with fractions. Colours are whole"),
        ("#804080 road\nsky\n", "line 1: .* has its colour first"),
        ("1: road\n2: sky\n", "line 1: '1: road' has the number 1, but is class 0"),
        ("1 road\n2 sky\n", "line 1: '1 road' has the number 1, but is class 0"),
        ("0: road\n2: sky\n", "line 2: '2: sky' has the number 2, but is class 1"),
        ("7 128 64 128\n8 0 0 0\n", "line 1: .* has the number 7"),
        ("road 0\nsky 1\n", "line 1: 'road 0' has a number behind the name 'road'"),
        ("road 128 64 128 255\nsky 0 128 255 255\n", "line 1: .* number behind the name 'road'"),
        ("road 128 64 128\nsky 0 128 0 255\n", "line 2: .* number behind the name 'sky'. Remove"),
        ("road\t7\nsky\t23\n", "line 1: 'road.*7' is not in a known form"),
        ("0 Clear 0 0 0 0\n1 liver 255 0 0 255\n", "line 1: .* number behind the name 'Clear'"),
        ('0  0 0 0  0 0 0  "Clear"\n1  9 0 0  1 1 1  "Label"\n', "line 1: .* known form"),
        ("Idx\tRatio\tName\n1\t0.1\twall\n2\t0.2\tdoor\n", "line 1: .* not in a known form"),
        ("Sorte;R;G;B\nroad;128;64;128\nsky;0;0;9\n", "line 1: 'Sorte;R;G;B' looks like a head"),
        ("Nr Sorte\n0 road\n1 sky\n", "line 1: 'Nr Sorte' looks like a heading"),
        ("no. sign\n0: road\n1: sky\n", "line 1: 'no. sign' looks like a heading"),
        ("Klasse\nStraße\nHimmel\n", "line 1: 'Klasse' looks like a heading"),
        ("类别\n路\n天空\n", "line 1: '类别' looks like a heading"),
        ("road, sky, car\n", "names 1 class; .* one a line"),
        ("Bezeichnung\tRot\nroad 1 2 3\nsky 4 5 6", "line 1: .* a heading. Put `#` before it"),
        ("road\nsky\n255 void\n", "line 3: .* the number 255, .* write `ignore 255`"),
        ("0 road\n1 sky\n255 void\n", "line 3: .* the number 255, .* write `ignore 255`"),
        ("0 road\n2 sky\n", "line 2: '2 sky' has the number 2, but is class 1"),
        ("road 0 0 0\nsky 1 2 999\n", r"line 2: .* has the colour \(1, 2, 999\)"),
    ],
)
def test_lines_that_could_be_misread_are_refused_with_their_place(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ValueError, match=rf"classes\.txt.*{message}"):
        classes_of(tmp_path, text)


def test_missing_classes_file_error_shows_how_it_should_look(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no .*classes\.txt.*`name red green blue`"):
        folder_spec(tmp_path)


def test_spread_colours_are_those_of_pascal_voc() -> None:
    """Bit by bit, as VOC's own development kit counts: three bits of the index at a time."""
    for index in range(256):
        colour, rest = [0, 0, 0], index
        for place in (128, 64, 32, 16, 8, 4, 2, 1):
            colour = [c + place * (rest >> i & 1) for i, c in enumerate(colour)]
            rest >>= 3
        assert spread_colour(index) == tuple(colour)
    assert [spread_colour(i) for i in (1, 15)] == [(128, 0, 0), (192, 128, 128)]  # plane, person


@pytest.mark.parametrize("spec", [BALLOON_TOWN, CAMVID], ids=lambda spec: spec.name)
def test_built_in_classes_have_a_name_and_a_colour_each(spec: DatasetSpec) -> None:
    assert len(set(spec.class_names)) == len(set(spec.palette)) == spec.num_classes


THREE = DatasetSpec("three", ("a", "b", "c"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)), (9, 4), (5, 6, 2))


def test_label_table_and_value_table_are_each_others_inverse() -> None:
    to_class, to_value = THREE.label_table().tolist(), THREE.value_table().tolist()
    assert [to_class[value] for value in (5, 6, 2)] == [0, 1, 2]
    assert to_value[:3] == [5, 6, 2]
    assert {to_class[value] for value in range(256) if value not in (5, 6, 2)} == {255}
    assert set(to_value[3:]) == {9}  # the data set's own way to say: no class


def test_values_of_a_data_set_without_a_table_are_its_indices() -> None:
    assert CAMVID.class_values == tuple(range(11))
    assert CAMVID.known_values == {*range(12), 255}
    assert BALLOON_TOWN.value_table()[255] == 255


def test_colour_table_is_the_palette_and_black() -> None:
    table = THREE.colour_table().tolist()
    assert table[:4] == [[1, 1, 1], [2, 2, 2], [3, 3, 3], [0, 0, 0]]


# Benchmarks

every = pytest.mark.parametrize(
    "spec",
    [*BENCHMARKS, CITYSCAPES_TRAIN_IDS],
    ids=lambda spec: f"{spec.name}{spec.label_values[:1]}",
)


def test_cityscapes_ids_become_the_train_ids_that_torchvision_knows() -> None:
    from torchvision.datasets import Cityscapes

    known = [label for label in Cityscapes.classes if label.id >= 0]  # -1: licence plates, no file
    table = CITYSCAPES.label_table().tolist()
    assert [table[label.id] for label in known] == [label.train_id for label in known]
    assert CITYSCAPES.known_values == {*(label.id for label in known), IGNORE_INDEX}


def test_cityscapes_names_and_colours_are_those_that_torchvision_knows() -> None:
    from torchvision.datasets import Cityscapes

    theirs = {label.train_id: label for label in Cityscapes.classes if 0 <= label.train_id < 255}
    assert CITYSCAPES.class_names == tuple(theirs[i].name for i in range(19))
    assert CITYSCAPES.palette == tuple(theirs[i].color for i in range(19))


def test_ready_made_train_ids_stay_as_they_are() -> None:
    table = CITYSCAPES_TRAIN_IDS.label_table().tolist()
    assert table[:19] == list(range(19))
    assert CITYSCAPES_TRAIN_IDS.known_values == {*range(19), IGNORE_INDEX}


def test_ade20k_labels_are_reduced_as_the_reference_does() -> None:
    case = golden()["transforms"]["reduce_zero_label"]
    table = ADE20K.label_table().tolist()
    pairs = [p for p in zip(case["inp"], case["out"], strict=True) if p[0] in ADE20K.known_values]
    assert len(pairs) > 5
    assert [table[value] for value, _ in pairs] == [index for _, index in pairs]


def test_ade20k_begins_and_ends_with_its_classes() -> None:
    names = ADE20K.class_names
    assert (names[0], names[12], names[44], names[149]) == (
        *("wall", "person", "chest of drawers"),
        "flag",
    )
    assert (ADE20K.palette[0], ADE20K.palette[149]) == ((120, 120, 120), (92, 0, 255))


def test_voc_classes_are_those_that_torchvision_knows() -> None:
    from torchvision.models.segmentation import FCN_ResNet50_Weights

    theirs = FCN_ResNet50_Weights.DEFAULT.meta["categories"]
    ours = [name.replace(" ", "") for name in VOC12AUG.class_names]
    assert ours == [name.strip("_") for name in theirs]
    assert VOC12AUG.label_table().tolist() == [*range(21), *[IGNORE_INDEX] * 235]


@every
def test_predictions_survive_the_way_to_the_server_and_back(spec: DatasetSpec) -> None:
    classes = torch.arange(spec.num_classes)
    values = spec.value_table()[classes]
    assert torch.equal(spec.label_table()[values.int()], classes.byte())
    assert int(spec.label_table()[int(spec.value_table()[IGNORE_INDEX])]) == IGNORE_INDEX


def test_servers_get_ids_numbers_from_one_and_indices() -> None:
    assert CITYSCAPES.value_table()[[0, 18]].tolist() == [7, 33]
    assert ADE20K.value_table()[[0, 149]].tolist() == [1, 150]
    assert VOC12AUG.value_table()[[0, 20]].tolist() == [0, 20]


@every
def test_every_class_has_a_name_of_its_own_and_a_colour(spec: DatasetSpec) -> None:
    assert len(set(spec.class_names)) == len(spec.palette) == spec.num_classes
    assert all(len(rgb) == 3 and max(rgb) < 256 for rgb in spec.palette)


def test_published_rows_have_the_classes_of_their_data_set() -> None:
    known = {spec.name: spec for spec in BENCHMARKS}
    for row in ROWS:
        assert row.experiment.model.num_classes == known[row.experiment.data.dataset].num_classes
        assert set(PUBLISHED_IMAGES[row.experiment.data.dataset]) == {"train", "val"}


def in_a_checkpoint(classes: dict) -> Checkpoint:
    """With these notes, as they come back from a file."""
    config = ModelConfig(50, num_classes=len(classes["class_names"]))
    notes = {"classes": json.loads(json.dumps(classes))}
    return Checkpoint(Path("a.safetensors"), config, 0, notes, {}, None)


@every
def test_classes_come_back_from_a_checkpoint(spec: DatasetSpec) -> None:
    assert predictor.network_of(in_a_checkpoint(asdict(spec))).spec == spec


def test_checkpoints_from_before_there_were_layouts_are_read() -> None:
    spec = replace(VOC12AUG, layout="folder")
    old = {key: asdict(spec)[key] for key in ("name", "class_names", "palette", "ignored")}
    assert predictor.network_of(in_a_checkpoint(old)).spec == spec
