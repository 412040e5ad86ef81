"""Published, ImageNet and shipped weights: names, hashes, download, import, storage."""

import os
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import torch
from torch import Tensor, nn
from torch.serialization import safe_globals

from annlib.config import ModelConfig, Stem
from annlib.download import Progress, alone, checksum, download, home
from annlib.model.ann import ANN
from annlib.model.baselines import Baseline
from annlib.model.checkpoint import SHIPPED, load, load_model, restore, save
from annlib.model.convert import from_imagenet, from_mmseg, state_dict_of, stem_of
from annlib.model.resnet import BLOCKS, ResNet
from annlib.zoo import NAMES, ROWS, Published, published

HASH_IN_NAME = re.compile(r"-([0-9a-f]{8})\.pth$")  # the publishers' convention


def weights_folder() -> Path:
    """Where fetched weights are kept."""
    return home() / "weights"


def kept_at(url: str) -> Path:
    """Where the file of that address lies once it is fetched."""
    return weights_folder() / url.rpartition("/")[2]


def fetch_file(url: str, progress: Progress | None = None) -> Path:
    """The file of that address, from the cache or from the network; errors as `download`.

    ANNLIB_WEIGHTS_HOST: another server (https://...) or folder (file://...) with the same paths.
    """
    path, host = kept_at(url), os.environ.get("ANNLIB_WEIGHTS_HOST")
    source = host.rstrip("/") + urlsplit(url).path if host else url
    return download(source, path, hash_in(path.name), progress=progress)


def hash_in(name: str) -> str:
    """The first 8 hexadecimal digits of the file's SHA-256, "" for a name that holds none."""
    found = HASH_IN_NAME.search(name)
    return found[1] if found else ""


