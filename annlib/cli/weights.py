"""annlib weights and annlib export: lists, downloads, verifies, imports and exports weights."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from tyro.conf import Positional

from annlib import published_experiments
from annlib.config import Format, ModelConfig
from annlib.files import message_of


class Weights(NamedTuple):
    """A file of weights and where it is kept, or would be."""

    name: str
    kind: Literal["released", "ImageNet", "shipped"]
    path: Path
    pth: Path | None  # the file as its publisher made it, None for shipped ones
    sha256_start: str  # of the published file

    @property
    def state(self) -> str:
        """ "here", "half" after a broken download, "as .pth", or "-"."""
        if self.path.exists():
            return "here"
        if self.pth is None:
            return "-"
        part = self.pth.with_name(f"{self.pth.name}.part")
        return "half" if part.exists() else "as .pth" if self.pth.exists() else "-"


def all_weights() -> list[Weights]:
    """The 16 rows in their published order, the ImageNet backbones, the small shipped networks."""
    from annlib.download import check_hash
    from annlib.model import hub
    from annlib.model.build import SHIPPED

    found = []
    for row in hub.ROWS:
        path, pth = hub.kept_at(f"{row.name}.safetensors"), hub.kept_at(row.weights_url)
        found.append(Weights(row.name, "released", path, pth, row.weights_sha256_start))
    for name, _, _, url in hub.PRETRAINED:
        start = hub.hash_in(url).removeprefix("sha256:")
        found.append(Weights(name, "ImageNet", hub.kept_at(url), hub.kept_at(url), start))
    for path in sorted(SHIPPED.glob("*.safetensors")):
        found.append(Weights(path.stem, "shipped", path, None, check_hash(path, "sha256:")[:8]))
    return found


def find_weights(name: str) -> Weights:
    """Weights by name; a row's name of either release. Raises KeyError with the nearest names."""
    ours, names = {each.name: each for each in all_weights()}, published_experiments.NAMES
    known = ours | {alias: ours[row.name] for alias, row in names.items() if row.name in ours}
    return published_experiments.look_up(name.removeprefix("open-mmlab://"), known, "weights", ours)


def verify(weights: Weights) -> str:
    """Reads all files of some weights into their network (else an error).  -> what was correct"""
    from annlib.model import hub
    from annlib.model.build import build_model, load_model
    from annlib.model.checkpoint import load

    if weights.state in ("-", "half"):
        raise FileNotFoundError(f"{weights.name} is not here: annlib weights fetch {weights.name}")
    if weights.kind == "shipped":
        return f"{len(load_model(weights.path).state_dict())} tensors"
    if weights.kind == "ImageNet":
        (facts,) = (each for each in hub.PRETRAINED if each.name == weights.name)
        stem = hub.STEMS[facts.source]
        model = build_model(ModelConfig(facts.depth, num_classes=1, head="fcn", stem=stem))
        hub.load_backbone(model, weights.path)
        return f"{len(model.backbone.state_dict())} tensors"
    checked = []
    for path in (path for path in (weights.path, weights.pth) if path.exists()):
        if path.suffix == ".safetensors":
            made_from = load(path).notes.get("sha256", "")
            if not made_from.startswith(weights.sha256_start):
                said = f"{path} was made from a file whose SHA-256 begins with {made_from[:8]}, "
                said += f"but the released one's begins with {weights.sha256_start}. Delete it, "
                raise ValueError(f"{said}then: annlib weights fetch {weights.name}")
        model = hub.load_published(weights.name, path)
        checked.append(f"{len(model.state_dict())} tensors in {path.suffix}")
    return ", ".join(checked)


def mebibytes(path: Path) -> str:
    """Size of a file; a dash if it does not exist."""
    return f"{path.stat().st_size / 2**20:.1f}" if path.exists() else "-"


@dataclass(frozen=True)
class ListWeights:
    """List the released weights of the 16 rows, ImageNet backbones, and the small shipped ones."""

    def run(self) -> None:
        from annlib.download import home
        from annlib.engine.metrics import table

        rows = [
            [each.name, each.kind, each.sha256_start, each.state, mebibytes(each.path)]
            for each in all_weights()
        ]
        print(table(["name", "kind", "SHA-256", "state", "MiB"], rows))
        print(f"\nKept in {home()}/weights; ANNLIB_HOME names another folder than {home()}.")


