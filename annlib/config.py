"""Configuration of an experiment: frozen dataclasses for model, data, training, tests, runtime."""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import NoneType
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

IGNORE_INDEX = 255  # label of a pixel that counts neither in the loss nor in a score

Head = Literal["ann", "apnb", "nonlocal", "ppm", "fcn"]
WITHOUT = {"pool_scales": ("nonlocal", "fcn")}  # heads that do not use a setting
WITHOUT |= dict.fromkeys(("key_channels", "value_channels"), ("ppm", "fcn"))
ABOVE_0 = "iterations|accumulate|num_classes|depth|width|label_stride|clip_norm|ratio_range|.+_size"
ABOVE_0 = re.compile(f"{ABOVE_0}|.+_channels")
ELSEWHERE = {"pool_scales", "scales", "window", "stride"}  # checked with what they belong to
Precision = Literal["fp32", "bf16", "fp16"]
Stem = Literal["deep", "plain"]
Format = Literal["torch", "onnx", "openvino"]  # of an exported network
Runtime = Literal["torch", "onnxruntime", "openvino"]  # what runs one


class Checked:
    """Settings. Raises ValueError for a number that is negative, not finite, or 0 without sense."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for name, value in ((n, v) for n, v in vars(self).items() if n not in ELSEWHERE):
            kinds, is_above_0 = get_args(hints[name]), ABOVE_0.fullmatch(name)
            least = ("1 or more", "more than 0")[float in kinds] if is_above_0 else "0 or more"
            least += ", or none" * (NoneType in kinds)
            top = 2**31 if is_above_0 else 1 if name == "dropout" else 1e300
            for one in value if type(value) in (tuple, list) else [value]:
                if isinstance(one, int | float) and (not 0 <= one < top or is_above_0 and not one):
                    wanted = f"less than {top:g}" if one >= top else least
                    raise ValueError(f"{name} is {value!r}: give {wanted}.")


@dataclass(frozen=True)
class ModelConfig(Checked):
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
class DataConfig(Checked):
    """Where images come from and how they are cropped. Sizes are (height, width) in pixels."""

    dataset: str
    crop_size: tuple[int, int] | None  # None: whole images
    base_size: tuple[int, int] | None  # box to scale into, aspect kept; None: an image's own size
    batch_size: int
    ratio_range: tuple[float, float] = (0.5, 2.0)  # of a random factor on top
    color_jitter: bool = True
    balance_classes: bool = False  # rare classes weigh more in the loss, see class_balance


@dataclass(frozen=True)
class TrainConfig(Checked):
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
class TestConfig(Checked):
    """How an image is scaled and cut into windows at test time. Sizes are (height, width)."""

    __test__ = False  # the name starts with Test, but pytest has nothing to collect here

    mode: Literal["whole", "slide"] = "whole"
    window: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    base_size: tuple[int, int] | None = None  # box to scale into first; None: an image's own size


@dataclass(frozen=True)
class RuntimeConfig(Checked):
    """Runtime options: they change speed and memory, not the result."""

    precision: Precision = "fp32"  # of convolutions and products; weights stay float32
    accumulate: int = 1  # microbatches that a batch is divided into
    channels_last: bool = True  # layout of feature maps in memory
    compile: bool = False  # let torch.compile fuse operations
    cuda_graphs: bool = False  # with compile: let a GPU replay them as they were recorded
    deterministic: bool = False  # only operations that give the same bits every time


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
        said = f"The experiment {name} was written by another version of annlib ({error}), or it "
        raise ValueError(f"{said}was changed: use that version, or start a new run.") from error


def from_json(kind: type, values: Any) -> Any:
    """A frozen dataclass. TypeError for unknown names, ValueError for a value of another type."""
    hints, values = get_type_hints(kind), {name: with_tuples(v) for name, v in values.items()}
    if wrong := [name for name, value in values.items() if not fits(value, hints.get(name, Any))]:
        raise ValueError(f"{wrong[0]} is {values[wrong[0]]!r}"[:80])
    return kind(**values)


def with_tuples(value: Any) -> Any:
    """JSON knows no tuples: puts them back for its lists."""
    return tuple(map(with_tuples, value)) if isinstance(value, list) else value


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of the type; not a number above 1e300, not longer than 1000 items."""
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return value in parts
    if get_origin(kind) is tuple:
        length = len(value) if isinstance(value, tuple) else -1
        parts = parts[:1] * length if parts[-1] is ... else parts
        return length == len(parts) <= 1000 and all(map(fits, value, parts))
    if parts:
        return any(fits(value, part) for part in parts)
    if kind in (int, float) and type(value) in (int, kind):
        return abs(value) < 1e300
    return kind is Any or type(value) is kind


