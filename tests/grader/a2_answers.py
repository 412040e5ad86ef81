"""Answers to assignment A2: right ones, written differently, and wrong ones by misconception."""

from a2_cost_answers import OPERATIONS
from known import Gallery, Wrong, everywhere

EVEN, OVERLAP, ANY = "levels that divide the map", "cells that overlap", "any pyramid"
TWICE, TWO, SIZES = "one map twice", "two maps", "maps of two sizes, any pyramid"
LEARNS = "gradients"
ALL_SAMPLING = (EVEN, OVERLAP, ANY)

MEANS = "F.adaptive_avg_pool2d(features, level)"
CUT_SHORT = """torch.stack([
        features[:, :, i * features.shape[2] // level:(i + 1) * features.shape[2] // level][
            ..., j * features.shape[3] // level:(j + 1) * features.shape[3] // level].mean((2, 3))
        for i in range(level) for j in range(level)], 2)"""
ONE_EACH = (
    "features[:, :, [i * features.shape[2] // level for i in range(level)]]"
    "[..., [i * features.shape[3] // level for i in range(level)]]"
)
RIGHT_SAMPLING = {
    "cell by cell": """
def sample(features, levels):
    anchors = []
    for n in levels:
        rows, columns = features.shape[2:]
        for i in range(n):
            strip = features[:, :, i * rows // n:-(-(i + 1) * rows // n)]
            for j in range(n):
                cell = strip[..., j * columns // n:math.ceil((j + 1) * columns / n)]
                anchors.append(cell.mean(dim=(2, 3)))
    return torch.stack(anchors, dim=-1)
""",
    "modules": """
def sample(features, levels):
    pools = [nn.AdaptiveAvgPool2d((n, n)) for n in levels]
    return torch.cat([pool(features).reshape(*features.shape[:2], -1) for pool in pools], -1)
""",
    "two matrices a level": """
def shares(side, n):
    at = torch.arange(side)
    inside = [(at >= i * side // n) & (at < -(-(i + 1) * side // n)) for i in range(n)]
    rows = torch.stack(inside).float()
    return rows / rows.sum(1, keepdim=True)

def sample(features, levels):
    h, w = features.shape[2:]
    found = [torch.einsum("nh,bchw,mw->bcnm", shares(h, n), features, shares(w, n)) for n in levels]
    return torch.cat([one.flatten(2) for one in found], 2)
""",
}
WRONG_SAMPLING = {
    "largest": Wrong("avg", "max", everywhere(ALL_SAMPLING, "largest, not mean")),
    "cut short": Wrong(MEANS, CUT_SHORT, everywhere((OVERLAP, ANY), "cells cut short")),
    "one position": Wrong(MEANS, ONE_EACH, everywhere(ALL_SAMPLING, "one position per cell")),
    "bilinear": Wrong(
        MEANS,
        'F.interpolate(features, (level, level), mode="bilinear")',
        everywhere(ALL_SAMPLING, "interpolated"),
    ),
    "columns first": Wrong(
        f"{MEANS}.flatten", f"{MEANS}.mT.flatten", everywhere(ALL_SAMPLING, "columns first")
    ),
    "reversed": Wrong(
        "in levels", "in reversed(levels)", everywhere(ALL_SAMPLING, "levels reversed")
    ),
    "sorted": Wrong("in levels", "in sorted(levels)", {ANY: "levels sorted"}),
    "always the published": Wrong(
        "in levels", "in (1, 3, 6, 8)", everywhere((EVEN, ANY), "fixed pyramid")
    ),
    "square cells": Wrong(
        MEANS,
        "F.avg_pool2d(features, features.shape[2] // level)",
        everywhere(ALL_SAMPLING, "wrong shape"),
    ),
    "three dots": Wrong(
        "return torch.cat(cells, 2)", "...", everywhere(ALL_SAMPLING, "not started")
    ),
}

