"""annlib export: writes a trained network for ONNX Runtime, OpenVINO or torch.export."""

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from annlib.config import Format


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