def check_hash(path: Path) -> str:
    """The SHA-256 of a file. Raises ValueError if its name promises another."""
    promised, actual = hash_in(path.name), checksum(path, "SHA-256")
    if not actual.startswith(promised):
        raise ValueError(
            f"{path} is damaged or another file: its SHA-256 begins with {actual[:8]}, not with "
            f"{promised} as in its name. Fetch it again."
        )
    return actual


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors in a file of torch.save, by their names there. Nothing in it is executed.

    Raises FileNotFoundError, or ValueError for a file that is damaged, that needs more than
    tensors and plain values, or that holds no weights.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with safe_globals(harmless()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch's reader stumbles over damage in many ways
        raise unreadable(path, error) from error
    return only_tensors(content, path)


def harmless() -> list[Callable | tuple[Callable, str]]:
    """Beside tensors: numbers and arrays of numpy, dates. Their making runs no code of a file."""
    kinds = [type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "u1", "?", "U")]
    number, array = np.float64(0).__reduce__()[0], np.empty(0).__reduce__()[0]
    named = [
        (function, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")  # before and since numpy 2
        for function, name in ((number, "scalar"), (array, "_reconstruct"))
    ]
    return [np.dtype, np.ndarray, date, datetime, *kinds, *named]


def unreadable(path: Path, error: Exception) -> ValueError:
    """What to say of a file that torch did not read."""
    refused = re.search(r"GLOBAL (\S+)|got <class '(.+?)'>|unrecognized function (.+)", str(error))
    if refused:
        wanted = refused[1] or refused[2] or refused[3]
        return ValueError(
            f"{path} is not read: besides tensors and plain values it wants {wanted}, and making "
            "such things can run any code. If you trust where it is from, load it there and keep "
            "the weights alone: torch.save(model.state_dict(), ...)."
        )
    said = re.split(r"\. |\n", str(error) or type(error).__name__)[0]
    return ValueError(
        f"{path} is damaged, only half there, or no file of torch.save ({said}). Fetch it again."
    )


def only_tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """The weights in a file. Raises ValueError when there are none, or other things among them."""
    weights = state_dict_of(content) if isinstance(content, Mapping) else {}
    others = [str(key) for key, value in weights.items() if not isinstance(value, Tensor)]
    if others or not weights:
        found = f"it holds {', '.join(others[:4])}" if others else type(content).__name__
        raise ValueError(
            f"{path} holds no table of weights, neither itself nor as 'state_dict': {found}."
        )
    return dict(weights)


def load_strictly(module: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Puts weights into a network. Raises ValueError, with nothing changed, if any does not fit."""
    ours = module.state_dict()
    missing = [k for k in ours if k not in weights and not k.endswith("num_batches_tracked")]
    unknown = [k for k in weights if k not in ours]
    differing = [
        f"{k} {tuple(weights[k].shape)} there, {tuple(v.shape)} here"
        for k, v in ours.items()
        if k in weights and weights[k].shape != v.shape
    ]
    for kind, names in (("lacks", missing), ("has unknown", unknown), ("differs:", differing)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ValueError(
                f"{path} belongs to another network: it {kind} {', '.join(names[:3])}{more}."
            )
    module.load_state_dict(weights, strict=True)


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
            "own in the reference's format: annlib.model.hub.load_published(name, path)."
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


class Weights(NamedTuple):
    """A file of weights and where it lies, or would lie.

    pth: the file as its publisher made it, None for our own. sha256_start: the first digits of
    that file's SHA-256, by which its publisher knows it.
    """

    name: str
    kind: Literal["released", "ImageNet", "shipped"]
    path: Path
    pth: Path | None
    sha256_start: str

    @property
    def state(self) -> str:
        """here; or what came of a broken download; or a dash."""
        if self.path.exists():
            return "here"
        if self.pth is None:
            return "-"
        part = self.pth.with_name(self.pth.name + ".part")
        return "half" if part.exists() else "as .pth" if self.pth.exists() else "-"


def all_weights() -> list[Weights]:
    """The 16 rows in their published order, the ImageNet backbones, the small shipped networks."""
    released = [
        Weights(
            row.name, "released", cached_at(row), kept_at(row.weights_url), row.weights_sha256_start
        )
        for row in ROWS
    ]
    backbones = [
        Weights(each.name, "ImageNet", kept_at(each.url), kept_at(each.url), hash_in(each.url))
        for each in PRETRAINED
    ]
    shipped = [
        Weights(path.stem, "shipped", path, None, checksum(path, "SHA-256")[:8])
        for path in sorted(SHIPPED.glob("*.safetensors"))
    ]
    return [*released, *backbones, *shipped]


def find_weights(name: str) -> Weights:
    """Weights by name; a row's name of either release. Raises KeyError with the nearest names."""
    wanted = name.removesuffix(".py").removeprefix("open-mmlab://")
    row = NAMES.get(wanted)
    known = {each.name: each for each in all_weights()}
    found = known.get(row.name if row else wanted)
    if found is None:
        near = get_close_matches(wanted, [*known, *NAMES], n=3, cutoff=0.4) or list(known)
        raise KeyError(f"No weights {name!r}. Nearest: {', '.join(near)}.")
    return found


def verify(weights: Weights) -> str:
    """Reads all that is here of some weights into their network.  -> what was found to be right

    Raises FileNotFoundError when nothing is here, ValueError for damaged or foreign weights.
    """
    if weights.state in ("-", "half"):
        raise FileNotFoundError(f"{weights.name} is not here: annlib weights fetch {weights.name}")
    if weights.kind == "shipped":
        return f"{len(load_model(weights.path).state_dict())} tensors"
    if weights.kind == "ImageNet":
        return verify_backbone(weights)
    checked = [
        verify_released(weights, path) for path in (weights.path, weights.pth) if path.exists()
    ]
    return ", ".join(checked)


def verify_released(weights: Weights, path: Path) -> str:
    """Of the published file, and of what was made from it."""
    if path.suffix == ".safetensors":
        made_from = load(path).notes.get("sha256", "")
        if not made_from.startswith(weights.sha256_start):
            raise ValueError(
                f"{path} was made from a file whose SHA-256 begins with {made_from[:8]}, but the "
                f"released one's begins with {weights.sha256_start}. Delete it, then: annlib "
                f"weights fetch {weights.name}"
            )
    return f"{len(load_published(weights.name, path).state_dict())} tensors in {path.suffix}"


def verify_backbone(weights: Weights) -> str:
    check_hash(weights.path)
    (facts,) = (each for each in PRETRAINED if each.name == weights.name)
    model = ResNet(facts.depth, stem=STEMS[facts.source])
    load_strictly(model, from_imagenet(read_weights(weights.path)), weights.path)
    return f"{len(model.state_dict())} tensors"
