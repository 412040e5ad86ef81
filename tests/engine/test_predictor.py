"""From a checkpoint or a published name to a network, and from an image to colours and labels."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import small_town
import torch
from PIL import Image
from tiny import TINY, wake
from torch import nn

from annlib.cli.evaluate import read_as_folder
from annlib.cli.predict import segment_image, with_legend
from annlib.config import TestConfig
from annlib.data.classes import ADE20K, BALLOON_TOWN, CAMVID, CITYSCAPES, VOC12AUG, DatasetSpec
from annlib.data.io import normalise, read_image, read_labels
from annlib.engine import predictor
from annlib.engine.inference import make_label_predictor, make_predictor
from annlib.engine.predictor import (
    Network,
    Segmenter,
    find_network,
    fitted_test,
    network_of,
    save_prediction,
    segment,
    segmenter,
)
from annlib.engine.trainer import Trainer
from annlib.model.ann import ANN
from annlib.model.checkpoint import Checkpoint, checksum, load, save
from annlib.published_experiments import ROWS

CPU = torch.device("cpu")
TOWN = small_town.LAPTOP["balloon_ann"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Untrained, but with every trait of a trained one."""
    run = Trainer(TOWN, BALLOON_TOWN, tmp_path_factory.mktemp("run"), CPU)
    torch.manual_seed(0)
    wake(run.model)
    run.save()
    return load(run.checkpoint)


def test_file_brings_its_classes_and_its_way_of_testing(checkpoint: Checkpoint) -> None:
    network = find_network(str(checkpoint.path))
    assert (network.spec, network.test) == (BALLOON_TOWN, TOWN.test)


def test_network_of_a_file_has_its_weights(checkpoint: Checkpoint) -> None:
    weights = find_network(str(checkpoint.path)).load().state_dict()
    assert weights.keys() == checkpoint.model.keys()
    assert all(torch.equal(weights[key], checkpoint.model[key]) for key in weights)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.experiment.name)
