"""A small backbone with a small receptive field: longer context has to come from attention."""

from torch import Tensor, nn

from annlib.model.layers import conv_bn, conv_bn_relu

BLOCKS_PER_STAGE = {9: 1, 17: 2, 25: 3}  # by depth: convolutions from image to c5


class LocalBlock(nn.Module):
    """3x3 -> 1x1 around a shortcut. One 3x3 only, so that the receptive field grows slowly."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.body = conv_bn_relu(in_channels, channels, 3, stride)
        self.mix = conv_bn(channels, channels, 1)
        same = stride == 1 and in_channels == channels
        self.shortcut = nn.Identity() if same else conv_bn(in_channels, channels, 1, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, channels, H / stride, W / stride)"""
        return self.relu(self.mix(self.body(x)) + self.shortcut(x))


class LocalNet(nn.Module):
    """Stem and four stages down to 1/8. Receptive field of c5: 47, 103, 159 pixels."""

    def __init__(self, depth: int = 9, width: int = 64):
        super().__init__()
        num_blocks = BLOCKS_PER_STAGE[depth]
        self.stem = conv_bn_relu(3, width // 4, 3, stride=2)
        self.stage2 = make_stage(width // 4, width // 2, num_blocks, stride=2)
        self.stage3 = make_stage(width // 2, width, num_blocks, stride=2)
        self.stage4 = make_stage(width, width, num_blocks, stride=1)
        self.stage5 = make_stage(width, width, num_blocks, stride=1)
        self.low_channels = self.high_channels = width

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) normalised -> c4 (B, width, H/8, W/8), c5 (B, width, H/8, W/8)"""
        c4 = self.stage4(self.stage3(self.stage2(self.stem(images))))
        return c4, self.stage5(c4)


def make_stage(in_channels: int, channels: int, num_blocks: int, stride: int) -> nn.Sequential:
    """Blocks of one width; the first one changes size and channels."""
    first = LocalBlock(in_channels, channels, stride)  # the order decides the weights of a seed
    rest = [LocalBlock(channels, channels, 1) for _ in range(num_blocks - 1)]
    return nn.Sequential(first, *rest)
