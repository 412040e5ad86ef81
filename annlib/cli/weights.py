"""annlib weights: lists, downloads, verifies and imports weights."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, subcommand

from annlib.cli.common import message_of


@dataclass(frozen=True)
class ListWeights:
    """List the released weights of the 16 rows, ImageNet backbones, and the small shipped ones."""

    def run(self) -> None:
        from annlib.download import home
        from annlib.engine.metrics import table
        from annlib.model.hub import all_weights

        rows = [
            [each.name, each.kind, each.sha256_start, each.state, size(each.path)]
            for each in all_weights()
        ]
        print(table(["name", "kind", "SHA-256", "state", "MiB"], rows))
        print(f"\nKept in {home()}/weights; ANNLIB_HOME names another folder than {home()}.")


@dataclass(frozen=True)
class Fetch:
    """Fetch weights into the cache. What is there already is not fetched again.

    Released weights are checked by the hash in their name, read without executing anything in
    them, and kept in annlib's own format. An interrupted download goes on where it was.
    """

    names: Positional[tuple[str, ...]] = ()
    """Names that `annlib weights list` shows."""
    all: bool = False
    """All 16 rows and the ImageNet backbones: about 4 GB."""
    keep_pth: bool = False
    """Keep the files of the 16 rows as they were published, too."""

    def run(self) -> None:
        from annlib.model.hub import all_weights, find_weights

        wanted = [find_weights(name) for name in self.names]
        if self.all:
            wanted = [each for each in all_weights() if each.kind != "shipped"]
        if not wanted:
            raise ValueError("Name the weights, for example resnet50_v1c, or give --all.")
        for weights in wanted:
            fetch(weights.name, weights.kind, self.keep_pth)
            print(f"{weights.name}: {weights.path} ({size(weights.path)} MiB)", flush=True)


@dataclass(frozen=True)
class Verify:
    """Read weights that are here into their networks: bytes, names and shapes must all be right."""

    names: Positional[tuple[str, ...]] = ()
    """Names that `annlib weights list` shows; all that are here if none is given."""

    def run(self) -> None:
        from annlib.model.hub import all_weights, find_weights, verify

        wanted = [find_weights(name) for name in self.names]
        failed = 0
        for weights in wanted or [
            each for each in all_weights() if each.state in ("here", "as .pth")
        ]:
            try:
                print(f"{weights.name}: right ({verify(weights)})", flush=True)
            except (ValueError, KeyError, OSError) as error:
                failed += 1
                print(f"{weights.name}: {message_of(error)}", flush=True)
        if failed:
            sys.exit(f"{failed} of them not right")


@dataclass(frozen=True)
class Import:
    """Take a released file that you got elsewhere into the cache."""

    file: Positional[Path]
    """The .pth as it was published."""
    name: Positional[str]
    """The row that it belongs to."""

    def run(self) -> None:
        from annlib.model.hub import import_published

        print(f"{self.name}: {import_published(self.file, self.name)}")


@dataclass(frozen=True)
class Weights:
    """Fetch, list and verify weights: the 16 released ones, and ImageNet backbones."""

    what: (
        Annotated[ListWeights, subcommand("list", prefix_name=False)]
        | Annotated[Fetch, subcommand("fetch", prefix_name=False)]
        | Annotated[Verify, subcommand("verify", prefix_name=False)]
        | Annotated[Import, subcommand("import", prefix_name=False)]
    )

    def run(self) -> None:
        self.what.run()


def size(path: Path) -> str:
    """In MiB; a dash for a file that is not there."""
    return f"{path.stat().st_size / 2**20:.1f}" if path.exists() else "-"


def fetch(name: str, kind: str, keep_pth: bool) -> None:
    """Shipped weights are here already."""
    from annlib.model.hub import fetch_backbone, fetch_published

    if kind == "released":
        fetch_published(name, keep_pth)
    elif kind == "ImageNet":
        fetch_backbone(name)
