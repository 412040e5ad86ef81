"""Configuration of an experiment: frozen dataclasses for model, data, training, tests, runtime."""

from dataclasses import dataclass
from typing import Any, Literal

IGNORE_INDEX = 255  # label of a pixel that counts neither in the loss nor in a score

Head = Literal["ann", "apnb", "nonlocal", "ppm", "fcn"]
Precision = Literal["fp32", "bf16", "fp16"]
Stem = Literal["deep", "plain"]


@dataclass(frozen=True)
class ModelConfig:
    """The network. Defaults are those of the published ResNet models (paper, section 4).

    depth 50 and 101 are ResNetV1c; 9 and 17 are LocalNet, of small receptive field on purpose.
    width is the number of channels that the backbone starts from (its first residual stage).
    stem is the ResNet's first layers: "deep" three convolutions, as published; "plain" one of 7x7,
    as in torchvision's ImageNet weights.
    """

    depth: int
    num_classes: int
    key_channels: int = 256
    value_channels: int = 256
    hidden_channels: int = 512
    pool_scales: tuple[int, ...] = (1, 3, 6, 8)
    dropout: float = 0.1
    align_corners: bool = False
    head: Head = "ann"
    width: int = 64
    aux_channels: int = 256
    stem: Stem = "deep"

    @property
    def num_anchors(self) -> int:
        """S: the cells of all pyramid levels together."""
        return sum(scale * scale for scale in self.pool_scales)


@dataclass(frozen=True)
class DataConfig:
    """Where images come from and how they are cropped. Sizes are (height, width) in pixels.

    crop_size None trains on whole images. base_size is the box that an image is scaled into,
    aspect kept, before a random factor from `ratio_range`; None keeps its size.
    """

    dataset: str
    crop_size: tuple[int, int] | None
    base_size: tuple[int, int] | None
    batch_size: int
    ratio_range: tuple[float, float] = (0.5, 2.0)
    color_jitter: bool = True
    balance_classes: bool = False  # rare classes weigh more in the loss, see class_balance


@dataclass(frozen=True)
class TrainConfig:
    """The recipe. Defaults are the reference's for all 16 published rows.

    warmup: steps of linearly rising rate. clip_norm: largest gradient norm, None for no limit.
    class_weights: one factor a class in the main and auxiliary loss, empty for equal classes.
    label_stride: the loss uses every n-th row and column of the labels (1: all).
    """

    iterations: int
    base_lr: float = 0.01
    min_lr: float = 1e-4
    power: float = 0.9
    momentum: float = 0.9
    weight_decay: float = 5e-4
    aux_weight: float = 0.4
    seed: int = 0
    optimizer: Literal["sgd", "adamw"] = "sgd"
    warmup: int = 0
    clip_norm: float | None = None
    class_weights: tuple[float, ...] = ()
    label_stride: int = 1


@dataclass(frozen=True)
class TestConfig:
    """How an image is scaled and cut into windows at test time. Sizes are (height, width).

    base_size: the box that an image is scaled into first, aspect kept; None keeps its size.
    """

    __test__ = False  # the name starts with Test, but pytest has nothing to collect here

    mode: Literal["whole", "slide"] = "whole"
    window: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    base_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class RuntimeConfig:
    """Runtime options: they change speed and memory, not the result.

    precision: of convolutions and products; weights stay float32. accumulate: number of
    microbatches that a batch is divided into. channels_last: layout of maps in memory. compile: let
    torch.compile fuse operations; cuda_graphs: and let a GPU replay them as they were recorded.
    """

    precision: Precision = "fp32"
    accumulate: int = 1
    channels_last: bool = True
    compile: bool = False
    cuda_graphs: bool = False  # with compile


@dataclass(frozen=True)
class Experiment:
    """One row of a table of results: everything needed to train and test it again."""

    name: str
    model: ModelConfig
    data: DataConfig
    train: TrainConfig
    test: TestConfig = TestConfig()


def experiment_from(values: dict[str, Any]) -> Experiment:
    """The experiment whose `asdict` was written as JSON.

    Raises ValueError when another version of annlib wrote it, with other settings.
    """
    try:
        return Experiment(
            values["name"],
            ModelConfig(**with_tuples(values["model"])),
            DataConfig(**with_tuples(values["data"])),
            TrainConfig(**with_tuples(values["train"])),
            TestConfig(**with_tuples(values["test"])),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"The experiment {values.get('name')} was written by another version of annlib "
            f"({error}), and this one cannot repeat it: use that version, or start a new run."
        ) from error


def with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no tuples: puts them back for its lists."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
