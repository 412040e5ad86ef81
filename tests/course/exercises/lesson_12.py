"""Right and wrong answers to the exercises of lesson 12: kinds, order of products, crosses."""

import torch
from torch import Tensor

from annlib.course import checks
from exercises import Gallery, Wrong

KINDS = {
    "fused": "never stored",
    "anchors": "fewer keys",
    "reduced": "fewer keys",
    "projected": "fewer keys",
    "landmarks": "fewer keys",
    "centres": "fewer keys",
    "windows": "fewer pairs",
    "criss-cross": "fewer pairs",
    "kernel": "other order",
    "random features": "other order",
}


def kinds(**changes: object) -> dict[str, object]:
    """The right answer with changes; `_` stands for a hyphen, `__` for a blank."""
    return KINDS | {
        name.replace("__", " ").replace("_", "-"): kind for name, kind in changes.items()
    }


# Linear attention


def by_matmul(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    memory = key @ value.mT
    return query.mT @ memory / (query.mT @ key.sum(2, keepdim=True))


def by_einsum(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    memory = torch.einsum("bcs,bvs->bcv", key, value)
    fetched = torch.einsum("bcn,bcv->bnv", query, memory)
    return fetched / torch.einsum("bcn,bc->bn", query, key.sum(-1))[..., None]


def with_ones(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The total rides along as one more channel of the values."""
    value = torch.cat([value, torch.ones_like(value[:, :1])], dim=1)
    both = query.mT @ (key @ value.mT)
    return both[..., :-1] / both[..., -1:]


def dear_order(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    scores = query.mT @ key
    return scores / scores.sum(-1, keepdim=True) @ value.mT


def with_softmax(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return (query.mT @ key).softmax(-1) @ value.mT


def no_total(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return query.mT @ (key @ value.mT)


def divided_by_number(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return query.mT @ (key @ value.mT) / key.shape[2]


def total_of_columns(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return query.mT @ (key @ value.mT) / (query.sum(2)[:, None] @ key.sum(2, keepdim=True))


def one_total(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    totals = query.mT @ key.sum(2, keepdim=True)
    return query.mT @ (key @ value.mT) / totals.mean(1, keepdim=True)


def mean_only(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return value.mean(2)[:, None].expand(-1, query.shape[2], -1)


def transposed(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return by_matmul(query, key, value).mT


def softmaxed_features(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return by_matmul(query.softmax(1), key.softmax(2), value)


def keys_as_values(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return by_matmul(query, key, key)


# Crosses


def by_index(height: int, width: int) -> Tensor:
    n = torch.arange(height * width)
    rows, columns = n // width, n % width
    return (rows[:, None] == rows) | (columns[:, None] == columns)


def by_maps(height: int, width: int) -> Tensor:
    reach = torch.zeros(height, width, height, width, dtype=torch.bool)
    for y in range(height):
        for x in range(width):
            reach[y, x, y, :] = True
            reach[y, x, :, x] = True
    return reach.flatten(2).flatten(0, 1)


def rows_only(height: int, width: int) -> Tensor:
    rows = torch.arange(height * width) // width
    return rows[:, None] == rows


def columns_only(height: int, width: int) -> Tensor:
    columns = torch.arange(height * width) % width
    return columns[:, None] == columns


def flattened_by_columns(height: int, width: int) -> Tensor:
    n = torch.arange(height * width)
    rows, columns = n % height, n // height
    return (rows[:, None] == rows) | (columns[:, None] == columns)


def corners(height: int, width: int) -> Tensor:
    """Where row and column meet."""
    n = torch.arange(height * width)
    rows, columns = n // width, n % width
    return (rows[:, None] == rows) & (columns[:, None] == columns)


def window(height: int, width: int) -> Tensor:
    n = torch.arange(height * width)
    rows, columns = n // width, n % width
    return ((rows[:, None] - rows).abs() <= 1) & ((columns[:, None] - columns).abs() <= 1)


def thick(height: int, width: int) -> Tensor:
    return by_index(height, width) | window(height, width)


def without_self(height: int, width: int) -> Tensor:
    return by_index(height, width) & ~torch.eye(height * width, dtype=torch.bool)


def two_steps(height: int, width: int) -> Tensor:
    once = by_index(height, width).float()
    return once @ once > 0


GALLERIES = {
    "kinds": Gallery(
        checks.kinds_of_attention,
        [KINDS, dict(reversed(KINDS.items()))],
        {
            "windows ask fewer keys": Wrong(kinds(windows="fewer keys"), "exactly 0"),
            "a cross is another order": Wrong(kinds(criss_cross="other order"), "exactly 0"),
            "landmarks skip pairs": Wrong(kinds(landmarks="fewer pairs"), "exactly 0"),
            "anchors skip pairs": Wrong(kinds(anchors="fewer pairs"), "every pair meets"),
            "fused is an approximation": Wrong(kinds(fused="other order"), "IS that of"),
            "fused skips keys": Wrong(kinds(fused="fewer keys"), "IS that of"),
            "linear is exact": Wrong(kinds(kernel="never stored"), "is not that of"),
            "the C x C memory is fewer keys": Wrong(kinds(kernel="fewer keys"), "no softmax"),
            "random features are random keys": Wrong(
                kinds(random__features="fewer keys"), "no softmax"
            ),
            "a projection reorders": Wrong(kinds(projected="other order"), "takes a softmax"),
            "centres reorder": Wrong(kinds(centres="other order"), "takes a softmax"),
            "one forgotten": Wrong({k: v for k, v in KINDS.items() if k != "reduced"}, "reduced"),
            "still dots": Wrong(kinds(anchors=...), "three dots"),
            "another word": Wrong(kinds(anchors="pooling"), "not one of the kinds"),
            "a list": Wrong(list(KINDS.values()), "dictionary"),
        },
    ),
    "linear": Gallery(
        checks.linear_attention,
        [by_matmul, by_einsum, with_ones],
        {
            "scores first": Wrong(dear_order, "keys and values first"),
            "softmax kept": Wrong(with_softmax, "softmax is in it"),
            "no total": Wrong(no_total, "sum to 1"),
            "divided by S": Wrong(divided_by_number, "own total"),
            "total over those who ask": Wrong(total_of_columns, "own total"),
            "one total for all rows": Wrong(one_total, "own total"),
            "the mean for everybody": Wrong(mean_only, "no influence"),
            "channels first": Wrong(transposed, "(B, N, Cv)"),
            "features softmaxed once more": Wrong(softmaxed_features, "nothing else"),
            "keys for values": Wrong(keys_as_values, "(B, N, Cv)"),
            "wrong axes": Wrong(lambda q, k, v: q @ k, "stopped with"),
            "not returned": Wrong(lambda q, k, v: None, "return"),
        },
    ),
    "crosses": Gallery(
        checks.criss_cross_reach,
        [by_index, by_maps],
        {
            "rows only": Wrong(rows_only, "but not to its column"),
            "columns only": Wrong(columns_only, "but not to its row"),
            "flattened column by column": Wrong(flattened_by_columns, "n // W"),
            "and for or": Wrong(corners, "neither to its whole row"),
            "a window": Wrong(window, "neither to its whole row"),
            "a cross with a window": Wrong(thick, "neither in its row nor"),
            "without itself": Wrong(without_self, "attends to itself"),
            "both passes together": Wrong(two_steps, "to every position"),
            "numbers": Wrong(lambda h, w: by_index(h, w).float(), "True or False"),
            "a map for one position": Wrong(lambda h, w: by_index(h, w)[0].view(h, w), "(N, N)"),
            "not returned": Wrong(lambda h, w: None, "return"),
        },
    ),
}
