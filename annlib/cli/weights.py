"""annlib weights: lists, downloads, verifies and imports weights."""

import sys
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from annlib.cli.common import message_of


@dataclass(frozen=True)
class ListWeights:
    """List the released weights of the 16 rows, ImageNet backbones, and the small shipped ones."""

    def run(self) -> None:
        from annlib.download import home
        from annlib.engine.metrics import table
        from annlib.model.hub import all_weights

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

    names: Positional[tuple[str, ...]] = ()
    """Names that `annlib weights list` shows."""
    all: bool = False
    """All 16 rows and the ImageNet backbones: about 4 GB."""
    keep_pth: bool = False
    """Keep the files of the 16 rows as they were published, too."""

    def run(self) -> None:
        from annlib.model import hub

        wanted = [hub.find_weights(name) for name in self.names]
        if self.all:
            wanted = [each for each in hub.all_weights() if each.kind != "shipped"]
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
        from annlib.model.hub import all_weights, find_weights, verify

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
    """Import a released file that you downloaded elsewhere into the cache."""

    file: Positional[Path]
    """The .pth as it was published."""
    name: Positional[str]
    """The row that it belongs to."""

    def run(self) -> None:
        from annlib.model.hub import import_published

        print(f"{self.name}: {import_published(self.file, self.name)}")


def mebibytes(path: Path) -> str:
    """Size of a file; a dash if it does not exist."""
    return f"{path.stat().st_size / 2**20:.1f}" if path.exists() else "-"


COMMANDS = {"list": ListWeights, "fetch": Fetch, "verify": Verify, "import": Import}