RIGHT_BLOCK = {
    "torch's own attention": """
class AsymmetricBlock(nn.Module):
    def __init__(self, high_channels, low_channels, key_channels, levels):
        super().__init__()
        self.pyramid = levels
        self.to_query = nn.Conv2d(high_channels, key_channels, 1)
        self.to_key, self.to_value = (nn.Conv2d(low_channels, key_channels, 1) for _ in range(2))
        self.to_output = nn.Conv2d(key_channels + high_channels, high_channels, 1)

    def forward(self, high, low):
        q = self.to_query(high).flatten(2).mT
        k, v = (sample(part(low), self.pyramid).mT for part in (self.to_key, self.to_value))
        c = F.scaled_dot_product_attention(q, k, v).mT.reshape(high.shape[0], -1, *high.shape[2:])
        return self.to_output(torch.cat((c, high), dim=1))
""",
    "sampled before it is projected": """
class Before(AsymmetricBlock):
    def forward(self, high, low):
        anchors = sample(low, self.levels)[..., None]
        key, value = self.to_key(anchors)[..., 0], self.to_value(anchors)[..., 0]
        scores = self.to_query(high).flatten(2).mT @ key * key.shape[1] ** -0.5
        context = (scores.softmax(2) @ value.mT).mT.unflatten(2, high.shape[2:])
        return self.to_output(torch.cat([context, high], 1))
AsymmetricBlock = Before
""",
    "einsum, keys and values together": """
class AsymmetricBlock(nn.Module):
    def __init__(self, high_channels, low_channels, key_channels, levels):
        super().__init__()
        self.levels = tuple(levels)
        self.to_output = nn.Conv2d(high_channels + key_channels, high_channels, 1)
        self.to_value = nn.Conv2d(low_channels, key_channels, (1, 1))
        self.to_key = nn.Conv2d(low_channels, key_channels, (1, 1))
        self.to_query = nn.Conv2d(high_channels, key_channels, (1, 1))

    def forward(self, high, low):
        both = sample(torch.cat([self.to_key(low), self.to_value(low)], 1), self.levels)
        key, value = both.chunk(2, 1)
        scores = torch.einsum("bchw,bcs->bhws", self.to_query(high), key) / math.sqrt(key.size(1))
        context = torch.einsum("bhws,bcs->bchw", scores.softmax(-1), value)
        return self.to_output(torch.cat([context, high], 1))
""",
}
KEY, VALUE = "sample(self.to_key(low), self.levels)", "sample(self.to_value(low), self.levels)"
BOTH = f"key = {KEY}\n        value = {VALUE}"
VALUES, STOPS = (TWICE, TWO, SIZES), "stops with RuntimeError"


def valued(misconception: str) -> dict[str, str]:
    """A mistake in all values; gradients are compared once these are right."""
    return everywhere(VALUES, misconception) | {LEARNS: "wrong values"}


def exchanged(misconception: str) -> dict[str, str]:
    """One map for the other, which only maps of the same channels survive."""
    return {TWO: misconception, SIZES: STOPS, LEARNS: STOPS}


WRONG_BLOCK = {
    "no scale": Wrong(" / sqrt(query.shape[1])", "", valued("scale missing")),
    "scale C": Wrong("sqrt(query.shape[1])", "query.shape[1]", valued("scale C")),
    "over those who ask": Wrong("softmax(-1)", "softmax(1)", valued("softmax over the queries")),
    "low asks": Wrong(
        "self.to_query(high)", "self.to_query(low)", exchanged("queries from the low level")
    ),
    "high answers": Wrong(
        BOTH, BOTH.replace("(low)", "(high)"), exchanged("keys from the high level")
    ),
    "high values": Wrong(
        VALUE, VALUE.replace("low", "high"), exchanged("values from the high level")
    ),
    "not sampled": Wrong(
        BOTH,
        "key, value = self.to_key(low).flatten(2), self.to_value(low).flatten(2)",
        valued("not sampled"),
    ),
    "always the published": Wrong(
        BOTH,
        BOTH.replace("self.levels", "(1, 3, 6, 8)"),
        everywhere((TWO, SIZES), "fixed pyramid") | {LEARNS: "wrong values"},
    ),
    "concatenated in the other order": Wrong(
        "[context, high]", "[high, context]", valued("concatenated in the other order")
    ),
    "positions mixed": Wrong(
        "(weights @ value.mT).mT.unflatten(2, high.shape[2:])",
        "(weights @ value.mT).reshape(high.shape[0], -1, *high.shape[2:])",
        valued("positions mixed up"),
    ),
    "keys fetched": Wrong(VALUE, KEY, valued("keys serve as values")),
    "value detached": Wrong("value.mT", "value.detach().mT", {LEARNS: "gradient cut"}),
    "square maps only": Wrong(
        "unflatten(2, high.shape[2:])",
        "unflatten(2, (high.shape[2], high.shape[2]))",
        everywhere((*VALUES, LEARNS), STOPS),
    ),
}

GALLERIES = (
    Gallery("sample", "sampling", RIGHT_SAMPLING, WRONG_SAMPLING),
    Gallery("AsymmetricBlock", "block", RIGHT_BLOCK, WRONG_BLOCK),
    OPERATIONS,
)
