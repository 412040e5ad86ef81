"""annlib predict: segments images with a trained network."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from annlib.cli.common import Device

if TYPE_CHECKING:
    from annlib.engine.predictor import Segmenter


def segment_image(path: Path, segmenter: "Segmenter", folder: Path) -> dict[str, float]:
    """Writes NAME.overlay.png, NAME.colours.png and NAME.labels.png; returns shares by class.

    Shares are of all pixels, largest first, classes that do not occur left out.
    """
    from PIL import Image

    from annlib.data.io import normalise, read_image

    image = read_image(path)
    labels = segmenter.label(normalise(image)[None])[0].cpu()
    colours = segmenter.spec.colour_table()[labels.int()]  # black without a class
    overlay = (0.5 * image.permute(1, 2, 0) + 0.5 * colours).byte()
    folder.mkdir(parents=True, exist_ok=True)
    for kind, pixels in (("overlay", overlay), ("colours", colours), ("labels", labels)):
        Image.fromarray(pixels.numpy()).save(folder / f"{path.stem}.{kind}.png")
    shares = (labels.flatten().bincount().double() / labels.numel()).tolist()
    named = sorted(zip(segmenter.spec.class_names, shares, strict=False), key=lambda one: -one[1])
    return {name: share for name, share in named if share}


@dataclass(frozen=True)
class Predict:
    """Segment images: writes an overlay, the colours and the labels of each.

    Without --weights it uses the small network trained on Balloon Town, which knows balloons and
    houses only. For real streets train one on your own images first (annlib train photos_ann).
    """

    images: Positional[tuple[Path, ...]]
    """Images of any size and format."""
    weights: str | None = None
    """A .safetensors file that `annlib train` wrote, or the name of a published row."""
    out: Path = Path("predictions")
    """Folder for the images made."""
    device: Device = "auto"
    """auto takes a GPU if there is one."""

    def run(self) -> None:
        from annlib.engine.inference import choose_device
        from annlib.engine.predictor import find_network, segmenter
        from annlib.model.build import SHIPPED

        if not self.images:
            raise ValueError("Name at least one image: annlib predict photo.jpg")
        stems = [image.stem for image in self.images]
        if twice := [str(image) for image in self.images if stems.count(image.stem) > 1]:
            raise ValueError(
                f"{', '.join(twice)} would write the same files. Give them different names, or "
                "predict them one by one with different --out."
            )
        if self.weights is None:
            about = "Using balloon_ann, which knows Balloon Town only (see --weights)."
            print(about, file=sys.stderr)
        network = find_network(self.weights or str(SHIPPED / "balloon_ann.safetensors"))
        ready = segmenter(network, choose_device(self.device))
        for image in self.images:
            shares = segment_image(image, ready, self.out)
            listed = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
            print(f"{image}: {listed}")
            print(f"  -> {self.out / image.stem}.overlay.png (.colours.png, .labels.png)")