def test_published_name_brings_classes_and_test_of_its_row(
    row, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []
    monkeypatch.setattr("annlib.model.hub.load_published", lambda name: fetched.append(name))
    network = find_network(row.experiment.name)
    specs = {"cityscapes": CITYSCAPES, "ade20k": ADE20K, "voc12aug": VOC12AUG}
    assert network.spec == specs[row.experiment.data.dataset]
    assert network.spec.num_classes == row.experiment.model.num_classes
    assert network.test == row.experiment.test
    assert fetched == []  # not before it is needed
    network.load()
    assert fetched == [row.experiment.name]


@pytest.mark.parametrize(("process", "order"), [("0", "load wait"), ("1", "wait load")])
def test_first_process_of_a_machine_fetches_for_the_others(
    process: str, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    monkeypatch.setenv("LOCAL_RANK", process)
    monkeypatch.setattr("annlib.engine.distributed.wait_for_all", lambda: events.append("wait"))
    model = ANN(TINY)
    network = Network("tiny", BALLOON_TOWN, TOWN.test, lambda: events.append("load") or model)
    assert segmenter(network, CPU).weights_crc32 == checksum("", model.state_dict())
    assert " ".join(events) == order


@pytest.mark.parametrize("what", ["missing.safetensors", "runs/missing", ".", "a.pth"])
def test_missing_file_is_told_as_a_file(what: str) -> None:
    with pytest.raises(FileNotFoundError, match="There is no checkpoint"):
        find_network(what)


def test_misspelt_name_is_told_with_the_nearest() -> None:
    name = ROWS[0].experiment.name
    with pytest.raises(KeyError, match=name):
        find_network(name.replace("cityscapes", "cityscape"))


@pytest.mark.parametrize("spec", [CITYSCAPES, ADE20K, VOC12AUG, BALLOON_TOWN])
def test_class_list_survives_being_written_as_json(checkpoint: Checkpoint, spec) -> None:
    config = replace(TINY, num_classes=spec.num_classes)
    notes = json.loads(json.dumps({"classes": asdict(spec)}))
    assert network_of(checkpoint._replace(config=config, notes=notes)).spec == spec


def test_bare_checkpoint_tests_pictures_as_they_are(checkpoint: Checkpoint) -> None:
    bare = checkpoint._replace(notes={"classes": asdict(BALLOON_TOWN)})
    assert network_of(bare).test == TestConfig()


def test_checkpoint_without_class_names_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.safetensors", ANN(replace(TINY, num_classes=3)))
    with pytest.raises(ValueError, match=r"a\.safetensors does not say what its 3 classes are"):
        find_network(str(tmp_path / "a.safetensors"))


@pytest.mark.parametrize("row", (ROWS[0], ROWS[8], ROWS[-1]), ids=lambda row: row.stamp)
def test_fetched_weights_have_the_classes_of_their_row(checkpoint: Checkpoint, row) -> None:
    notes = json.loads(json.dumps({"experiment": asdict(row.experiment)}))
    fetched = checkpoint._replace(config=row.experiment.model, notes=notes)
    network = network_of(fetched)
    assert network.spec.name == row.experiment.data.dataset
    assert network.test == row.experiment.test


def test_checkpoint_with_another_number_of_names_than_classes_is_refused(
    checkpoint: Checkpoint,
) -> None:
    other = checkpoint._replace(config=replace(checkpoint.config, num_classes=11))
    with pytest.raises(ValueError, match="has 11 classes, but its list has the 10 of balloon_town"):
        network_of(other)


def write_classes(folder: Path, names: list[str]) -> Path:
    (folder / "classes.txt").write_text("\n".join(names))
    return folder


def test_folder_with_the_classes_of_the_network_is_accepted(tmp_path: Path) -> None:
    read_as_folder(BALLOON_TOWN, write_classes(tmp_path, list(BALLOON_TOWN.class_names)))
    (tmp_path / "classes.txt").unlink()
    read_as_folder(BALLOON_TOWN, tmp_path)
    read_as_folder(BALLOON_TOWN, None)


def test_exchanged_classes_of_a_folder_are_named(tmp_path: Path) -> None:
    first, second, *others = BALLOON_TOWN.class_names
    with pytest.raises(ValueError, match=f"0: {first} / {second}, 1: {second} / {first} "):
        read_as_folder(BALLOON_TOWN, write_classes(tmp_path, [second, first, *others]))


def test_missing_and_additional_classes_of_a_folder_are_named(tmp_path: Path) -> None:
    names = list(BALLOON_TOWN.class_names)
    with pytest.raises(ValueError, match=f"lists 9. They differ at 9: {names[-1]} / none "):
        read_as_folder(BALLOON_TOWN, write_classes(tmp_path, names[:-1]))
    with pytest.raises(ValueError, match="lists 11. They differ at 10: none / moon "):
        read_as_folder(BALLOON_TOWN, write_classes(tmp_path, [*names, "moon"]))
    with pytest.raises(ValueError, match="lists 2. They differ at 0: .* and further on "):
        read_as_folder(BALLOON_TOWN, write_classes(tmp_path, ["moon", "star"]))


@pytest.fixture(scope="module")
def network(checkpoint: Checkpoint) -> Segmenter:
    return segmenter(network_of(checkpoint), CPU)


def photo(folder: Path, height: int, width: int) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    return folder / "photo.png"


def predict(path: Path, network: Segmenter, folder: Path) -> dict[str, float]:
    return segment_image(path, network, folder / "photo", lambda size: network.test)[0]


def read(folder: Path, kind: str) -> np.ndarray:
    with Image.open(folder / f"photo.{kind}.png") as image:
        return np.array(image)


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 2), (2, 1), (3, 300), (2000, 1), (1, 5000), (7, 9), (97, 131), (200, 40)]
)
def test_every_size_of_photograph_is_segmented(
    network: Segmenter, tmp_path: Path, size: tuple[int, int]
) -> None:
    predict(photo(tmp_path, *size), network, tmp_path)
    assert read(tmp_path, "labels").shape == size
    assert read(tmp_path, "colours").shape == (*size, 3)
    height, width, _ = read(tmp_path, "overlay").shape
    assert height > size[0] and width >= size[1]  # the legend is below it


