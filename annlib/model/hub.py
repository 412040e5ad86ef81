"""Released, ImageNet and shipped weights: names, hashes, download, import, where they are kept."""

import os
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from annlib.config import Stem
from annlib.download import check_hash, download, home, locked
from annlib.model.ann import ANN
from annlib.model.baselines import Baseline
from annlib.model.checkpoint import load, restore, save
from annlib.model.convert import from_imagenet, from_mmseg, load_strictly, read_weights, stem_of
from annlib.model.resnet import BLOCKS, ResNet
from annlib.published_experiments import ROWS, published

Source = Literal["reference", "torchvision"]
STEMS: dict[str, Stem] = {"reference": "deep", "torchvision": "plain"}


class Pretrained(NamedTuple):
    """A ResNet that was trained to classify the 1000 classes of ImageNet."""

    name: str
    source: Source
    depth: int
    url: str


THIRD_PARTY = "https://download.openmmlab.com/pretrain/third_party"
PYTORCH = "https://download.pytorch.org/models"
PRETRAINED = (
    Pretrained("resnet50_v1c", "reference", 50, f"{THIRD_PARTY}/resnet50_v1c-2cccc1ad.pth"),
    Pretrained("resnet101_v1c", "reference", 101, f"{THIRD_PARTY}/resnet101_v1c-e67eebb6.pth"),
    # Of torchvision's two sets the first, trained by the plain recipe as the reference's were.
    Pretrained("resnet50_torchvision", "torchvision", 50, f"{PYTORCH}/resnet50-0676ba61.pth"),
    Pretrained("resnet101_torchvision", "torchvision", 101, f"{PYTORCH}/resnet101-63fe2227.pth"),
)


def kept_at(file: str) -> Path:
    """Where a file of weights is kept, given by its name or its address."""
    return home() / "weights" / file.rpartition("/")[2]


def hash_in(name: str) -> str:
    """What a file's name promises for its hash, by the publishers' convention: sha256:2cccc1ad"""
    return "sha256:" + "".join(re.findall(r"-([0-9a-f]{8})\.pth$", name))


def fetch(url: str) -> Path:
    """The file of that address, from the cache or from the network; errors as `download`."""
    # The host: another server (https://...) or folder (file://...) with the same paths.
    path, host = kept_at(url), os.environ.get("ANNLIB_WEIGHTS_HOST")
    source = host.rstrip("/") + urlsplit(url).path if host else url
    return download(source, path, hash_in(path.name))


def load_published(name: str, path: Path | str | None = None) -> ANN:
    """The network of a published row with its released weights, in evaluation mode, on the CPU.

    path: the released .pth or a .safetensors of ours (else ValueError); None: `fetch_published`
    """
    path = fetch_published(name) if path is None else Path(path)
    model = ANN(published(name).experiment.model)
    if path.suffix == ".safetensors":
        restore(load(path), model)
    else:
        check_hash(path, hash_in(path.name))
        load_strictly(model, from_mmseg(read_weights(path)), path)
    return model.eval()


def fetch_published(name: str, keep_pth: bool = False) -> Path:
    """Released weights of a row in our format, fetched if needed; keep_pth keeps the .pth, too."""
    row = published(name)
    path = kept_at(f"{row.name}.safetensors")
    if path.exists() and not keep_pth:
        return path
    with locked(path):
        if keep_pth or not path.exists():  # or another process was faster
            try:
                pth = fetch(row.weights_url)
            except ConnectionError as error:
                said = f"{error} If you have the file elsewhere: annlib weights import FILE "
                raise ConnectionError(f"{said}{row.name}") from error
            import_published(pth, name)
            if not keep_pth:
                pth.unlink()
    return path


def import_published(
    pth: Path, name: str, classes: dict[str, Any] | None = None, path: Path | None = None
) -> Path:
    """Writes the .pth released for a row (else ValueError) to the cache in our format.  -> place

    classes: fields of a DatasetSpec, for weights of others than the row's, written to `path`.
    """
    row = published(name)
    sha256, config = check_hash(pth, "sha256:"), row.experiment.model
    if classes:
        config = replace(config, num_classes=len(classes["class_names"]))
    elif not sha256.startswith(row.weights_sha256_start):
        fitting = [other.name for other in ROWS if sha256.startswith(other.weights_sha256_start)]
        known = f"It is the one of {fitting[0]}." if fitting else "It is of no published row."
        raise ValueError(
            f"{pth} is not the file released for {row.name}: its SHA-256 begins with {sha256[:8]}, "
            f"that of the released one with {row.weights_sha256_start}. {known} For weights of "
            "your own say what their classes are: --classes FILE."
        )
    model, facts = ANN(config), row.facts()
    load_strictly(model, from_mmseg(read_weights(pth)), pth)
    notes = {"experiment": facts.pop("experiment"), "published": facts, "sha256": sha256}
    if classes:
        test = asdict(row.experiment.test)
        notes = {"classes": classes, "test": test, "network": row.name, "sha256": sha256}
    path = path or kept_at(f"{row.name}.safetensors")
    save(path, model, step=0 if classes else row.experiment.train.iterations, notes=notes)
    return path


def load_backbone(model: ANN | Baseline, source: Source | Path | str) -> Path:
    """Loads ImageNet weights into the backbone; the rest is unchanged.  -> the file they are from

    source: "reference" (ResNetV1c, deep stem), "torchvision" (plain stem), or a .pth of either
    kind. Every weight but the classifier's must fit. Raises ValueError for a network of another
    depth or stem, FileNotFoundError for a missing file, else as `download`.
    """
    depth, stem = model.config.depth, model.config.stem
    if not isinstance(model.backbone, ResNet):
        said = f"No ImageNet weights fit a backbone of depth {depth}: there are some for ResNets "
        raise ValueError(f"{said}of depth {' and '.join(map(str, BLOCKS))}.")
    if source not in STEMS and not Path(source).is_file():
        said = f"There is no file {source} to begin with. ImageNet weights are named reference or "
        raise FileNotFoundError(f"{said}torchvision; anything else is taken for a .pth file.")
    weights, path, their_stem = {}, Path(source), STEMS.get(str(source))
    if their_stem in (stem, None):  # else that is told before anything is fetched
        urls: dict[str, str] = {p.source: p.url for p in PRETRAINED if p.depth == depth}
        path = fetch(urls[str(source)]) if their_stem else path
        check_hash(path, hash_in(path.name))
        weights = read_weights(path)
        their_stem = stem_of(weights, path)
    if their_stem != stem:
        (fitting,) = (name for name in STEMS if STEMS[name] == stem)
        said = f"The weights of {source} are of a ResNet with a {their_stem} stem, but the network "
        said += f'has a {stem} one. Give it ModelConfig(stem="{their_stem}"), or take the weights '
        raise ValueError(f"{said}of {fitting}.")
    theirs = len({key.split(".")[1] for key in weights if key.startswith("layer3.")})
    if theirs not in (0, BLOCKS[depth][2]):
        said = f"{path} is of a ResNet with {theirs} blocks in its third stage, but that of depth "
        raise ValueError(f"{said}{depth} has {BLOCKS[depth][2]}. Take the weights of such a one.")
    load_strictly(model.backbone, from_imagenet(weights), path)
    return path
