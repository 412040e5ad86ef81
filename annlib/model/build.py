"""Builds the backbone and the network that a configuration describes."""

from annlib.config import ModelConfig
from annlib.model import localnet, resnet
from annlib.model.localnet import LocalNet
from annlib.model.resnet import ResNet


def make_backbone(config: ModelConfig) -> ResNet | LocalNet:
    """A backbone with random weights; both kinds return the pair (c4, c5) at 1/8."""
    if config.depth in resnet.BLOCKS:
        return ResNet(config.depth, config.width, config.stem)
    if config.depth in localnet.BLOCKS_PER_STAGE:
        return LocalNet(config.depth, config.width)
    known = sorted([*resnet.BLOCKS, *localnet.BLOCKS_PER_STAGE])
    raise ValueError(f"No backbone of depth {config.depth}: choose one of {known}.")
