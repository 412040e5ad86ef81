"""From a checkpoint and any photograph to coloured pictures."""

from pathlib import Path

import numpy as np
import pytest
import small_town
import torch
from PIL import Image
from tiny import wake
from torch import nn

from annlib.config import TestConfig
from annlib.data.classes import BALLOON_TOWN
from annlib.data.io import read_image
from annlib.data.transforms import normalise
from annlib.engine.inference import make_predictor
from annlib.engine.predictor import Segmenter, network_of, segment_image, segmenter
from annlib.engine.trainer import Trainer
from annlib.model.ann import ANN
from annlib.model.checkpoint import Checkpoint, load

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


@pytest.fixture(scope="module")
def network(checkpoint: Checkpoint) -> Segmenter:
    return segmenter(network_of(checkpoint), CPU)


def photo(folder: Path, height: int, width: int) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    return folder / "photo.png"


def read(folder: Path, kind: str) -> np.ndarray:
    with Image.open(folder / f"photo.{kind}.png") as image:
        return np.array(image)


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 2), (2, 1), (3, 300), (2000, 1), (1, 5000), (7, 9), (97, 131), (200, 40)]
)
def test_every_size_of_photograph_is_segmented(
    network: Segmenter, tmp_path: Path, size: tuple[int, int]
) -> None:
    segment_image(photo(tmp_path, *size), network, tmp_path)
    assert read(tmp_path, "labels").shape == size
    assert read(tmp_path, "overlay").shape == read(tmp_path, "colours").shape == (*size, 3)


def test_labels_are_the_models_best_class(
    checkpoint: Checkpoint, network: Segmenter, tmp_path: Path
) -> None:
    path = photo(tmp_path, 48, 72)  # the size that the network tests at: nothing is scaled
    segment_image(path, network, tmp_path)
    model = ANN(checkpoint.config)
    model.load_state_dict(checkpoint.model)
    best = model.eval()(normalise(read_image(path))[None]).main[0].argmax(0)
    assert read(tmp_path, "labels").tolist() == best.tolist()


def test_colours_are_those_of_the_labels(network: Segmenter, tmp_path: Path) -> None:
    segment_image(photo(tmp_path, 20, 30), network, tmp_path)
    labels, colours = read(tmp_path, "labels"), read(tmp_path, "colours")
    for row, column in np.ndindex(labels.shape):
        assert tuple(colours[row, column]) == BALLOON_TOWN.palette[labels[row, column]]


def test_overlay_is_half_photograph_half_colours(network: Segmenter, tmp_path: Path) -> None:
    path = photo(tmp_path, 20, 30)
    segment_image(path, network, tmp_path)
    image = read_image(path).permute(1, 2, 0).numpy().astype(float)
    expected = (image + read(tmp_path, "colours")) / 2
    assert np.abs(read(tmp_path, "overlay") - expected).max() <= 0.5


def test_shares_are_of_all_pixels_and_sorted(network: Segmenter, tmp_path: Path) -> None:
    shares = segment_image(photo(tmp_path, 20, 30), network, tmp_path)
    labels = read(tmp_path, "labels")
    names = BALLOON_TOWN.class_names
    assert shares == {names[label]: np.mean(labels == label) for label in np.unique(labels)}
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_photograph_itself_is_left_alone(network: Segmenter, tmp_path: Path) -> None:
    path = photo(tmp_path, 5, 7)
    before = path.read_bytes()
    segment_image(path, network, tmp_path)
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
