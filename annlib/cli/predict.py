"""annlib predict: segments images."""

import sys
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from annlib.cli.common import Device, choose_device


@dataclass(frozen=True)
class Predict:
    """Segment photographs: writes an overlay, the colours and the labels of each.

    Without --weights the small network trained on Balloon Town is used: it draws on what it knows,
    balloons and houses. For real streets train one on photographs first (annlib train photos_ann).
    """

    photos: Positional[tuple[Path, ...]]
    """Pictures of any size and kind."""
    weights: str | None = None
    """A .safetensors file that `annlib train` wrote, or the name of a published row."""
    out: Path = Path("predictions")
    """Folder for the pictures made."""
    device: Device = "auto"
    """auto takes a GPU if there is one."""

    def run(self) -> None:
        from annlib.engine.predictor import find_network, segment_photo, segmenter
        from annlib.model.build import shipped_path

        if not self.photos:
            raise ValueError("Name at least one photograph: annlib predict photo.jpg")
        check_names_differ(self.photos)
        if self.weights is None:
            print(
                "Using balloon_ann, which knows Balloon Town only (see --weights).", file=sys.stderr
            )
        network = find_network(self.weights or str(shipped_path("balloon_ann")))
        ready = segmenter(network, choose_device(self.device))
        for photo in self.photos:
            shares = segment_photo(photo, ready, self.out)
            listed = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
            print(f"{photo}: {listed}")
            print(f"  -> {self.out / photo.stem}.overlay.png (.colours.png, .labels.png)")


def check_names_differ(photos: tuple[Path, ...]) -> None:
    """The results are named after the photographs: the second of a name would replace the first."""
    stems = [photo.stem for photo in photos]
    twice = [photo for photo in photos if stems.count(photo.stem) > 1]
    if twice:
        raise ValueError(
            f"{', '.join(map(str, twice))} would write the same files. Give them different names, "
            "or predict them one by one with different --out."
        )
