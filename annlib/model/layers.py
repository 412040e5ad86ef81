"""The two layers that every part of the network is made of, and how their weights start."""

from torch import nn


def conv_bn(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1
) -> nn.Sequential:
    """Convolution and batch norm, no activation.  (B, in, H, W) -> (B, out, H/stride, W/stride)"""
    # BatchNorm has its own shift, so a bias in the convolution would be without effect.
    conv = nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False
    )
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1
) -> nn.Sequential:
    """Convolution, batch norm, ReLU.  (B, in, H, W) -> (B, out, H/stride, W/stride)"""
    layers = conv_bn(in_channels, out_channels, kernel_size, stride)
    return layers.append(nn.ReLU(inplace=True))


def classifier(in_channels: int, num_classes: int) -> nn.Conv2d:
    """One logit per class and position.  (B, in, H, W) -> (B, K, H, W)"""
    conv = nn.Conv2d(in_channels, num_classes, 1)
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.bias)
    return conv
