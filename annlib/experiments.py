"""Experiments on data that everybody has: Balloon Town, and a folder of images."""

import tomllib
from dataclasses import replace
from pathlib import Path

from annlib import config
from annlib.config import DataConfig, Experiment, Head, ModelConfig, TestConfig, TrainConfig
from annlib.published_experiments import NAMES, look_up

HEADS: tuple[Head, ...] = ("fcn", "ppm", "nonlocal", "apnb", "ann")
PPM_SCALES = (1, 2, 3, 6)  # of PSPNet, whose module it is

TOWN_MODEL = ModelConfig(
    depth=9,
    num_classes=10,
    key_channels=32,
    value_channels=32,
    hidden_channels=64,
    aux_channels=64,
    dropout=0.0,  # there is little to overfit, and 64 channels must distinguish six paints
)
TOWN_DATA = DataConfig("balloon_town", None, None, batch_size=8, color_jitter=False)
TOWN_RECIPE = TrainConfig(
    iterations=1000,
    base_lr=6e-3,
    min_lr=0.0,
    optimizer="adamw",
    weight_decay=1e-2,
    warmup=50,
    clip_norm=5.0,
    class_weights=(1, 1, 1, 1, 1, 1, 1, 3, 3, 3),  # houses: few pixels, and the question
    label_stride=4,
)
PHOTO_MODEL = replace(
    TOWN_MODEL,
    depth=17,
    num_classes=11,
    key_channels=48,
    value_channels=48,
    hidden_channels=96,
    aux_channels=96,
    width=96,
)
PHOTO_DATA = DataConfig(
    "folder", (128, 176), (180, 240), batch_size=8, ratio_range=(0.75, 1.6), balance_classes=True
)
PHOTO_RECIPE = replace(TOWN_RECIPE, iterations=1300, class_weights=())

STREETS_MODEL = replace(PHOTO_MODEL, depth=25, width=128, dropout=0.1)
STREETS_DATA = replace(
    PHOTO_DATA, crop_size=(256, 352), base_size=(360, 480), batch_size=4, ratio_range=(0.5, 2.0)
)
STREETS_RECIPE = replace(PHOTO_RECIPE, iterations=9_000, base_lr=4e-3)


def with_head(model: ModelConfig, head: Head) -> ModelConfig:
    """The same sizes with another block."""
    return replace(model, head=head, pool_scales=PPM_SCALES if head == "ppm" else model.pool_scales)


def town(head: Head) -> Experiment:
    test = TestConfig(base_size=(128, 192))  # the size of a scene, which other images are scaled to
    return Experiment(f"balloon_{head}", with_head(TOWN_MODEL, head), TOWN_DATA, TOWN_RECIPE, test)


def photos(head: Head) -> Experiment:
    model, test = with_head(PHOTO_MODEL, head), TestConfig(base_size=PHOTO_DATA.base_size)
    return Experiment(f"photos_{head}", model, PHOTO_DATA, PHOTO_RECIPE, test)


def streets(head: Head) -> Experiment:
    """For CamVid's 367 training images, size and recipe chosen on its validation split."""
    model, test = with_head(STREETS_MODEL, head), TestConfig(base_size=STREETS_DATA.base_size)
    return Experiment(f"streets_{head}", model, STREETS_DATA, STREETS_RECIPE, test)


# The published network and recipe on other data, for a GPU. Balloon Town is scaled to the size of a
# street scene, and never cropped: without its balloon, the class of a house is unknown.
TOWN_R50 = Experiment(
    "balloon_r50",
    ModelConfig(50, num_classes=10),
    replace(TOWN_DATA, base_size=(683, 1024), ratio_range=(1.0, 1.0)),
    TrainConfig(iterations=4000),
    TestConfig(base_size=(683, 1024)),
)
PHOTOS_R50 = Experiment(
    "photos_r50",
    ModelConfig(50, num_classes=11),
    DataConfig("folder", crop_size=(256, 256), base_size=(360, 480), batch_size=8),
    TrainConfig(iterations=20_000),
    TestConfig(base_size=(360, 480)),
)
LAPTOP: dict[str, Experiment] = {
    e.name: e for make in (town, photos, streets) for e in map(make, HEADS)
}
FULL_SIZE: dict[str, Experiment] = {e.name: e for e in (TOWN_R50, PHOTOS_R50)}


def read_experiment_file(path: Path) -> Experiment:
    """The experiment of a TOML file: `base = "photos_ann"`, then tables such as [train]."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path} is not TOML: {error}.") from error
    if not isinstance(base := tables.pop("base", None), str):
        raise ValueError(f'{path} must begin with the experiment it changes: base = "photos_ann"')
    name = tables.pop("name", path.stem)
    return replace(config.with_tables(find_experiment(base), tables, str(path)), name=str(name))


def find_experiment(name: str) -> Experiment:
    """The experiment of that name, laptop-sized or published; errors as `look_up`."""
    published = {row: published.experiment for row, published in NAMES.items()}
    return look_up(name, LAPTOP | FULL_SIZE | published, "experiment", LAPTOP)