def typed(value: Any, hint: Any) -> Any:
    """A value of TOML as a field of that type has it. Raises ValueError, also below 0."""
    options = [part for part in get_args(hint) if part is not NoneType]
    if NoneType in get_args(hint):
        return None if value == "none" else typed(value, options[0])
    value = with_tuples([value] if get_origin(hint) is tuple and type(value) is not list else value)
    numbers = [one for one in (value if type(value) is tuple else [value]) if type(one) is not str]
    if not fits(value, hint) or any(one < 0 for one in numbers):
        raise ValueError(getattr(hint, "__name__", hint) if not options else hint)
    if hint is float:
        return float(cast(float, value))
    return tuple(map(float, value)) if float in options else value


def with_settings(experiment: Experiment, settings: Iterable[str]) -> Experiment:
    """The experiment with other values of fields, such as "train.base_lr=0.02".

    A sequence is written with commas: data.crop_size=256,256. Raises ValueError for a field that
    does not exist or would have no effect, and for a value of another type.
    """
    tables: dict[str, dict[str, Any]] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        part, _, field = name.strip().partition(".")
        try:
            values = tomllib.loads(f"_ = [{text}]")["_"]
        except tomllib.TOMLDecodeError:
            values = [text.strip()]  # a word, without its quotation marks
        tables.setdefault(part, {})[field] = values[0] if len(values) == 1 else values
    return with_tables(experiment, tables, "--set")


def with_tables(experiment: Experiment, tables: dict[str, Any], place: str) -> Experiment:
    """As `with_settings`, from {"train": {"base_lr": 0.02}}.  place: where they were written"""
    for part, values in tables.items():
        if part not in ("model", "data", "train", "test") or not isinstance(values, dict):
            raise ValueError(f"{place}: {part!r} is not model, data, train or test.")
        before = getattr(experiment, part)
        hints, changed = get_type_hints(type(before)), {}
        for name, value in values.items():
            if name not in hints:
                known = ", ".join(hints)
                raise ValueError(f"{place}: there is no {part}.{name}. {part} has {known}.")
            if (part, name) == ("model", "num_classes"):
                raise ValueError(f"{place}: model.num_classes comes from the class list.")
            try:
                changed[name] = typed(value, hints[name])
            except ValueError as error:
                said = f"{place}: {part}.{name} is {value!r}, but has to be {error} and not "
                raise ValueError(f"{said}negative, such as {getattr(before, name)!r}.") from error
        if "class_weights" in changed and "balance_classes" not in tables.get("data", {}):
            # or `fit_classes` would overwrite them
            experiment = replace(experiment, data=replace(experiment.data, balance_classes=False))
        try:
            experiment = replace(experiment, **{part: replace(before, **changed)})
        except ValueError as error:
            raise ValueError(f"{place}: {part}.{error}") from error
        head = experiment.model.head
        if part == "model" and (idle := [one for one in changed if head in WITHOUT.get(one, ())]):
            reason = f"would have no effect: the head {head} does not use it. Leave it out."
            raise ValueError(f"{place}: model.{idle[0]} {reason}")
    return experiment
