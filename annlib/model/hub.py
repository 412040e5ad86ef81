"""Weights that others have published, as networks of ours: the 16 rows, and ImageNet backbones."""

from pathlib import Path
from typing import Literal, NamedTuple

from annlib.config import ModelConfig, Stem
from annlib.downloads import alone, checksum
from annlib.model.ann import ANN
from annlib.model.baselines import Baseline
from annlib.model.checkpoints import load, restore, save
from annlib.model.pth_files import (
    check_hash,
    fetch_file,
    load_strictly,
    read_weights,
    weights_folder,
)
from annlib.model.reference_weights import from_imagenet, from_mmseg, stem_of
from annlib.model.resnet import BLOCKS, ResNet
from annlib.transfer import Progress
from annlib.zoo import ROWS, Published, published

Source = Literal["reference", "torchvision"]


class Pretrained(NamedTuple):
    """A ResNet that was trained to tell the 1000 classes of ImageNet apart."""

    name: str
    source: Source
    depth: int
    url: str


THIRD_PARTY = "https://download.openmmlab.com/pretrain/third_party"
TORCHVISION = "https://download.pytorch.org/models"
PRETRAINED = (
    Pretrained("resnet50_v1c", "reference", 50, f"{THIRD_PARTY}/resnet50_v1c-2cccc1ad.pth"),
    Pretrained("resnet101_v1c", "reference", 101, f"{THIRD_PARTY}/resnet101_v1c-e67eebb6.pth"),
    # Of torchvision's two sets the first, trained by the plain recipe as the reference's were.
    Pretrained("resnet50_torchvision", "torchvision", 50, f"{TORCHVISION}/resnet50-0676ba61.pth"),
    Pretrained(
        "resnet101_torchvision", "torchvision", 101, f"{TORCHVISION}/resnet101-63fe2227.pth"
    ),
)
STEMS: dict[Source, Stem] = {"reference": "deep", "torchvision": "plain"}


def load_published(
    name: str, path: Path | str | None = None, progress: Progress | None = None
) -> ANN:
    """The network of a published row with its released weights, in evaluation mode, on the CPU.

    path: the released .pth, or a .safetensors of ours; None takes them from the cache, or fetches
    them first. Errors as `fetch_published`; ValueError for weights of another network.
    """
    row = published(name)
    path = fetch_published(name, progress=progress) if path is None else Path(path)
    model = ANN(row.experiment.model)
    if path.suffix == ".safetensors":
        restore(load(path), model)
    else:
        check_hash(path)
        load_strictly(model, from_mmseg(read_weights(path)), path)
    return model.eval()


def cached_at(row: Published) -> Path:
    """Where the weights of a row lie in our own format."""
    return weights_folder() / f"{row.name}.safetensors"


def fetch_published(name: str, keep_pth: bool = False, progress: Progress | None = None) -> Path:
    """The released weights of a row in our own format, from the cache or the network.

    keep_pth: the file that was fetched stays beside it. Raises KeyError for an unknown name,
    ConnectionError without a network, else as `download`.
    """
    row = published(name)
    if keep_pth or not cached_at(row).exists():
        with alone(cached_at(row)):
            if keep_pth or not cached_at(row).exists():  # or another process was faster
                pth = fetch_pth(row, progress)
                convert(pth, row)
                if not keep_pth:
                    pth.unlink()
    return cached_at(row)


def fetch_pth(row: Published, progress: Progress | None) -> Path:
    """The file as it was published. Raises ConnectionError with all ways to get it."""
    try:
        return fetch_file(row.weights_url, progress)
    except ConnectionError as error:
        way = f"If you have the file in another place: annlib weights import FILE {row.name}"
        raise ConnectionError(f"{error} {way}") from error


def import_published(path: Path, name: str) -> Path:
    """Takes a released .pth that was got elsewhere into the cache.  -> where it is now

    Raises ValueError for a file that is not the one released for this row.
    """
    row = published(name)
    start = checksum(path, "SHA-256")[:8]
    if start != row.weights_sha256_start:
        fitting = [other.name for other in ROWS if other.weights_sha256_start == start]
        known = f"It is the one of {fitting[0]}." if fitting else "It is of no published row."
        raise ValueError(
            f"{path} is not the file released for {row.name}: its SHA-256 begins with {start}, "
            f"that of the released one with {row.weights_sha256_start}. {known} Weights of your "
            "own in the reference's format: annlib.model.published.load_published(name, path)."
        )
    return convert(path, row)


def convert(pth: Path, row: Published) -> Path:
    """Writes the weights of a released file to the cache, with where they come from."""
    model = ANN(row.experiment.model)
    load_strictly(model, from_mmseg(read_weights(pth)), pth)
    facts = row.facts()
    notes = {
        "experiment": facts.pop("experiment"),
        "published": facts,
        "sha256": checksum(pth, "SHA-256"),
    }
    save(cached_at(row), model, step=row.experiment.train.iterations, notes=notes)
    return cached_at(row)


def load_backbone(
    model: ANN | Baseline, source: Source | Path | str, progress: Progress | None = None
) -> Path:
    """Puts ImageNet weights into the backbone; the rest stays as it is.  -> the file they are from

    source: "reference" (ResNetV1c, deep stem), "torchvision" (plain stem), or a .pth of either
    kind. Every weight but the classifier's must fit. Raises ValueError for a network of another
    depth or stem, FileNotFoundError for a missing file, else as `download`.
    """
    if not isinstance(model.backbone, ResNet):
        raise ValueError(
            f"No ImageNet weights fit a backbone of depth {model.config.depth}: there are some for "
            f"ResNets of depth {' and '.join(map(str, BLOCKS))}."
        )
    if source == "reference" or source == "torchvision":
        check_stem(STEMS[source], model.config, source)
        path = fetch_file(pretrained(source, model.config.depth).url, progress)
    else:
        path = existing(Path(source))
    weights = read_weights(path)
    check_hash(path)
    check_stem(stem_of(weights, path), model.config, str(path))
    check_depth(weights, model.config, path)
    load_strictly(model.backbone, from_imagenet(weights), path)
    return path


def existing(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {path} to begin with. ImageNet weights are named reference or "
            "torchvision; anything else is taken for a .pth file."
        )
    return path


def fetch_backbone(name: str, progress: Progress | None = None) -> Path:
    """The ImageNet weights of that name, from the cache or the network; errors as `download`."""
    (found,) = (each for each in PRETRAINED if each.name == name)
    return fetch_file(found.url, progress)


def pretrained(source: Source, depth: int) -> Pretrained:
    (found,) = (p for p in PRETRAINED if (p.source, p.depth) == (source, depth))
    return found


def check_stem(theirs: Stem, config: ModelConfig, origin: str) -> None:
    """Raises ValueError for weights of a ResNet that begins otherwise than the network."""
    if theirs != config.stem:
        (source,) = (s for s, stem in STEMS.items() if stem == config.stem)
        raise ValueError(
            f"The weights of {origin} are of a ResNet with a {theirs} stem, but the network has a "
            f'{config.stem} one. Give it ModelConfig(stem="{theirs}"), or take the weights of '
            f"{source}."
        )


def check_depth(weights: dict, config: ModelConfig, path: Path) -> None:
    """Raises ValueError for weights of a deeper or shallower ResNet."""
    theirs = len({key.split(".")[1] for key in weights if key.startswith("layer3.")})
    ours = BLOCKS[config.depth][2]
    if theirs != ours:
        raise ValueError(
            f"{path} is of a ResNet with {theirs} blocks in its third stage, but the network of "
            f"depth {config.depth} has {ours} there. Take the weights of a ResNet-{config.depth}."
        )