def test_labels_are_the_models_best_class(
    checkpoint: Checkpoint, network: Segmenter, tmp_path: Path
) -> None:
    path = photo(tmp_path, 48, 72)  # the size that the network tests at: nothing is scaled
    predict(path, network, tmp_path)
    model = ANN(checkpoint.config)
    model.load_state_dict(checkpoint.model)
    best = model.eval()(normalise(read_image(path))[None]).main[0].argmax(0)
    assert read(tmp_path, "labels").tolist() == best.tolist()


def test_colours_are_those_of_the_labels(network: Segmenter, tmp_path: Path) -> None:
    predict(photo(tmp_path, 20, 30), network, tmp_path)
    labels, colours = read(tmp_path, "labels"), read(tmp_path, "colours")
    for row, column in np.ndindex(labels.shape):
        assert tuple(colours[row, column]) == BALLOON_TOWN.palette[labels[row, column]]


def test_overlay_is_half_photograph_half_colours(network: Segmenter, tmp_path: Path) -> None:
    path = photo(tmp_path, 20, 30)
    predict(path, network, tmp_path)
    image = read_image(path).permute(1, 2, 0).numpy().astype(float)
    expected = (image + read(tmp_path, "colours")) / 2
    assert np.abs(read(tmp_path, "overlay")[:20, :30] - expected).max() <= 0.5


def test_legend_wraps_and_hides_nothing_of_the_image() -> None:
    image, entries = Image.new("RGB", (301, 99), "red"), [("a" * 20, (0, 0, 255))] * 7
    page = with_legend(image, entries)
    assert page.crop((0, 0, 301, 99)).tobytes() == image.tobytes()
    below = np.array(page)[99:]
    assert (page.width % 2, page.height % 2) == (0, 0)
    blue = (below == (0, 0, 255)).all(-1)
    starts = np.diff(blue.any(1).astype(int)).clip(0).sum()  # rows of swatches
    assert starts > 1 and page.width < 310


LARGE = TestConfig(base_size=(40, 60))


def test_image_that_fits_is_tested_as_it_is_and_a_larger_one_in_windows() -> None:
    assert fitted_test((4000, 6000), LARGE, (40, 60), None) == LARGE
    native = replace(LARGE, base_size=None)
    assert fitted_test((40, 50), native, (40, 60), None) == native
    found = fitted_test((41, 60), native, (40, 60), None)
    assert (found.mode, found.window, found.stride) == ("slide", (40, 60), (26, 40))
    assert fitted_test((90, 60), native, (40, 60), None).window == (60, 40)  # upright, as the image
    assert fitted_test((90, 60), native, (40, 60), "whole").window is None


def test_windows_of_a_network_are_kept() -> None:
    own = TestConfig("slide", (769, 769), (513, 513))
    assert fitted_test((300, 400), own, None, None) == own


def test_large_image_is_segmented_as_by_windows_of_its_own_pixels(network: Segmenter) -> None:
    image = torch.randint(0, 256, (3, 110, 170), dtype=torch.uint8)
    test = fitted_test((110, 170), TestConfig(), (48, 72), None)
    expected = make_label_predictor(network.model, test)(normalise(image)[None])[0]
    assert torch.equal(segment(network, image, test, "it"), expected)
    assert (test.window, expected.shape) == ((48, 72), (110, 170))


def test_details_finer_than_a_pixel_are_averaged(network: Segmenter) -> None:
    """Without it the network would see one column of the stripes, here the white ones."""
    stripes = torch.zeros(3, 480, 720, dtype=torch.uint8)
    stripes[..., ::2] = 254
    grey = torch.full((3, 480, 720), 127, dtype=torch.uint8)
    found = segment(network, stripes, network.test, "it")
    assert found.shape == (480, 720)
    assert torch.equal(found, segment(network, grey, network.test, "it"))


