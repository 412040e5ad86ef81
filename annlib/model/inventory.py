"""All weights that have a name: released, ImageNet, shipped; what of them is here, and whole."""

from difflib import get_close_matches
from pathlib import Path
from typing import Literal, NamedTuple

from annlib.downloads import checksum
from annlib.model.checkpoints import SHIPPED, load, load_model
from annlib.model.pth_files import check_hash, hash_in, kept_at, load_strictly, read_weights
from annlib.model.published import PRETRAINED, STEMS, cached_at, load_published
from annlib.model.reference_weights import from_imagenet
from annlib.model.resnet import ResNet
from annlib.zoo import NAMES, ROWS


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