@dataclass(frozen=True)
class Fetch:
    """Download weights into the cache; a file that exists is not downloaded again.

    Released weights are checked by the hash in their name, read without executing anything in
    them, and kept in annlib's own format. An interrupted download continues where it stopped.
    """

    names: Positional[tuple[str, ...]] = ()  # Names that `annlib weights list` shows.
    all: bool = False  # All 16 rows and the ImageNet backbones: about 4 GB.
    keep_pth: bool = False  # Keep the files of the 16 rows as they were published, too.

    def run(self) -> None:
        from annlib.model import hub

        wanted = [find_weights(name) for name in self.names]
        if self.all:
            wanted = [each for each in all_weights() if each.kind != "shipped"]
        if not wanted:
            raise ValueError("Name the weights, for example resnet50_v1c, or give --all.")
        for weights in wanted:
            if weights.kind == "released":
                hub.fetch_published(weights.name, self.keep_pth)
            elif weights.kind == "ImageNet":
                hub.fetch(next(one.url for one in hub.PRETRAINED if one.name == weights.name))
            print(f"{weights.name}: {weights.path} ({mebibytes(weights.path)} MiB)", flush=True)


@dataclass(frozen=True)
class Verify:
    """Load weights into their networks: bytes, names and shapes must all be correct."""

    names: Positional[tuple[str, ...]] = ()
    """Names that `annlib weights list` shows; all that are in the cache if none is given."""

    def run(self) -> None:
        wanted = [find_weights(name) for name in self.names]
        wanted = wanted or [each for each in all_weights() if each.state in ("here", "as .pth")]
        failed = 0
        for weights in wanted:
            try:
                print(f"{weights.name}: correct ({verify(weights)})", flush=True)
            except (ValueError, KeyError, OSError) as error:
                failed += 1
                print(f"{weights.name}: {message_of(error)}", flush=True)
        if failed:
            sys.exit(f"{failed} of them are not correct")


@dataclass(frozen=True)
class Import:
    """Import a .pth of MMSegmentation: a released one into the cache, or one of your own."""

    file: Positional[Path]  # The .pth as it was published, or as MMSegmentation wrote it.
    name: Positional[str]  # The row that it belongs to, or whose network it has.
    classes: str | None = None
    """For your own: a file with lines `name` or `name red green blue`, or a list such as camvid."""
    out: Path | None = None  # For your own: the checkpoint to write; FILE.safetensors if not given.

    def run(self) -> None:
        from annlib.data.convert import find_classes
        from annlib.model.hub import import_published

        classes, path = None, None
        if self.classes:
            classes = asdict(find_classes(self.classes, Path()))
            path = self.out or self.file.with_suffix(".safetensors")
            if path.exists():
                raise FileExistsError(f"{path} exists already. Name another file: --out FILE.")
        elif self.out:
            raise ValueError("--out is for weights of your own: add --classes FILE.")
        print(f"{self.name}: {import_published(self.file, self.name, classes, path)}")


COMMANDS = {"list": ListWeights, "fetch": Fetch, "verify": Verify, "import": Import}


@dataclass(frozen=True)
class Export:
    """Write a trained network as a file that other programs run: inference only, fused, in float32.

    The file takes batches of images of any size (the head ppm: of one size), normalised, and gives
    logits at an eighth of it. Its metadata hold class names, colours, mean, deviation and test, so
    `annlib predict --weights FILE` and `annlib evaluate FILE` need nothing else. It is compared
    with the network on random images, and kept only if they agree to 1e-4.
    """

    weights: Positional[str]
    """Shipped weights, a .safetensors file that `annlib train` wrote, or a published row."""
    format: Format
    """onnx: for ONNX Runtime and others; openvino: OpenVINO's IR, an .xml and a .bin; torch: a .pt2
    of torch.export, which like a pickle should be opened only where you trust its origin."""
    out: Path | None = None
    """The file; NAME.onnx, NAME.xml or NAME.pt2 in this folder if not given."""
    size: tuple[int, int] | None = None
    """Height and width of all images, for programs that cannot take others."""

    def run(self) -> None:
        from annlib.engine.predictor import find_network
        from annlib.engine.runtimes import SUFFIXES, export

        network = find_network(self.weights)
        path = self.out or Path(f"{Path(network.name).stem}{SUFFIXES[self.format]}")
        difference = export(network, path, self.format, self.size)
        print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB, logits within {difference:.1g}")
        print(f"annlib predict photo.jpg --weights {path}")
