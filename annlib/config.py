"""Configuration of an experiment: frozen dataclasses for model, data, training, tests, runtime."""

from dataclasses import dataclass
from math import inf
from typing import Any, Literal, get_args, get_origin, get_type_hints

IGNORE_INDEX = 255  # label of a pixel that counts neither in the loss nor in a score

Head = Literal["ann", "apnb", "nonlocal", "ppm", "fcn"]
Precision = Literal["fp32", "bf16", "fp16"]
Stem = Literal["deep", "plain"]


@dataclass(frozen=True)
class ModelConfig:
    """The network. Defaults are those of the published ResNet models (paper, section 4)."""

    depth: int  # 50, 101: ResNetV1c; 9, 17, 25: LocalNet, of small receptive field on purpose
    num_classes: int
    key_channels: int = 256
    value_channels: int = 256
    hidden_channels: int = 512
    pool_scales: tuple[int, ...] = (1, 3, 6, 8)
    dropout: float = 0.1
    align_corners: bool = False
    head: Head = "ann"
    width: int = 64  # channels of the backbone's first residual stage
    aux_channels: int = 256
    stem: Stem = "deep"  # three convolutions, as published; "plain": one of 7x7, torchvision's


@dataclass(frozen=True)
class DataConfig:
    """Where images come from and how they are cropped. Sizes are (height, width) in pixels."""

    dataset: str
    crop_size: tuple[int, int] | None  # None: whole images
    base_size: tuple[int, int] | None  # box to scale into, aspect kept; None: an image's own size
    batch_size: int
    ratio_range: tuple[float, float] = (0.5, 2.0)  # of a random factor on top
    color_jitter: bool = True
    balance_classes: bool = False  # rare classes weigh more in the loss, see class_balance


@dataclass(frozen=True)
class TrainConfig:
    """The recipe. Defaults are the reference's for all 16 published rows."""

    iterations: int
    base_lr: float = 0.01
    min_lr: float = 1e-4
    power: float = 0.9
    momentum: float = 0.9
    weight_decay: float = 5e-4
    aux_weight: float = 0.4
    seed: int = 0
    optimizer: Literal["sgd", "adamw"] = "sgd"
    warmup: int = 0  # steps of linearly rising rate
    clip_norm: float | None = None  # largest gradient norm; None: no limit
    class_weights: tuple[float, ...] = ()  # a factor for each class in both losses; empty: equal
    label_stride: int = 1  # the loss uses every n-th row and column of the labels


@dataclass(frozen=True)
class TestConfig:
    """How an image is scaled and cut into windows at test time. Sizes are (height, width)."""

    __test__ = False  # the name starts with Test, but pytest has nothing to collect here

    mode: Literal["whole", "slide"] = "whole"
    window: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    base_size: tuple[int, int] | None = None  # box to scale into first; None: an image's own size


@dataclass(frozen=True)
class RuntimeConfig:
    """Runtime options: they change speed and memory, not the result."""

    precision: Precision = "fp32"  # of convolutions and products; weights stay float32
    accumulate: int = 1  # microbatches that a batch is divided into
    channels_last: bool = True  # layout of feature maps in memory
    compile: bool = False  # let torch.compile fuse operations
    cuda_graphs: bool = False  # with compile: let a GPU replay them as they were recorded


@dataclass(frozen=True)
class Experiment:
    """One row of a table of results: everything needed to train and test it again."""

    name: str
    model: ModelConfig
    data: DataConfig
    train: TrainConfig
    test: TestConfig = TestConfig()


def experiment_from(values: dict[str, Any]) -> Experiment:
    """The experiment whose `asdict` was written as JSON; ValueError for another version's."""
    kinds = {"model": ModelConfig, "data": DataConfig, "train": TrainConfig, "test": TestConfig}
    name = values.get("name") if isinstance(values, dict) else values
    try:
        parts = {part: from_json(kind, values[part]) for part, kind in kinds.items()}
        return Experiment(values["name"], **parts)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"The experiment {name} was written by another version of annlib ({error}), or it was "
            "changed, and this one cannot repeat it: use that version, or start a new run."
        ) from error


def from_json(kind: type, values: Any) -> Any:
    """A frozen dataclass. TypeError for unknown names, ValueError for a value of another type."""
    hints, values = get_type_hints(kind), {name: with_tuples(v) for name, v in values.items()}
    if wrong := [name for name, value in values.items() if not fits(value, hints.get(name, Any))]:
        raise ValueError(f"{wrong[0]} is {values[wrong[0]]!r}"[:80])
    return kind(**values)


def with_tuples(value: Any) -> Any:
    """JSON knows no tuples: puts them back for its lists."""
    return tuple(map(with_tuples, value)) if isinstance(value, list) else value


def fits(value: object, kind: Any) -> bool:
    """Whether a value is of the type, finite if it is a number, and not longer than 1000 items."""
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return value in parts
    if get_origin(kind) is tuple:
        length = len(value) if isinstance(value, tuple) else -1
        parts = parts[:1] * length if parts[-1] is ... else parts
        return length == len(parts) <= 1000 and all(map(fits, value, parts))
    if parts:
        return any(fits(value, part) for part in parts)
    if kind is float and type(value) in (int, float):
        return abs(value) < inf
    return kind is Any or type(value) is kind
