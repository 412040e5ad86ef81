"""Right and wrong answers to the exercises of lesson 09."""

import torch
from torch.nn.functional import pad

from annlib.course import checks
from exercises import Gallery, Wrong


def by_table(raw, values):
    table = torch.full((256,), 255, dtype=torch.uint8)
    table[torch.tensor(values)] = torch.arange(len(values), dtype=torch.uint8)
    return table[raw.long()]


def by_comparing(raw, values):
    found = torch.full_like(raw, 255)
    for index, value in enumerate(values):
        found[raw == value] = index
    return found


def in_place(raw, values):
    labels = raw.clone()
    for index, value in enumerate(values):
        labels[labels == value] = index
    return labels


def in_place_from_255(raw, values):
    labels = raw.clone()
    for index, value in enumerate(values):
        labels[labels == value] = index
    known = torch.isin(raw, torch.tensor(values, dtype=torch.uint8))
    return torch.where(known, labels, 255)


def changing_the_input(raw, values):
    found = by_table(raw, values)
    raw.copy_(found)
    return found


def others_are_class_0(raw, values):
    table = torch.zeros(256, dtype=torch.uint8)
    table[torch.tensor(values)] = torch.arange(len(values), dtype=torch.uint8)
    return table[raw.long()]


def others_are_the_last(raw, values):
    return by_table(raw, values).clamp(max=len(values) - 1)


def starts(side, window, stride):
    last = max(side - window, 0)
    return sorted({min(start, last) for start in range(0, last + stride, stride)})


def sliding(score, images, window, stride, places=starts, how="mean"):
    height, width = images.shape[2:]
    total, count = 0, torch.zeros(height, width)
    for top in places(height, window[0], stride[0]):
        for left in places(width, window[1], stride[1]):
            rows, columns = slice(top, top + window[0]), slice(left, left + window[1])
            scores = score(images[:, :, rows, columns])
            if isinstance(total, int):
                total = torch.zeros(len(images), scores.shape[1], height, width)
            if how == "last":
                total[:, :, rows, columns] = scores
            elif how == "max":
                total[:, :, rows, columns] = torch.maximum(total[:, :, rows, columns], scores)
            else:
                total[:, :, rows, columns] += scores
            count[rows, columns] += 1
    return total / count if how == "mean" else total


def slide(score, images, window, stride):
    return sliding(score, images, window, stride)


def slide_with_boxes(score, images, window, stride):
    sizes = images.shape[2:]
    boxes = set()
    for top in range(0, sizes[0], stride[0]):
        for left in range(0, sizes[1], stride[1]):
            bottom = min(top + window[0], sizes[0])
            right = min(left + window[1], sizes[1])
            boxes.add((max(bottom - window[0], 0), bottom, max(right - window[1], 0), right))
    parts = [(box, score(images[:, :, box[0] : box[1], box[2] : box[3]])) for box in boxes]
    total = parts[0][1].new_zeros(len(images), parts[0][1].shape[1], *sizes)
    count = torch.zeros_like(total)
    for (top, bottom, left, right), scores in parts:
        total[:, :, top:bottom, left:right] += scores
        count[:, :, top:bottom, left:right] += 1
    return total / count


def ragged(side, window, stride):
    return list(range(0, max(side - window, 0) + stride, stride))


def without_the_last(side, window, stride):
    return list(range(0, max(side - window, 0) + 1, stride))


def padded(score, images, window, stride):
    sizes = images.shape[2:]
    more = [
        (-(-max(side - part, 0) // step) * step + part) - side
        for side, part, step in zip(sizes, window, stride, strict=True)
    ]
    wide = pad(images, (0, more[1], 0, more[0]))
    return sliding(score, wide, window, stride)[:, :, : sizes[0], : sizes[1]]


def with_doubles(side, window, stride):
    last = max(side - window, 0)
    return [min(start, last) for start in range(0, side, stride)]


def with_(**options):
    return lambda score, images, window, stride: sliding(score, images, window, stride, **options)


def step(parameters, measured, batch):
    fixed = 4 * 3 * parameters
    return fixed + batch * (measured - fixed)


def step_by_growth(parameters, measured, batch):
    return measured + (batch - 1) * (measured - 12 * parameters)


GALLERIES = {
    "labels": Gallery(
        checks.class_indices,
        [by_table, by_comparing],
        {
            "replaced in one tensor": Wrong(in_place, ""),
            "replaced in one tensor, then cleaned": Wrong(in_place_from_255, "replaced again"),
            "changes its input": Wrong(changing_the_input, "other ones"),
            "all else is class 0": Wrong(others_are_class_0, "counts as class"),
            "all else is the last class": Wrong(others_are_the_last, "counts as class"),
            "minus the first value": Wrong(lambda raw, values: raw - values[0], ""),
            "minus one, as for ADE20K": Wrong(lambda raw, values: raw - 1, "out of bounds"),
            "as they are": Wrong(lambda raw, values: raw.clone(), ""),
        },
    ),
    "slide": Gallery(
        checks.slide,
        [slide, slide_with_boxes],
        {
            "sums": Wrong(with_(how="sum"), "added up"),
            "the last window wins": Wrong(with_(how="last"), "overwrites"),
            "largest score": Wrong(with_(how="max"), "not the means"),
            "a narrow rest at the border": Wrong(with_(places=ragged), "move the window back"),
            "the border left out": Wrong(with_(places=without_the_last), "no window covers"),
            "padding": Wrong(padded, "what is not there"),
            "windows that come twice": Wrong(with_(places=with_doubles), "count them once"),
            "the whole image": Wrong(lambda score, images, window, stride: score(images), ""),
            "only the first window": Wrong(
                with_(places=lambda side, window, stride: [0]), "no window covers"
            ),
        },
    ),
    "memory": Gallery(
        checks.step_bytes,
        [step, step_by_growth],
        {
            "everything times the batch": Wrong(lambda p, m, b: b * m, "multiply everything"),
            "weights only": Wrong(lambda p, m, b: 4 * p + b * (m - 4 * p), "only the weights"),
            "no momentum": Wrong(lambda p, m, b: 8 * p + b * (m - 8 * p), "two numbers"),
            "as Adam": Wrong(lambda p, m, b: 16 * p + b * (m - 16 * p), "Adam"),
            "maps only": Wrong(lambda p, m, b: b * (m - 12 * p), "did not add them again"),
            "fixed part counted twice": Wrong(lambda p, m, b: 12 * p + b * m, "already"),
            "batch ignored": Wrong(lambda p, m, b: m, "does not grow"),
            "bytes forgotten": Wrong(lambda p, m, b: 3 * p + b * (m - 3 * p), "three bytes"),
        },
    ),
}
