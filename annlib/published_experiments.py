"""The 16 published experiments: one row each, with the numbers published about it.

Source: MMSegmentation, configs/ann (README and metafile of releases 0.30 and 1.2.2).
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from typing import Any, TypeVar

from annlib.config import DataConfig, Experiment, ModelConfig, TestConfig, TrainConfig

Item = TypeVar("Item")
WEIGHTS_HOST = "https://download.openmmlab.com/mmsegmentation/v0.5/ann"


@dataclass(frozen=True)
class Published:
    """One row of the published tables: the experiment, its scores in percent, its cost."""

    experiment: Experiment
    miou: float
    miou_multiscale: float  # six scales from 0.5 to 1.75, each with its mirror image
    memory_gb: float | None  # training, of one GPU; None here and below: not published
    frames_per_second: float | None  # inference, batch 1, fp32, one GPU
    stamp: str  # date, time and hash in the name of the weights
    num_gpus: int = 4
    hardware: str = "Tesla V100 32 GB, PyTorch 1.5, CUDA 10.1, cuDNN 7.6"

    @property
    def name(self) -> str:
        """In the reference until release 0.30; ours, too."""
        return self.experiment.name

    @property
    def name_1x(self) -> str:
        """In the reference since release 1.0."""
        data = self.experiment.data
        size = "x".join(map(str, data.crop_size or ()))
        return (
            f"ann_r{self.experiment.model.depth}-d8_{self.num_gpus}xb{self.batch_per_gpu}-"
            f"{self.experiment.train.iterations // 1000}k_{data.dataset}-{size}"
        )

    @property
    def backbone(self) -> str:
        return f"R-{self.experiment.model.depth}-D8"

    @property
    def batch_per_gpu(self) -> int:
        return self.experiment.data.batch_size // self.num_gpus

    @property
    def weights_url(self) -> str:
        return f"{WEIGHTS_HOST}/{self.name}/{self.name}_{self.stamp}.pth"

    @property
    def weights_sha256_start(self) -> str:
        """The first 8 hexadecimal digits of the file's SHA-256, by convention of its publisher."""
        return self.stamp.rpartition("-")[2]

    @property
    def log_url(self) -> str:
        return f"{WEIGHTS_HOST}/{self.name}/{self.name}_{self.stamp.rpartition('-')[0]}.log.json"

    def facts(self) -> dict[str, Any]:
        """All of the row as plain values, fit for JSON."""
        names = {"name": self.name, "name_1x": self.name_1x, "backbone": self.backbone}
        urls = {"weights_url": self.weights_url, "log_url": self.log_url}
        return names | {"batch_per_gpu": self.batch_per_gpu} | urls | asdict(self)


SETTINGS = {  # number of classes, crop, base size, batch
    "cityscapes": (19, (512, 1024), (1024, 2048), 8),
    "cityscapes, slide": (19, (769, 769), (1025, 2049), 8),
    "ade20k": (150, (512, 512), (512, 2048), 16),
    "voc12aug": (21, (512, 512), (512, 2048), 16),
}


def row(setting: str, depth: int, iterations: int, *facts: Any) -> Published:
    num_classes, crop, base, batch = SETTINGS[setting]
    data, _, slide = setting.partition(", ")
    whole = TestConfig(base_size=base)
    experiment = Experiment(
        f"ann_r{depth}-d8_{crop[0]}x{crop[1]}_{iterations // 1000}k_{data}",
        ModelConfig(depth, num_classes, align_corners=bool(slide)),
        DataConfig(data, crop, base, batch),
        TrainConfig(iterations),
        replace(whole, mode="slide", window=crop, stride=(513, 513)) if slide else whole,
    )
    return Published(experiment, *facts)


ROWS = (
    row("cityscapes", 50, 40_000, 77.40, 78.57, 6.0, 3.71, "20200605_095211-049fc292"),
    row("cityscapes", 101, 40_000, 76.55, 78.85, 9.5, 2.55, "20200605_095243-adf6eece"),
    row("cityscapes, slide", 50, 40_000, 78.89, 80.46, 6.8, 1.70, "20200530_025712-2b46b04d"),
    row("cityscapes, slide", 101, 40_000, 79.32, 80.94, 10.7, 1.15, "20200530_025720-059bff28"),
    row("cityscapes", 50, 80_000, 77.34, 78.65, None, None, "20200607_101911-5a9ad545"),
    row("cityscapes", 101, 80_000, 77.14, 78.81, None, None, "20200607_013728-aceccc6e"),
    row("cityscapes, slide", 50, 80_000, 78.88, 80.57, None, None, "20200607_044426-cc7ff323"),
    row("cityscapes, slide", 101, 80_000, 78.80, 80.34, None, None, "20200607_013713-a9d4be8d"),
    row("ade20k", 50, 80_000, 41.01, 42.30, 9.1, 21.01, "20200615_014818-26f75e11"),
    row("ade20k", 101, 80_000, 42.94, 44.18, 12.5, 14.12, "20200615_014818-c0153543"),
    row("ade20k", 50, 160_000, 41.74, 42.62, None, None, "20200615_231733-892247bc"),
    row("ade20k", 101, 160_000, 42.94, 44.06, None, None, "20200615_231733-955eb1ec"),
    row("voc12aug", 50, 20_000, 74.86, 76.13, 6.0, 20.92, "20200617_222246-dfcb1c62"),
    row("voc12aug", 101, 20_000, 77.47, 78.70, 9.5, 13.94, "20200617_222246-2fad0042"),
    row("voc12aug", 50, 40_000, 76.56, 77.51, None, None, "20200613_231314-b5dac322"),
    row("voc12aug", 101, 40_000, 76.70, 78.06, None, None, "20200613_231314-bd205bbe"),
)
ZOO: dict[str, Published] = {each.name: each for each in ROWS}
NAMES: dict[str, Published] = ZOO | {each.name_1x: each for each in ROWS}


def look_up(name: str, known: Mapping[str, Item], kind: str, usual: Iterable[str]) -> Item:
    """The item of that name, also with .py behind it; KeyError tells the nearest names."""
    name = name.removesuffix(".py")
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.4) or usual
        raise KeyError(f"No {kind} {name!r}. Nearest: {', '.join(near)}.")
    return known[name]


def published(name: str) -> Published:
    """The row of that name, of either release; errors as `look_up`."""
    return look_up(name, NAMES, "published row", ZOO)
