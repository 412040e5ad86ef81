"""What `annlib data check` found in one half of a data set, as text."""

from annlib.config import IGNORE_INDEX
from annlib.data.checking import Listing, Summary
from annlib.data.classes import DatasetSpec

BAR_WIDTH = 32


def report(listing: Listing, summary: Summary, spec: DatasetSpec) -> str:
    """Counts, the histogram, and every problem."""
    title = f"{spec.name} {listing.split}".strip()
    count = len(listing.pairs.images)
    opened = "all" if summary.num_inspected == count else f"{summary.num_inspected} of them"
    first = listing.pairs.labels[0].name if count else "none"
    problems = (*listing.problems, *summary.problems)
    lines = [
        f"{title}: {count} pairs, {opened} opened (label files: {first}, ...)",
        f"Sizes: {sizes(summary)}",
        "",
        *histogram(summary, spec),
        "",
        f"Problems: {len(problems) or 'none'}",
        *(f"- {problem}" for problem in problems),
    ]
    return "\n".join(lines) + "\n"


def sizes(summary: Summary) -> str:
    """The one size that all have, or the smallest and the largest area."""
    texts = [f"{height} x {width}" for height, width in summary.sizes]
    if len(texts) < 2:
        return "".join(texts) or "none"
    return f"{texts[0]} to {texts[-1]} (height x width), {len(texts)} different ones"


def histogram(summary: Summary, spec: DatasetSpec) -> list[str]:
    """A line for each class that occurs: its share of all pixels, of pictures, and a bar.

    The last line names those that do not occur.
    """
    classes = dict(enumerate(spec.class_names)) | {IGNORE_INDEX: "(ignored)"}
    absent = [name for index, name in classes.items() if not summary.pixels[index]]
    width = max(len("class"), *(len(name) for name in classes.values() if name not in absent), 0)
    lines = [f"{'class':{width}}    pixels  pictures"]
    for index, name in classes.items():
        if name not in absent:
            lines.append(f"{name:{width}}  {shares(summary, index)}")
    if absent:
        lines.append(f"Not there: {', '.join(absent)}")
    return lines


def shares(summary: Summary, index: int) -> str:
    """Of all pixels, and of all pictures that were opened; the longest bar is the largest class."""
    pixels = int(summary.pixels[index])
    bar = "#" * -(-BAR_WIDTH * pixels // int(summary.pixels.max()))  # rounded up: seen if there
    of_pixels = 100 * pixels / int(summary.pixels.sum())
    of_pictures = 100 * int(summary.pictures[index]) / summary.num_inspected
    return f"{of_pixels:6.2f} %   {of_pictures:5.1f} %  {bar}"
