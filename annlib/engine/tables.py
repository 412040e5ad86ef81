"""Scores and experiments as tables of plain text that are valid Markdown, too."""

from collections.abc import Sequence

from annlib.engine.evaluate import Scores


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns: names to the left, numbers to the right."""
    cells = [list(header), *map(list, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [line(row, widths) for row in cells]
    rule = "|" + "|".join("-" * (w + 1) + (":" if i else "-") for i, w in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        text.rjust(w) if i else text.ljust(w)
        for i, (text, w) in enumerate(zip(row, widths, strict=True))
    ]
    return "| " + " | ".join(cells) + " |"


def percent(share: float) -> str:
    """Two decimals, as in the published tables; a dash for NaN, a class that does not occur."""
    return "-" if share != share else f"{100 * share:.2f}"


def score_table(scores: Scores, class_names: Sequence[str]) -> str:
    """IoU and accuracy of each class in percent, their means, then the three in one line."""
    rows = [
        [name, percent(float(iou)), percent(float(accuracy))]
        for name, iou, accuracy in zip(class_names, scores.iou, scores.accuracy, strict=True)
    ]
    rows.append(["mean", percent(scores.miou), percent(scores.mean_accuracy)])
    classes = table(["class", "IoU %", "accuracy %"], rows)
    return f"{classes}\n\n{summary_line(scores)}"


def summary_line(scores: Scores) -> str:
    """The three numbers by which networks are compared, in percent."""
    return (
        f"mIoU {percent(scores.miou)}  mAcc {percent(scores.mean_accuracy)}  "
        f"aAcc {percent(scores.pixel_accuracy)}"
    )
