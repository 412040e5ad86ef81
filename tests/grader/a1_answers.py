"""Answers to assignment A1: right ones, written differently, and wrong ones by misconception.

A wrong answer is the reference with some of its text exchanged, and says which checks it must lose.
"""

from a1_cost_answers import OPERATIONS
from known import Gallery, Wrong, everywhere

WEIGHTS, BLOCK = "attention_weights", "NonlocalBlock"
PLAIN, MASK = "weights without a mask", "ignored keys"
EMPTY, HALF = "an image without valid keys", "half precision, large scores"
START, VALUES, PIXELS = "starts as the identity", "values", "ignored pixels"
SIZES, GRADIENTS = "any size, batch of one", "gradients"
ALL_WEIGHTS = (PLAIN, MASK, EMPTY, HALF)


def shared(misconception: str) -> dict[str, str]:
    """A mistake of all weights, which has no name of its own among large scores."""
    return everywhere((PLAIN, MASK, EMPTY), misconception) | {HALF: "other values"}


SCALE = "sqrt(query.shape[1])"
FILL = "scores.masked_fill(~valid[:, None], -torch.inf).softmax(-1)"
RIGHT_WEIGHTS = {
    "einsum, softmax by hand": """
def attention_weights(query, key, valid=None):
    scores = torch.einsum("bcn,bcs->bns", query.float(), key.float()) * query.shape[1] ** -0.5
    shares = (scores - scores.amax(-1, keepdim=True)).exp()
    if valid is not None:
        highest = scores.where(valid[:, None], -1e30).amax(-1, keepdim=True)
        shares = (scores - highest).clamp(max=0).exp() * valid[:, None]
    return (shares / shares.sum(-1, keepdim=True).clamp(min=1e-30)).to(query.dtype)
""",
    "one image after the other": """
def attention_weights(query, key, valid=None):
    result = torch.zeros(query.shape[0], query.shape[2], key.shape[2], dtype=query.dtype)
    for b in range(query.shape[0]):
        kept = torch.ones(key.shape[2], dtype=torch.bool) if valid is None else valid[b]
        if kept.any():
            scores = query[b].T @ key[b][:, kept] / math.sqrt(query.shape[1])
            result[b][:, kept] = scores.softmax(-1)
    return result
""",
    "an added mask": """
def attention_weights(query, key, valid=None):
    scores = torch.bmm(query.transpose(1, 2), key) / sqrt(key.size(1))
    if valid is not None:
        scores = scores + torch.zeros_like(valid, dtype=scores.dtype).masked_fill(
            ~valid, float("-inf"))[:, None, :]
    weights = F.softmax(scores, dim=2)
    return torch.where(torch.isnan(weights), torch.zeros_like(weights), weights)
""",
}
WRONG_WEIGHTS = {
    "no scale": Wrong(f" / {SCALE}", "", shared("scale missing")),
    "scale C": Wrong(SCALE, "query.shape[1]", shared("scale C")),
    "scale N": Wrong(SCALE, "sqrt(query.shape[2])", shared("scale √N")),
    "scale S": Wrong(SCALE, "sqrt(key.shape[2])", shared("scale √S")),
    "times the root": Wrong(f"/ {SCALE}", f"* {SCALE}", shared("scale upside down")),
    "softmax over the queries": Wrong(
        "softmax(-1)", "softmax(1)", shared("softmax over the queries")
    ),
    "no softmax": Wrong("return scores.softmax(-1)", "return scores", {PLAIN: "softmax missing"}),
    "transposed": Wrong(
        "scores = query.mT @ key",
        "scores = key.mT @ query",
        {PLAIN: "transposed"} | everywhere(ALL_WEIGHTS[1:], "stops with RuntimeError"),
    ),
    "no mask": Wrong(FILL, "scores.softmax(-1)", everywhere(ALL_WEIGHTS[1:], "mask ignored")),
    "masked afterwards": Wrong(
        FILL,
        "scores.softmax(-1) * valid[:, None]",
        everywhere(ALL_WEIGHTS[1:], "masked after the softmax"),
    ),
    "a score of zero": Wrong(
        FILL,
        "(scores * valid[:, None]).softmax(-1)",
        everywhere(ALL_WEIGHTS[1:], "masked by a zero score"),
    ),
    "mask the wrong way round": Wrong(
        "~valid", "valid", everywhere((MASK, EMPTY, HALF), "mask inverted")
    ),
    "nan for nobody": Wrong("weights.nan_to_num(0)", "weights", {EMPTY: "nan without valid keys"}),
    "a very small score": Wrong(
        "-torch.inf", "-1e9", {EMPTY: "uniform without valid keys", HALF: "stops with RuntimeError"}
    ),
    "always single precision": Wrong(
        "return weights.nan_to_num(0)", "return weights.nan_to_num(0).float()", {HALF: "wrong type"}
    ),
    "a number": Wrong("return scores.softmax(-1)", "return 'x'", {PLAIN: "stops with TypeError"}),
}
FOLLOWED_UP = WRONG_WEIGHTS.keys() - {"transposed", "a very small score", "a number"}
RIGHT_BLOCK = {
    "einsum": """
class NonlocalBlock(nn.Module):
    def __init__(self, channels, key_channels):
        super().__init__()
        for name in ("to_query", "to_key", "to_value"):
            setattr(self, name, nn.Conv2d(channels, key_channels, 1))
        self.to_output = nn.Conv2d(key_channels, channels, 1)
        nn.init.constant_(self.to_output.weight, 0)
        nn.init.constant_(self.to_output.bias, 0)

    def forward(self, features, valid=None):
        q, k, v = self.to_query(features), self.to_key(features), self.to_value(features)
        scores = torch.einsum("bchw,bcij->bhwij", q, k) / sqrt(q.shape[1])
        if valid is not None:
            scores = scores.masked_fill(~valid[:, None, None], float("-inf"))
        shares = scores.flatten(3).softmax(-1).nan_to_num(0).view_as(scores)
        return features + self.to_output(torch.einsum("bhwij,bcij->bchw", shares, v))
""",
    "torch's own attention": """
class NonlocalBlock(nn.Module):
    def __init__(self, channels, key_channels):
        super().__init__()
        self.to_query, self.to_key, self.to_value = (
            nn.Conv2d(channels, key_channels, 1) for _ in range(3))
        self.to_output = nn.Conv2d(key_channels, channels, 1)
        with torch.no_grad():
            self.to_output.weight.zero_()
            self.to_output.bias.zero_()

    def forward(self, features, valid=None):
        q, k, v = (part(features).flatten(2).mT for part in
                   (self.to_query, self.to_key, self.to_value))
        mask = None if valid is None else valid.flatten(1)[:, None]
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.to_output(context.mT.reshape(*k.mT.shape[:2], *features.shape[2:])) + features
""",
    "positions in front": """
class NonlocalBlock(nn.Module):
    def __init__(self, channels, key_channels):
        super().__init__()
        self.to_value = nn.Conv2d(channels, key_channels, (1, 1))
        self.to_key = nn.Conv2d(channels, key_channels, (1, 1))
        self.to_query = nn.Conv2d(channels, key_channels, (1, 1))
        self.to_output = nn.Conv2d(key_channels, channels, (1, 1))
        for value in self.to_output.parameters():
            nn.init.zeros_(value)

    def forward(self, features, valid=None):
        b, c, h, w = features.shape
        rows = lambda part: part(features).permute(0, 2, 3, 1).reshape(b, h * w, -1)
        keys = rows(self.to_key)
        scores = rows(self.to_query) @ keys.mT * keys.shape[-1] ** -0.5
        if valid is not None:
            scores[~valid.reshape(b, 1, -1).expand_as(scores)] = -math.inf
        out = torch.softmax(scores, -1).nan_to_num() @ rows(self.to_value)
        return features + self.to_output(out.reshape(b, h, w, -1).permute(0, 3, 1, 2))
""",
}
SHARE = "attention_weights(query, key, flat)"
INSIDE = (VALUES, PIXELS, SIZES)
WRONG_BLOCK = {
    "input lost": Wrong(
        "return features + self",
        "return self",
        {START: "does not start as the identity"}
        | everywhere(INSIDE, "input not added")
        | {GRADIENTS: "wrong values"},
    ),
    "nothing but the input": Wrong(
        "return features + self.to_output(context.unflatten(2, features.shape[2:]))",
        "return 1 * features",
        {START: "returns its input only"}
        | everywhere(INSIDE, "other values")
        | {GRADIENTS: "wrong values"},
    ),
    "something, once there are weights": Wrong(
        "return features + self.to_output(context.unflatten(2, features.shape[2:]))",
        "return features + int(self.to_output.weight.any())",
        {START: "no attention"} | everywhere(INSIDE, "other values") | {GRADIENTS: "wrong values"},
    ),
    "random start": Wrong(
        "nn.init.zeros_(self.to_output.weight)", "", {START: "does not start as the identity"}
    ),
    "bias at the start": Wrong(
        "nn.init.zeros_(self.to_output.bias)", "", {START: "does not start as the identity"}
    ),
    "positions mixed": Wrong(
        "@ value.mT).mT",
        "@ value.mT).reshape(value.shape)",
        everywhere(INSIDE, "positions mixed up") | {GRADIENTS: "wrong values"},
    ),
    "queries as keys": Wrong(
        SHARE,
        "attention_weights(query, query, flat)",
        everywhere(INSIDE, "queries serve as keys") | {GRADIENTS: "wrong values"},
    ),
    "query and key exchanged": Wrong(
        SHARE,
        "attention_weights(key, query, flat)",
        everywhere(INSIDE, "query and key exchanged") | {GRADIENTS: "wrong values"},
    ),
    "keys fetched": Wrong(
        "@ value.mT",
        "@ key.mT",
        everywhere(INSIDE, "keys serve as values") | {GRADIENTS: "wrong values"},
    ),
    "mask forgotten": Wrong(SHARE, "attention_weights(query, key)", {PIXELS: "mask ignored"}),
    "mask on the queries": Wrong(
        "(attention_weights(query, key, flat) @ value.mT)",
        "(attention_weights(query, key) @ value.mT * (1 if flat is None else flat[..., None]))",
        {PIXELS: "mask on the queries"},
    ),
    "gradient cut": Wrong(SHARE, SHARE + ".detach()", {GRADIENTS: "gradient cut"}),
    "value detached": Wrong("value.mT", "value.mT.detach()", {GRADIENTS: "gradient cut"}),
    "square maps only": Wrong(
        "features.shape[2:]",
        "(int(query.shape[2] ** 0.5),) * 2",
        everywhere((START, *INSIDE, GRADIENTS), "stops with RuntimeError"),
    ),
    "squeezed": Wrong(
        "features.shape[2:])", "features.shape[2:]).squeeze()", {SIZES: "stops with RuntimeError"}
    ),
    "more parts": Wrong(
        "super().__init__()",
        "super().__init__()\n        self.norm = nn.BatchNorm2d(channels)",
        everywhere((START, *INSIDE, GRADIENTS), "other parts"),
    ),
}
GALLERIES = (
    Gallery(WEIGHTS, "weights", RIGHT_WEIGHTS, WRONG_WEIGHTS),
    Gallery(BLOCK, "block", RIGHT_BLOCK, WRONG_BLOCK),
    OPERATIONS,
)
