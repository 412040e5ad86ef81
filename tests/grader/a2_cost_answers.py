"""Answers to the last task of assignment A2: what the block costs."""

from known import Gallery, Wrong, everywhere

COST = "asymmetric_operations"
ALL_COST = ("operations of small maps", "operations of large maps")
HEAD = "\ndef asymmetric_operations(high, low, channels, key_channels, levels):\n"
RIGHT_COST = {
    "term by term": HEAD
    + """    n, m, (c, d), k = math.prod(high), math.prod(low), channels, key_channels
    s = sum(n * n for n in levels)
    total = 2 * n * c * k
    total += 2 * m * d * k
    total += 2 * m * d * k
    total += 2 * n * s * k
    total += 2 * n * s * k
    return total + 2 * n * (k + c) * c
""",
    "as a float": HEAD
    + """    s = float(sum(level ** 2 for level in levels))
    n, m = high[0] * high[1], low[0] * low[1]
    c, d = channels
    return 2. * n * (key_channels * (2 * c + 2 * s) + c * c) + 4. * m * d * key_channels
""",
    "counted in tensors": HEAD
    + """    n, m = torch.tensor(high).prod(), torch.tensor(low).prod()
    s = torch.tensor(levels).square().sum()
    per = key_channels * (channels[0] + 2 * s) + (key_channels + channels[0]) * channels[0]
    return 2 * (n * per + 2 * m * channels[1] * key_channels)
""",
}


def cost(old: str, new: str, misconception: str) -> Wrong:
    return Wrong(old, new, everywhere(ALL_COST, misconception))


WRONG_COST = {
    "multiply-adds": cost("return 2 * (", "return (", "multiply-adds"),
    "no projections": cost("projections + output + products", "products", "projections forgotten"),
    "no products": cost(" + products", "", "products forgotten"),
    "one product": cost("2 * num_queries * anchors", "num_queries * anchors", "one product"),
    "levels not squared": cost("level**2 for", "level for", "levels not squared"),
    "finest only": cost(
        "sum(level**2 for level in levels)", "max(levels) ** 2", "finest level only"
    ),
    "not sampled": cost("sum(level**2 for level in levels)", "num_low", "not sampled"),
    "one size": cost("2 * num_low", "2 * num_queries", "one size for both"),
    "sampled first": cost("2 * num_low", "2 * anchors", "projected after sampling"),
    "square": cost(
        "high[0] * high[1], low[0] * low[1]", "high[0] ** 2, low[0] ** 2", "height for width"
    ),
    "context only": cost(
        "(key_channels + channels[0])", "key_channels", "concatenated map forgotten"
    ),
}
OPERATIONS = Gallery(COST, "operations", RIGHT_COST, WRONG_COST)