def test_shares_are_of_all_pixels_and_sorted(network: Segmenter, tmp_path: Path) -> None:
    shares = predict(photo(tmp_path, 20, 30), network, tmp_path)
    labels = read(tmp_path, "labels")
    names = BALLOON_TOWN.class_names
    assert shares == {names[label]: np.mean(labels == label) for label in np.unique(labels)}
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_photograph_itself_is_left_alone(network: Segmenter, tmp_path: Path) -> None:
    path = photo(tmp_path, 5, 7)
    before = path.read_bytes()
    predict(path, network, tmp_path)
    assert path.read_bytes() == before


def test_test_and_precision_can_be_chosen(checkpoint: Checkpoint) -> None:
    test = TestConfig(flip=True)
    chosen = segmenter(network_of(checkpoint), CPU, test, "bf16")
    assert (chosen.test, chosen.precision) == (test, "bf16")
    images = torch.randn(1, 3, 33, 57)
    exact = make_predictor(chosen.model, test)(images).exp()
    found = exact.gather(1, chosen.label(images)[:, None].long())[:, 0]
    assert (exact.amax(1) - found).max() <= 0.4  # each probability is at most 0.2 off
    seen = []
    convolution = next(part for part in chosen.model.modules() if isinstance(part, nn.Conv2d))
    convolution.register_forward_hook(lambda part, given, made: seen.append(made.dtype))
    chosen.label(images)
    assert set(seen) == {torch.bfloat16}


SPECS = (CITYSCAPES, ADE20K, VOC12AUG, CAMVID, BALLOON_TOWN)
every_spec = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)


def random_labels(spec: DatasetSpec) -> torch.Tensor:
    return torch.randint(spec.num_classes, (13, 29), dtype=torch.uint8)


@every_spec
def test_saved_labels_are_read_back_as_the_prediction(spec: DatasetSpec, tmp_path: Path) -> None:
    labels = random_labels(spec)
    save_prediction(labels, spec, tmp_path, "a")
    values = read_labels(tmp_path / "labels/a.png")  # as if it were a label file of the data set
    assert torch.equal(spec.label_table()[values.int()], labels)


@every_spec
def test_saved_colours_are_those_of_the_classes(spec: DatasetSpec, tmp_path: Path) -> None:
    labels = random_labels(spec)
    save_prediction(labels, spec, tmp_path, "a")
    colours = read_image(tmp_path / "colours/a.png").permute(1, 2, 0)
    for row, column in np.ndindex(*labels.shape):
        assert tuple(colours[row, column].tolist()) == spec.palette[labels[row, column]]


def values_in(path: Path) -> tuple[str, list[list[int]]]:
    with Image.open(path) as image:
        return image.mode, np.array(image).tolist()


def test_cityscapes_gets_label_ids_not_train_ids(tmp_path: Path) -> None:
    save_prediction(torch.tensor([[0, 10, 18]], dtype=torch.uint8), CITYSCAPES, tmp_path, "a")
    assert values_in(tmp_path / "labels/a.png") == ("L", [[7, 23, 33]])  # road, sky, bicycle


def test_ade20k_counts_from_one(tmp_path: Path) -> None:
    save_prediction(torch.tensor([[0, 149]], dtype=torch.uint8), ADE20K, tmp_path, "a")
    assert values_in(tmp_path / "labels/a.png") == ("L", [[1, 150]])


def test_voc_gets_indices_that_look_like_their_colours(tmp_path: Path) -> None:
    save_prediction(torch.tensor([[0, 15, 20]], dtype=torch.uint8), VOC12AUG, tmp_path, "a")
    assert values_in(tmp_path / "labels/a.png") == ("P", [[0, 15, 20]])
    seen = read_image(tmp_path / "labels/a.png").permute(1, 2, 0)[0].tolist()
    assert seen == [[0, 0, 0], [192, 128, 128], [0, 64, 128]]  # background, person, tv monitor


def test_pixels_without_a_class_are_black(tmp_path: Path) -> None:
    save_prediction(torch.tensor([[255]], dtype=torch.uint8), VOC12AUG, tmp_path, "a")
    assert values_in(tmp_path / "colours/a.png") == ("RGB", [[[0, 0, 0]]])


def test_picture_that_cannot_be_written_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(predictor, "write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        save_prediction(random_labels(CAMVID), CAMVID, tmp_path, "a")
    assert list(tmp_path.rglob("*.png")) == []
