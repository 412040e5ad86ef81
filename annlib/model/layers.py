"""Convolution blocks and channel dropout, with their initial weights."""

from types import MethodType

from torch import Tensor, nn


def checked_scales(pool_scales: tuple[int, ...]) -> tuple[int, ...]:
    """The sides of the pooling grids.  Raises ValueError unless they are whole numbers from 1 up"""
    if not pool_scales or not all(type(side) is int and side > 0 for side in pool_scales):
        said = f"pool_scales is {pool_scales!r}: the side of a grid of cells is a whole number "
        raise ValueError(f"{said}from 1 up, and at least one grid is needed, such as (1, 3, 6, 8).")
    return pool_scales


def conv_bn(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, momentum: float = 0.1
) -> nn.Sequential:
    """Convolution and batch norm, no activation.  (B, in, H, W) -> (B, out, H/stride, W/stride)"""
    # BatchNorm has its own shift, so a bias in the convolution would be without effect.
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels, momentum=momentum))


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, momentum: float = 0.1
) -> nn.Sequential:
    """Convolution, batch norm, ReLU.  (B, in, H, W) -> (B, out, H/stride, W/stride)"""
    layers = conv_bn(in_channels, out_channels, kernel, stride, momentum)
    return layers.append(nn.ReLU(inplace=True))


def classifier(in_channels: int, num_classes: int) -> nn.Conv2d:
    """One logit per class and position.  (B, in, H, W) -> (B, K, H, W)"""
    conv = nn.Conv2d(in_channels, num_classes, 1)
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.get_parameter("bias"))
    return conv


def freeze(module: nn.Module) -> None:
    """Keeps weights and batch-norm statistics as they are, also after train() of the whole."""
    module.requires_grad_(False).eval()
    module.train = MethodType(lambda self, mode=True: self, module)


class ChannelDropout(nn.Dropout2d):
    """Dropout2d whose random numbers do not depend on how a batch is divided.

    Processes and microbatches share a batch, and this is `part` of `num_parts` of it: random
    numbers are drawn for all of them, and those of this one are used.
    """

    part, num_parts = 0, 1

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same; while training each channel is 0 with probability p"""
        if not self.training or self.p == 0:
            return x
        everywhere = x.new_empty(self.num_parts, *x.shape[:2], 1, 1).bernoulli_(1 - self.p)
        return x * everywhere[self.part].div_(1 - self.p)
