"""The maps that blocks are measured on, as chosen on the command line."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

if TYPE_CHECKING:
    import torch

    from annlib.speed.blocks import Channels
    from annlib.speed.forms import Conditions

Sizes = Annotated[tuple[tuple[int, int], ...], arg(metavar="HEIGHT WIDTH ...")]


def check_sizes(option: str, sizes: Sizes) -> None:
    """Raises ValueError for no map, or one without positions."""
    if not sizes or min(min(size) for size in sizes) < 1:
        raise ValueError(f"{option} {sizes}: give one map or more, with sides of 1 or more.")


@dataclass(frozen=True)
class Maps:
    """What blocks are measured on."""

    sizes: Sizes
    """Height and width of one map, of the next, and so on."""
    divide: int = 1
    """Divide the paper's channels by this, for a first look."""
    channels_last: bool = True
    """Layout of maps in memory."""
    limit_gib: float | None = None
    """Leave out what needs more memory; all that is free if not given."""

    def channels(self) -> "Channels":
        """Checks the options. Raises ValueError for no positions, or too few channels."""
        from annlib.speed.blocks import Channels

        check_sizes("--sizes", self.sizes)
        return Channels().divided(self.divide)

    def conditions(self, device: "torch.device", repeat: int) -> "Conditions":
        """Under which all are measured."""
        from annlib.engine.memory import available_bytes
        from annlib.speed.forms import Conditions

        limit = available_bytes(device) if self.limit_gib is None else self.limit_gib * 2**30
        return Conditions(device, repeat, self.channels_last, limit)

    def words(self, usual: "Maps") -> list[str]:
        """What is not as usual, for the name of a file: no result replaces a different one."""
        words = [f"channels-by-{self.divide}"] * (self.divide > 1)
        words += ["contiguous"] * (not self.channels_last)
        return words + ([f"{h}x{w}" for h, w in self.sizes] if self.sizes != usual.sizes else [])
