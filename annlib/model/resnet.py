"""The backbone of the published models: ResNetV1c, dilated to an output stride of 8."""

from torch import Tensor, nn

from annlib.config import Stem

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


class Bottleneck(nn.Module):
    """1x1 -> 3x3 -> 1x1 around a shortcut; the 3x3 has the stride and dilation."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int, dilation: int):
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, 4 * channels, H / stride, W / stride)"""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += self.downsample(x)  # in place: one map less
        return self.relu(out)


class ResNet(nn.Module):
    """ResNetV1c-D8: three 3x3 convolutions as stem, last two stages dilated instead of strided.

    At 1/32 a context block would have too few positions; dilation keeps the map at 1/8 and the
    weights of the ImageNet classifier valid. Reference: mmseg/models/backbones/resnet.py.
    """

    def __init__(self, depth: int, width: int = 64, stem: Stem = "deep"):
        super().__init__()
        blocks, half = BLOCKS[depth], width // 2
        deep = [(3, half, 3, 2), (half, half, 3, 1), (half, width, 3, 1)]  # in, out, kernel, stride
        sizes = deep if stem == "deep" else [(3, width, 7, 2)]
        layers: list[nn.Module] = []
        for channels, out_channels, kernel, stride in sizes:
            conv = nn.Conv2d(channels, out_channels, kernel, stride, kernel // 2, bias=False)
            layers += [conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]
        self.stem = nn.Sequential(*layers)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = make_stage(width, width, blocks[0], stride=1, dilation=1)
        self.layer2 = make_stage(width * 4, width * 2, blocks[1], stride=2, dilation=1)
        self.layer3 = make_stage(width * 8, width * 4, blocks[2], stride=1, dilation=2)
        self.layer4 = make_stage(width * 16, width * 8, blocks[3], stride=1, dilation=4)
        self.low_channels, self.high_channels = width * 16, width * 32
        self.apply(reset)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) normalised -> c4 (B, 1024, H/8, W/8), c5 (B, 2048, H/8, W/8)"""
        x = self.maxpool(self.stem(images))
        c4 = self.layer3(self.layer2(self.layer1(x)))
        return c4, self.layer4(c4)


def make_stage(
    in_channels: int, channels: int, num_blocks: int, stride: int, dilation: int
) -> nn.Sequential:
    """Residual blocks of one width; the first one changes size and channels."""
    # The first block still sees the undilated map of the stage before, hence half the dilation.
    blocks = [Bottleneck(in_channels, channels, stride, max(1, dilation // 2))]
    while len(blocks) < num_blocks:
        blocks.append(Bottleneck(channels * Bottleneck.expansion, channels, 1, dilation))
    return nn.Sequential(*blocks)


def reset(module: nn.Module) -> None:
    """Initial weights for training from scratch: He et al. 2015, every block an identity."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    if isinstance(module, Bottleneck):
        nn.init.zeros_(module.bn3.weight)
