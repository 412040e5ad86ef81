"""Class lists: built in, or from the file of a folder."""

from pathlib import Path

import pytest

from annlib.data.classes import BALLOON_TOWN, CAMVID, DatasetSpec, folder_spec, spread_colour


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
        ("\n".join(map(str, range(300))), r"names 300 classes"),
        ("sky\nroad\nsky\n", "names 'sky' twice, as class 0 and as class 2"),
        ("sky 0 0 256", r"'sky' the colour \(0, 0, 256\)"),
    ],
)
def test_wrong_classes_are_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
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
