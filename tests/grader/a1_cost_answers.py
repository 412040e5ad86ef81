"""Answers to the last task of assignment A1: what the block costs."""

from known import Gallery, Wrong, everywhere

COST = "block_operations"
ALL_COST = ("operations of small maps", "operations of large maps")
FORMULA = "2 * (4 * n * channels * key_channels + 2 * n * n * key_channels)"
RIGHT_COST = {
    "term by term": """
def block_operations(height, width, channels, key_channels):
    total = 0
    for part in ("query", "key", "value", "output"):
        total += 2 * height * width * channels * key_channels
    for product in ("scores", "context"):
        total += 2 * (height * width) ** 2 * key_channels
    return total
""",
    "factored, as a float": """
def block_operations(height, width, channels, key_channels):
    return 4.0 * height * width * key_channels * (2 * channels + height * width)
""",
    "as a tensor": """
block_operations = lambda h, w, c, k: torch.tensor(8 * h * w * c * k + 4 * h * h * w * w * k)
""",
}
WRONG_COST = {
    "multiply-adds": Wrong("2 * (4", "1 * (4", everywhere(ALL_COST, "multiply-adds")),
    "no projections": Wrong("(4 *", "(0 *", everywhere(ALL_COST, "projections forgotten")),
    "no products": Wrong("+ 2 *", "+ 0 *", everywhere(ALL_COST, "products forgotten")),
    "one product": Wrong("+ 2 *", "+ 1 *", everywhere(ALL_COST, "one product")),
    "three projections": Wrong("(4 *", "(3 *", everywhere(ALL_COST, "three projections")),
    "linear": Wrong("n * n *", "n *", everywhere(ALL_COST, "grows with N only")),
    "square": Wrong(
        "n = height * width", "n = height**2", everywhere(ALL_COST, "height for width")
    ),
    "three dots": Wrong(f"return {FORMULA}", "...", everywhere(ALL_COST, "not started")),
    "a constant": Wrong(FORMULA, "1024", everywhere(ALL_COST, "other values")),
}
OPERATIONS = Gallery(COST, "operations", RIGHT_COST, WRONG_COST)
