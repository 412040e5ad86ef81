"""The smallest network that has every part, for tests that do not depend on its size."""

from torch import nn

from annlib.config import ModelConfig

# Width 32, not 16: a 1x1 convolution of 4 channels with stride 2, in channels_last on one thread,
# corrupts the memory of the process on some processors (torch 2.14.1, in its oneDNN).
TINY = ModelConfig(
    depth=9,
    num_classes=5,
    key_channels=6,
    value_channels=7,
    hidden_channels=12,
    pool_scales=(1, 2, 3),
    width=32,
    aux_channels=8,
)
HEADS = ("ann", "apnb", "nonlocal", "ppm", "fcn")


def wake(module: nn.Module) -> nn.Module:
    """Random numbers for the output projections, which begin at zero and hide the attention."""
    for part in module.modules():
        if hasattr(part, "to_output"):
            nn.init.normal_(part.to_output.weight)
            nn.init.normal_(part.to_output.bias)
    return module
