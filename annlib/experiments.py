"""Experiments on data that everybody has: Balloon Town, and a folder of images."""

from dataclasses import replace
from difflib import get_close_matches

from annlib.config import DataConfig, Experiment, Head, ModelConfig, TestConfig, TrainConfig
from annlib.zoo import NAMES

HEADS: tuple[Head, ...] = ("fcn", "ppm", "nonlocal", "apnb", "ann")
PPM_SCALES = (1, 2, 3, 6)  # of PSPNet, whose module it is

TOWN_MODEL = ModelConfig(
    depth=9,
    num_classes=10,
    key_channels=32,
    value_channels=32,
    hidden_channels=64,
    aux_channels=64,
    # Dropout drops whole channels. Here 64 of them must distinguish six paints, and scenes come
    # from a generator: there is little to overfit, and much to lose.
    dropout=0.0,
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
    "folder",
    crop_size=(128, 176),
    base_size=(180, 240),
    batch_size=8,
    ratio_range=(0.75, 1.6),
    balance_classes=True,
)
PHOTO_RECIPE = replace(TOWN_RECIPE, iterations=1300, class_weights=())


def with_head(model: ModelConfig, head: Head) -> ModelConfig:
    """The same sizes with another block."""
    return replace(model, head=head, pool_scales=PPM_SCALES if head == "ppm" else model.pool_scales)


def town(head: Head) -> Experiment:
    test = TestConfig(base_size=(128, 192))  # the size of a scene, which other images are scaled to
    return Experiment(f"balloon_{head}", with_head(TOWN_MODEL, head), TOWN_DATA, TOWN_RECIPE, test)


def photos(head: Head) -> Experiment:
    test = TestConfig(base_size=PHOTO_DATA.base_size)
    return Experiment(
        f"photos_{head}", with_head(PHOTO_MODEL, head), PHOTO_DATA, PHOTO_RECIPE, test
    )


# The published network and recipe where no published data is at hand. Made for a GPU; on a CPU
# for tens of steps. Balloon Town is scaled to the size of a street scene, and never cropped:
# without its balloon, the class of a house is unknown.
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
    experiment.name: experiment
    for experiment in [*(town(head) for head in HEADS), *(photos(head) for head in HEADS)]
}
FULL_SIZE: dict[str, Experiment] = {e.name: e for e in (TOWN_R50, PHOTOS_R50)}


def find_experiment(name: str) -> Experiment:
    """The experiment of that name, laptop-sized or published, also with .py behind it.

    Raises KeyError with the nearest names for an unknown one.
    """
    name = name.removesuffix(".py")
    known = LAPTOP | FULL_SIZE | {row: published.experiment for row, published in NAMES.items()}
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.4) or list(LAPTOP)
        raise KeyError(f"No experiment {name!r}. Nearest: {', '.join(near)}.")
    return known[name]
