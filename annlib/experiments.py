"""Experiments small enough for a laptop: Balloon Town, and a folder of photographs."""

from dataclasses import replace
from difflib import get_close_matches

from annlib.config import DataConfig, Experiment, Head, ModelConfig, TestConfig, TrainConfig
from annlib.zoo import ZOO

HEADS: tuple[Head, ...] = ("fcn", "ppm", "nonlocal", "apnb", "ann")
PPM_SCALES = (1, 2, 3, 6)  # of PSPNet, whose module it is

TOWN_MODEL = ModelConfig(
    depth=9,
    num_classes=10,
    key_channels=32,
    value_channels=32,
    hidden_channels=64,
    aux_channels=64,
    # Dropout2d drops whole channels. Where 64 of them must keep six paints apart, that cost a run
    # up to 500 steps until it found the matching, and nothing overfits here.
    dropout=0.0,
)
TOWN_DATA = DataConfig("balloon_town", None, None, batch_size=8, color_jitter=False)
TOWN_RECIPE = TrainConfig(
    iterations=700,
    base_lr=6e-3,  # at 1.2e-2 every head stays with the vote: colours are lost before they help
    min_lr=0.0,
    optimizer="adamw",
    weight_decay=1e-2,
    warmup=50,
    clip_norm=5.0,
    class_weights=(1, 1, 1, 1, 1, 1, 1, 3, 3, 3),  # houses: few pixels, and what it is all about
    label_stride=4,
)
PHOTO_MODEL = ModelConfig(
    depth=17,
    num_classes=11,
    key_channels=48,
    value_channels=48,
    hidden_channels=96,
    aux_channels=96,
    dropout=0.05,
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
PHOTO_RECIPE = TrainConfig(
    iterations=1300,
    base_lr=3e-3,
    min_lr=0.0,
    optimizer="adamw",
    weight_decay=1e-2,
    warmup=50,
    clip_norm=5.0,
    label_stride=4,
)


def with_head(model: ModelConfig, head: Head) -> ModelConfig:
    """The same sizes with another block."""
    return replace(model, head=head, pool_scales=PPM_SCALES if head == "ppm" else model.pool_scales)


def town(head: Head) -> Experiment:
    model = with_head(TOWN_MODEL, head)
    test = TestConfig(base_size=(128, 192))  # the size of a scene: other pictures are brought to it
    return Experiment(f"balloon_{head}", model, TOWN_DATA, TOWN_RECIPE, test)


def photos(head: Head) -> Experiment:
    model = with_head(PHOTO_MODEL, head)
    test = TestConfig(base_size=PHOTO_DATA.base_size)
    return Experiment(f"photos_{head}", model, PHOTO_DATA, PHOTO_RECIPE, test)


LAPTOP: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in [*(town(head) for head in HEADS), *(photos(head) for head in HEADS)]
}


def find_experiment(name: str) -> Experiment:
    """The experiment of that name, laptop-sized or published.

    Raises KeyError with the nearest names for an unknown one.
    """
    known = LAPTOP | {row: published.experiment for row, published in ZOO.items()}
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.4) or list(LAPTOP)
        raise KeyError(f"No experiment {name!r}. Nearest: {', '.join(near)}.")
    return known[name]
