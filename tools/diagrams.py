"""Draws the diagrams of the lessons as SVG files with text alternatives.

    python -m tools.diagrams          writes notebooks/diagrams/*.svg

Sizes and channels come from annlib. Drawing fails where a text leaves its box or the panel, or lies
on another text or on an arrow. Each diagram has its own panel, light or dark by the reader's
setting, so that it is legible on any page.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from html import escape
from itertools import combinations, pairwise
from pathlib import Path
from typing import NamedTuple

import matplotlib
from PIL import ImageFont

from annlib.config import ModelConfig, TrainConfig
from annlib.engine.inference import times_covered, window_starts
from annlib.experiments import find_experiment
from annlib.model.ann import map_size

FOLDER = Path(__file__).resolve().parents[1] / "notebooks/diagrams"
MODEL = ModelConfig(depth=50, num_classes=19)
IMAGE = (512, 1024)
LOW, HIGH = 1024, 2048  # channels of c4 and c5; tests compare them with the backbone's
HEIGHT, WIDTH = map_size(IMAGE)
N, S = HEIGHT * WIDTH, sum(side * side for side in MODEL.pool_scales)
KEYS, HIDDEN = MODEL.key_channels, MODEL.hidden_channels
STYLE = """
text { font-family: "DejaVu Sans", Verdana, "Segoe UI", Arial, sans-serif; fill: #1b1b1b }
.small { font-size: 17px; fill: #474747 } .body { font-size: 18px } .head { font-size: 20px;
font-weight: bold } .panel { fill: #fff; stroke: #b8b8b8 } .op { fill: #fff; stroke: #474747 }
.map { fill: #eceff3; stroke: #6d7986 } .query { fill: #d6e9f6; stroke: #0072b2 }
.key { fill: #fbe3d2; stroke: #c24f00 } .value { fill: #d5efe5; stroke: #007a59 }
.group { fill: none; stroke: #6d7986; stroke-dasharray: 6 4 } .grid { fill: none; stroke: #6d7986 }
.arrow { fill: none; stroke: #474747; stroke-width: 1.8 } .training { stroke-dasharray: 6 4 }
.tip { fill: #474747 } rect { stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
text { fill: #f2f2f2 } .small { fill: #cfcfcf } .panel { fill: #17191c; stroke: #55595e }
.op { fill: #17191c; stroke: #cfcfcf } .map { fill: #2b3138; stroke: #98a4b0 }
.query { fill: #0d3a57; stroke: #6cb8e6 } .key { fill: #55270a; stroke: #ff9a57 }
.value { fill: #0a4334; stroke: #4fd0a8 } .group, .grid { stroke: #98a4b0 }
.arrow { stroke: #cfcfcf } .tip { fill: #cfcfcf }
}"""
FONTS = {"small": ("DejaVuSans", 17), "body": ("DejaVuSans", 18), "head": ("DejaVuSans-Bold", 20)}
TIP = 9  # length of an arrow's tip
INDEX, LOWERED = (
    re.compile("~(.)"),
    r'<tspan dy="4" font-size="75%">\1</tspan><tspan dy="-4">&#8203;</tspan>',
)
Point = tuple[float, float]


class Area(NamedTuple):
    """A rectangle: left, top, width, height."""

    x: float
    y: float
    w: float
    h: float

    @property
    def left(self) -> Point:
        return self.x, self.y + self.h / 2

    @property
    def right(self) -> Point:
        return self.x + self.w, self.y + self.h / 2

    @property
    def top(self) -> Point:
        return self.x + self.w / 2, self.y

    @property
    def bottom(self) -> Point:
        return self.x + self.w / 2, self.y + self.h

    def within(self, other: "Area") -> bool:
        return (
            other.x <= self.x
            and other.y <= self.y
            and self.x + self.w <= other.x + other.w
            and self.y + self.h <= other.y + other.h
        )

    def meets(self, other: "Area") -> bool:
        return (
            self.x < other.x + other.w
            and other.x < self.x + self.w
            and self.y < other.y + other.h
            and other.y < self.y + self.h
        )


@cache
def font(style: str) -> ImageFont.FreeTypeFont:
    name, size = FONTS[style]
    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/{name}.ttf", size)


class Diagram:
    """An SVG of 1000 units in width. Positions are in these units, from the upper left corner."""

    def __init__(self, height: int, title: str, description: str):
        self.panel = Area(0, 0, 1000, height)
        self.title, self.description = title, " ".join(description.split())
        self.shapes: list[str] = []
        self.texts: list[tuple[str, Area]] = []
        self.segments: list[Area] = []
        self.boxes: list[Area] = []

    def rect(self, area: Area, style: str, radius: int = 6) -> Area:
        x, y, w, h = (f"{number:g}" for number in area)
        self.shapes.append(
            f'<rect class="{style}" x="{x}" y="{y}" width="{w}" height="{h}" rx="{radius}"/>'
        )
        return area

    def text(self, x: float, y: float, text: str, style: str = "body", anchor: str = "middle"):
        """One line, centred at height y. What follows ~ is an index: "W~O" shows O lowered."""
        shown, size = text.replace("~", ""), FONTS[style][1]
        length = font(style).getlength(shown)
        start = {"start": x, "middle": x - length / 2, "end": x - length}[anchor]
        self.texts.append((shown, Area(start, y - size / 2, length, size)))
        self.shapes.append(
            f'<text class="{style}" x="{x:g}" y="{y + 0.35 * size:g}" text-anchor="{anchor}">'
            f"{INDEX.sub(LOWERED, escape(text))}</text>"
        )

    def box(self, x: float, y: float, w: float, lines: str, style: str = "op", below: str = ""):
        """A box around lines of text, its middle at height y, with a caption below it."""
        rows = lines.split("\n")
        height = 22 * len(rows) + 14
        area = self.rect(Area(x, y - height / 2, w, height), style)
        self.boxes.append(area)
        for place, row in enumerate(rows):
            before = len(self.texts)
            self.text(x + w / 2, y + 22 * (place - (len(rows) - 1) / 2), row)
            if not self.texts[before][1].within(area._replace(x=x + 3, w=w - 6)):
                raise ValueError(f"{row!r} does not fit into a box of {w} units: {self.title}.")
        for place, row in enumerate(below.split("\n") if below else []):
            self.text(x + w / 2, y + height / 2 + 15 + 20 * place, row, "small")
        return area

    def arrow(self, *points: Point, style: str = ""):
        """A line along points; each piece is horizontal or vertical."""
        for (x, y), (to_x, to_y) in pairwise(points):
            if x != to_x and y != to_y:
                raise ValueError(f"{self.title}: an arrow runs askew from {x, y} to {to_x, to_y}.")
            left, top = min(x, to_x), min(y, to_y)
            self.segments.append(Area(left - 1, top - 1, abs(x - to_x) + 2, abs(y - to_y) + 2))
        (x, y), (end_x, end_y) = points[-2:]
        length = math.hypot(end_x - x, end_y - y)
        along_x, along_y = (end_x - x) / length * TIP, (end_y - y) / length * TIP
        base_x, base_y = end_x - along_x, end_y - along_y
        path = " ".join(f"{x:g},{y:g}" for x, y in (*points[:-1], (base_x, base_y)))
        tip = [(end_x, end_y), (base_x - along_y / 2, base_y + along_x / 2)]
        tip.append((base_x + along_y / 2, base_y - along_x / 2))
        corners = " ".join(f"{x:g},{y:g}" for x, y in tip)
        self.shapes.append(f'<polyline class="arrow {style}" points="{path}"/>')
        self.shapes.append(f'<polygon class="tip" points="{corners}"/>')

    def across(self, *areas: Area):
        """An arrow from each box to the next one at its right."""
        for area, after in pairwise(areas):
            self.arrow(area.right, after.left)

    def svg(self) -> str:
        """The file. Raises ValueError where something cannot be read."""
        for text, area in self.texts:
            if not area.within(Area(8, 8, self.panel.w - 16, self.panel.h - 16)):
                raise ValueError(f"{text!r} leaves the panel of {self.title!r}.")
            if any(area.meets(segment) for segment in self.segments):
                raise ValueError(f"An arrow runs through {text!r} in {self.title!r}.")
            if any(area.meets(box) and not area.within(box) for box in self.boxes):
                raise ValueError(f"{text!r} lies over the border of a box in {self.title!r}.")
        for (text, area), (other, place) in combinations(self.texts, 2):
            if area.meets(place):
                raise ValueError(f"{text!r} lies on {other!r} in {self.title!r}.")
        size = f"{self.panel.w:g} {self.panel.h:g}"
        panel = f'<rect class="panel" x=".75" y=".75" rx="8" width="{self.panel.w - 1.5:g}" '
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" role="img" '
                f'width="{self.panel.w:g}" height="{self.panel.h:g}" aria-labelledby="t d">',
                f'<title id="t">{escape(self.title)}</title>',
                f'<desc id="d">{escape(self.description)}</desc>',
                f"<style>{STYLE}</style>",
                f'{panel}height="{self.panel.h - 1.5:g}"/>',
                *self.shapes,
                "</svg>\n",
            ]
        )


def size(*numbers: object) -> str:
    return " × ".join(str(number) for number in numbers)


def attention() -> Diagram:
    scores, values = (2.0, 1.0, 0.0), (10, 20, 30)
    total = sum(math.exp(score) for score in scores)
    weights = [math.exp(score) / total for score in scores]
    output = sum(weight * value for weight, value in zip(weights, values, strict=True))
    shown = [", ".join(f"{weight:.2f}" for weight in weights), f"{output:.1f}"]
    drawn = Diagram(
        460,
        "Attention: query, key and value, with shapes",
        f"""The query map gives the queries phi, C x N. The key/value map gives the keys theta,
        C x S, and the values gamma, Cv x S. Scores are phi transposed times theta, divided by the
        square root of C. A softmax over the S keys makes the weights W, N x S, whose rows sum to 1.
        The output is W times gamma transposed, N x Cv. Example of one query with three keys: scores
        2, 1, 0 give weights {shown[0]}; with the values 10, 20, 30 the output is {shown[1]}.""",
    )
    rows = (70, 170, 270)
    query_map = drawn.box(24, rows[0], 160, "query map\nN positions", "map")
    key_map = drawn.box(24, 220, 160, "key/value map\nS positions", "map")
    names = ("W~φ", "W~θ", "W~γ")
    convs = [drawn.box(228, y, 84, name, "op") for y, name in zip(rows, names, strict=True)]
    query = drawn.box(356, rows[0], 130, "queries φ", "query", size("C", "N"))
    key = drawn.box(356, rows[1], 130, "keys θ", "key", size("C", "S"))
    value = drawn.box(356, rows[2], 130, "values γ", "value", size("C~v", "S"))
    product = drawn.box(540, 120, 110, "φᵀθ / √C", "op", f"scores\n{size('N', 'S')}")
    softmax = drawn.box(694, 120, 100, "softmax\nover S", "op")
    sums = f"{size('N', 'S')}\nrows sum to 1"
    weights_box = drawn.box(838, 120, 138, "weights W", "map", sums)
    weighted = drawn.box(838, rows[2], 138, "W γᵀ", "op")
    result = drawn.box(838, 380, 138, "output O", "map", size("N", "C~v"))
    drawn.across(query_map, convs[0], query)
    for conv, made in zip(convs[1:], (key, value), strict=True):
        drawn.arrow(key_map.right, (206, 220), (206, conv.left[1]), conv.left)
        drawn.across(conv, made)
    drawn.arrow(query.right, (513, rows[0]), (513, 111), (540, 111))
    drawn.arrow(key.right, (513, rows[1]), (513, 129), (540, 129))
    drawn.across(product, softmax, weights_box)
    drawn.arrow((907, 184), weighted.top)
    drawn.across(value, weighted)
    drawn.arrow(weighted.bottom, result.top)
    drawn.text(24, 350, "One query position and three keys, in numbers", "head", "start")
    steps = [("scores", "2, 1, 0"), ("weights", shown[0]), ("output", shown[1])]
    example = [
        drawn.box(x, 408, w, f"{name}\n{numbers}", "map")
        for x, w, (name, numbers) in zip((24, 236, 596), (110, 180, 110), steps, strict=True)
    ]
    drawn.across(*example)
    drawn.text(185, 392, "softmax", "small")
    drawn.text(506, 372, "times the values", "small")
    drawn.text(506, 392, "10, 20, 30, summed", "small")
    return drawn


def pyramid() -> Diagram:
    scales = MODEL.pool_scales
    counts = [side * side for side in scales]
    drawn = Diagram(
        420,
        f"Pyramid pooling: {S} anchors from grids of {', '.join(map(str, scales))}",
        f"""A feature map of C x H x W is cut into grids of {scales} cells a side. Each cell gives
        one anchor: the mean of the features in it. The grids have {counts} cells; all of them in
        one row are the {S} anchors, C x {S}, at any size of the map.""",
    )
    source = drawn.rect(Area(24, 90, 180, 120), "map")
    drawn.text(114, 140, "feature map")
    drawn.text(114, 166, size("C", "H", "W"), "small")
    left = 262
    for side, count in zip(scales, counts, strict=True):
        drawn.text(left + 75, 34, f"{side} × {side}", "head")
        cell = (150 / side, 120 / side)
        for row in range(side):
            for column in range(side):
                place = Area(left + column * cell[0], 90 + row * cell[1], *cell)
                chosen = (row, column) == (side // 2, side // 2)
                drawn.rect(place, "value" if chosen else "grid", 0)
        drawn.text(left + 75, 62, f"{count} cell{'s' * (count > 1)}", "small")
        left += 188
    drawn.arrow(source.right, (262, 150))
    drawn.text(24, 238, "Anchor: the mean of the features in one cell (filled).", "body", "start")
    drawn.text(
        24,
        264,
        "The cells of each grid cover the map. Every grid is made of the same map.",
        "small",
        "start",
    )
    unit, left = 950 / S, 24
    for side, count in zip(scales, counts, strict=True):
        drawn.rect(Area(left, 310, count * unit, 34), "value", 0)
        if count > 1:
            drawn.text(left + count * unit / 2, 327, str(count))
            drawn.text(left + count * unit / 2, 296, f"{side} × {side}", "small")
        left += count * unit
    drawn.text(24, 370, f"{' + '.join(map(str, counts))} = {S}", "head", "start")
    drawn.text(974, 370, f"pooled keys: {size('C', S)}", "body", "end")
    drawn.text(24, 396, "concatenated: coarsest grid first, each row by row", "small", "start")
    return drawn


def block(name: str, title: str, inputs: Sequence[tuple[str, int]], pooled: bool, relu: bool):
    """Non-local block, APNB, or, with two inputs, AFNB. The last input makes the queries."""
    count, bar = (S, "\u0304") if pooled else ("N", "")
    shared, channels = len(inputs) == 1, inputs[-1][1]
    keys, values = (size(KEYS, count), size(MODEL.value_channels, count))
    where = f"{S} pooled anchors" if pooled else "all N positions"
    asks = (
        "One projection makes queries and keys"
        if shared
        else "Queries come from c5, keys and values from c4"
    )
    drawn = Diagram(
        520,
        f"{title}, with the channels of the released models",
        f"""{asks}, {KEYS} channels, by 1 x 1 convolution, batch norm and ReLU; values come from a
        plain 1 x 1 convolution. Keys and values are at {where}. Scores are divided by the square
        root of {KEYS}; a softmax gives weights N x {count}. The weighted sum of the values goes
        through a 1 x 1 convolution to {channels} channels, is concatenated with the input
        (2 x {channels} channels), and a 1 x 1 convolution with batch norm{
            " and ReLU" if relu else ", without ReLU,"
        } gives {channels} channels.""",
    )
    rows = (76, 172, 280)
    normed = "1×1 conv\nBN, ReLU"
    maps = {}
    places = [("high", 180, "H × W")]
    if not shared:
        places = [("low", 226, "h × w"), ("high", rows[0], "H × W")]
    for (label, y, side), (map_name, depth) in zip(places, inputs, strict=True):
        maps[label] = drawn.box(24, y, 140, f"{map_name}\n{depth} × {side}", "map")
    high, low = maps["high"], maps.get("low", maps["high"])
    column = 330
    if shared:
        one = drawn.box(190, 122, 104, normed, "op", f"{KEYS} × N")
        to_query = to_key = one
        drawn.arrow(high.right, (177, high.right[1]), (177, 122), one.left)
    else:
        to_query = drawn.box(190, rows[0], 104, normed, "op", f"{KEYS} × N")
        to_key = drawn.box(190, rows[1], 104, normed, "op", f"{KEYS} × h × w")
        drawn.across(high, to_query)
        drawn.arrow(low.right, (177, low.right[1]), (177, rows[1]), to_key.left)
    to_value = drawn.box(
        190,
        rows[2],
        104,
        "1×1 conv",
        "op",
        f"{MODEL.value_channels} × {'N' if shared else 'h × w'}",
    )
    drawn.arrow(low.right, (177, low.right[1]), (177, rows[2]), to_value.left)
    if pooled:
        key_source = drawn.box(column, rows[1], 96, "pool\n1, 3, 6, 8", "op")
        value_source = drawn.box(column, rows[2], 96, "pool\n1, 3, 6, 8", "op")
        drawn.across(to_value, value_source)
        if not shared:
            drawn.across(to_key, key_source)
    query = drawn.box(462, rows[0], 110, "queries φ", "query", f"{KEYS} × N")
    key = drawn.box(462, rows[1], 110, f"keys θ{bar}", "key", keys)
    value = drawn.box(462, rows[2], 110, f"values γ{bar}", "value", values)
    if shared:
        drawn.arrow(one.right, (312, 122), (312, rows[0]), query.left)
        target = key_source if pooled else key
        drawn.arrow(one.right, (312, 122), (312, rows[1]), target.left)
    else:
        drawn.across(to_query, query)
    if pooled:
        drawn.across(key_source, key)
        drawn.across(value_source, value)
    else:
        drawn.across(to_value, value)
    softmax = drawn.box(614, 122, 168, f"softmax over {count}\nof φᵀθ{bar} / √{KEYS}", "op")
    drawn.arrow(query.right, (597, rows[0]), (597, 112), (614, 112))
    drawn.arrow(key.right, (597, rows[1]), (597, 132), (614, 132))
    weights = drawn.box(826, 122, 150, "weights W", "map", size("N", count))
    weighted = drawn.box(826, rows[2], 150, f"W γ{bar}ᵀ", "op")
    drawn.text(912, 322, size("N", MODEL.value_channels), "small", "start")
    drawn.across(softmax, weights)
    drawn.arrow((901, 168), weighted.top)
    drawn.across(value, weighted)
    project = drawn.box(826, 378, 150, f"1×1 conv W~O\nto {channels}", "op")
    drawn.arrow(weighted.bottom, project.top)
    join = drawn.box(622, 460, 150, f"concatenate\n{2 * channels} × H × W", "op")
    drawn.arrow(project.left, (697, 378), join.top)
    fuse = drawn.box(454, 460, 126, normed if relu else "1×1 conv\nBN, no ReLU", "op")
    out = drawn.box(190, 460, 160, f"output\n{channels} × H × W", "map")
    drawn.arrow(join.left, fuse.right)
    drawn.arrow(fuse.left, out.right)
    # The input goes round the outside to the concatenation.
    x = 94 if shared else 12
    start = high.left if not shared else high.bottom
    drawn.arrow(start, *([(x, start[1])] if not shared else []), (x, 502), (697, 502), join.bottom)
    drawn.text(x + 11, 400, "input, unchanged", "small", "start")
    drawn.text(24, 26, title, "head", "start")
    return drawn


def ann() -> Diagram:
    """Numbers in the boxes are explained in the reference sheet, with links to the source."""
    grid = size(HEIGHT, WIDTH)
    drawn = Diagram(
        560,
        f"ANN with a ResNet-50, for an image of {size(*IMAGE)}",
        f"""1 the backbone: stem, layer1 and layer2, layer3 with output c4 ({LOW} channels), layer4
        with output c5 ({HIGH} channels), both {grid}. 2 AFNB: queries from c5, keys and values from
        c4, {HIGH} channels out. 3 reduce: 3 x 3 convolution to {HIDDEN} channels, batch norm, ReLU.
        4 APNB, {HIDDEN} channels. 5 classifier: 1 x 1 convolution to {MODEL.num_classes} classes. 6
        auxiliary head on c4, in training only. 7 both logits are resized to the image, bilinear.
        Dropout of channels stands before 3 and before 5.""",
    )
    drawn.rect(Area(14, 132, 204, 396), "group")
    drawn.text(30, 116, "1  backbone", "head", "start")
    image = drawn.box(36, 64, 160, f"image\n{size(3, *IMAGE)}", "map")
    stages = [
        drawn.box(36, y, 160, text, "op")
        for y, text in zip(
            (166, 226, 312, 472),
            ("stem, maxpool", "layer1, layer2", "layer3, dilated", "layer4, dilated"),
            strict=True,
        )
    ]
    # Past the heading of the backbone.
    drawn.arrow((186, image.bottom[1]), (186, stages[0].y))
    for before, after in pairwise(stages):
        drawn.arrow(before.bottom, after.top)
    drawn.text(230, 294, f"c4 (low): {size(LOW, HEIGHT, WIDTH)}", "small", "start")
    drawn.text(230, 490, f"c5 (high): {size(HIGH, HEIGHT, WIDTH)}", "small", "start")
    y = 396
    afnb = drawn.box(300, y, 126, "2  AFNB\n110 anchors", "key", size(HIGH, HEIGHT, WIDTH))
    reduce = drawn.box(482, y, 126, "3  reduce\n3×3 conv", "op", size(HIDDEN, HEIGHT, WIDTH))
    apnb = drawn.box(664, y, 126, "4  APNB\n110 anchors", "value", size(HIDDEN, HEIGHT, WIDTH))
    last = drawn.box(846, y, 124, "5  classifier\n1×1 conv", "op", size(19, HEIGHT, WIDTH))
    drawn.arrow(stages[2].right, (363, 312), afnb.top)
    drawn.arrow(stages[3].right, (250, 472), (250, 410), (300, 410))
    drawn.across(afnb, reduce, apnb, last)
    drawn.text(454, 350, "dropout", "small")
    drawn.text(818, 350, "dropout", "small")
    drawn.text(482, 464, "3: batch norm and ReLU follow", "small", "start")
    resized = drawn.box(846, 510, 124, "7  resize", "op")
    drawn.arrow((908, 456), resized.top)
    drawn.text(832, 540, f"logits {size(MODEL.num_classes, *IMAGE)}", "body", "end")
    auxiliary = drawn.box(
        482, 200, 174, f"6  auxiliary head\n3×3 conv to {MODEL.aux_channels}", "op"
    )
    scores = drawn.box(730, 200, 110, "1×1 conv", "op", size(19, HEIGHT, WIDTH))
    drawn.arrow(stages[2].right, (467, 312), (467, 200), auxiliary.left, style="training")
    drawn.arrow(auxiliary.right, scores.left, style="training")
    drawn.arrow(scores.right, (984, 200), (984, 510), resized.right, style="training")
    drawn.text(693, 160, "dropout", "small")
    drawn.text(482, 140, "dashed: in training only", "small", "start")
    drawn.text(340, 40, "Source of each part, in annlib/model:", "body", "start")
    drawn.text(
        340,
        68,
        "1: resnet.py; 2 and 4: asymmetric.py; 3, 5, 6, 7: ann.py and layers.py",
        "small",
        "start",
    )
    return drawn


def training_step() -> Diagram:
    aux = TrainConfig(1).aux_weight
    drawn = Diagram(
        410,
        "One training step, in the order of annlib's train()",
        f"""1 set the learning rate of this step by the poly schedule. 2 zero_grad clears the
        gradients. 3 the forward pass turns images into main and auxiliary logits. 4 the loss:
        cross-entropy of the main logits plus {aux} times that of the auxiliary logits. 5 the
        backward pass adds to the gradients. 6 the optimizer step reads gradients and changes
        weights. Then the next batch.""",
    )
    upper = ("1  learning rate\npoly schedule", "2  zero_grad\nclears gradients")
    upper += ("3  forward pass\nlogits: main, aux",)
    lower = ("6  optimizer step\nchanges weights", "5  backward pass\nadds gradients")
    lower += (f"4  loss\nCE + {aux} × aux CE",)
    columns = (60, 370, 680)
    first = [drawn.box(x, 60, 190, text, "op") for x, text in zip(columns, upper, strict=True)]
    then = [drawn.box(x, 330, 190, text, "op") for x, text in zip(columns, lower, strict=True)]
    weights = drawn.box(60, 195, 190, "weights", "query")
    gradients = drawn.box(370, 195, 190, "gradients (.grad)", "key")
    batch = drawn.box(824, 195, 150, "batch\nimages, labels", "map")
    drawn.across(*first)
    drawn.arrow((730, first[2].bottom[1]), (730, then[2].y))
    drawn.arrow((847, batch.y), (847, first[2].bottom[1]))
    drawn.arrow((847, batch.y + batch.h), (847, then[2].y))
    drawn.text(860, 130, "images", "small", "start")
    drawn.text(860, 262, "labels", "small", "start")
    drawn.text(718, 195, "logits", "small", "end")
    drawn.arrow(then[2].left, then[1].right)
    drawn.arrow(then[1].left, then[0].right)
    drawn.arrow(first[1].bottom, gradients.top)
    drawn.arrow(then[1].top, gradients.bottom)
    drawn.arrow(gradients.left, (300, 195), (300, 240), (200, 240), (200, then[0].y))
    drawn.arrow((120, then[0].y), (120, weights.y + weights.h))
    drawn.text(478, 128, "cleared", "small", "start")
    drawn.text(478, 262, "added", "small", "start")
    drawn.text(214, 262, "read", "small", "start")
    drawn.text(134, 262, "new", "small", "start")
    drawn.arrow(then[0].left, (30, 330), (30, 60), first[0].left)
    drawn.text(60, 388, "then the next batch, until the last step", "small", "start")
    drawn.text(940, 388, "CE: cross-entropy, mean over all pixels", "small", "end")
    return drawn


def sliding_window() -> Diagram:
    test = find_experiment("ann_r50-d8_769x769_40k_cityscapes").test
    height, width = 1025, 2049
    side, stride = test.window[0], test.stride[0]
    tops, lefts = window_starts(height, side, stride), window_starts(width, side, stride)
    drawn = Diagram(
        560,
        f"Sliding window: {side} × {side} with stride {stride} on an image of {height} × {width}",
        f"""Windows start at columns {lefts} and rows {tops}: {len(tops) * len(lefts)} windows. The
        last one of a line is moved back to the edge. Each window goes through the network alone;
        its logits are added up, and the sum is divided by the number of windows at each pixel,
        which the numbers in the image state.""",
    )
    scale, x, y = 0.3, 200, 150
    for place, left in enumerate(lefts):
        bar = Area(x + left * scale, 44 + 26 * place, side * scale, 23)
        drawn.rect(bar, ("query", "key", "value", "map")[place], 0)
        drawn.text(*(bar.x + 8, bar.y + 11.5), f"columns from {left}", "small", "start")
    for place, top in enumerate(tops):
        bar = Area(112 + 40 * place, y + top * scale, 30, side * scale)
        drawn.rect(bar, ("query", "key")[place], 0)
    drawn.text(24, 166, "rows", "small", "start")
    drawn.text(24, 186, f"from {tops[0]}", "small", "start")
    drawn.text(24, 206, f"and {tops[1]}", "small", "start")
    edges = [
        sorted({edge for start in starts for edge in (start, start + side)})
        for starts in (tops, lefts)
    ]
    covered = [
        times_covered(starts, side, length).int().tolist()
        for starts, length in ((tops, height), (lefts, width))
    ]
    for top, bottom in pairwise(edges[0]):
        for left, right in pairwise(edges[1]):
            area = (x + left * scale, y + top * scale, (right - left) * scale)
            count = covered[0][top] * covered[1][left]
            place = Area(*area, (bottom - top) * scale)
            drawn.rect(place, {1: "grid", 2: "map"}.get(count, "value"), 0)
            if place.w > 20:
                drawn.text(place.x + place.w / 2, place.y + place.h / 2, str(count))
    drawn.text(508, 26, f"{len(lefts)} × {len(tops)} = {len(tops) * len(lefts)} windows", "head")
    drawn.text(864, 190, "numbers:", "small", "start")
    drawn.text(864, 210, "windows that", "small", "start")
    drawn.text(864, 230, "score a pixel", "small", "start")
    chain = (
        (24, 148, "window\n3 × 769 × 769"),
        (212, 110, "network"),
        (362, 170, "resize logits\nto 769 × 769"),
        (572, 176, "add to the sum\nat its place"),
        (788, 188, "divide by\nwindows per pixel"),
    )
    drawn.across(*(drawn.box(left, 514, w, text, "op") for left, w, text in chain))
    return drawn


def folding_costs() -> list[tuple[str, list[tuple[str, int]]]]:
    """(what was changed, [(operation, MACs)]) of the AFNB after its softmax, step by step."""
    values = MODEL.value_channels
    weighted, wide = N * S * values, N * S * HIGH
    fused, half = N * 2 * HIGH * HIGH, N * HIGH * HIGH
    many, few = N * LOW * values, S * LOW * values
    out, out_few, first = N * values * HIGH, S * values * HIGH, S * HIGH * HIGH
    return [
        (
            "as written",
            [("W~γ", many), ("pool", 0), ("weights A", weighted), ("W~O", out), ("fuse", fused)],
        ),
        (
            "pool before the value projection",
            [("pool", 0), ("W~γ", few), ("weights A", weighted), ("W~O", out), ("fuse", fused)],
        ),
        (
            "output projection on the anchors",
            [("pool", 0), ("W~γ", few), ("W~O", out_few), ("weights A", wide), ("fuse", fused)],
        ),
        (
            "fusing convolution split: W~1 on the anchors, W~2 on x",
            [
                *[("pool", 0), ("W~γ", few), ("W~O", out_few), ("W~1", first)],
                *[("weights A", wide), ("+ W~2 x", half)],
            ],
        ),
    ]


def folding() -> Diagram:
    drawn = Diagram(
        560,
        "Folding the AFNB, step by step: the same output with fewer operations",
        f"""Everything after the softmax is linear, and the rows of the weights A sum to 1. So
        pooling moves before the value projection, and the output projection and the context half
        of the fusing convolution move to the {S} anchors. Costs after the softmax, for a map of
        {HEIGHT} x {WIDTH}: """
        + "; ".join(
            f"{name.replace('~', '')}: {sum(cost for _, cost in steps) / 1e9:.1f} GMACs"
            for name, steps in folding_costs()
        )
        + """. In inference batch norm is folded into the convolutions, and the 3 x 3 convolution
        after the AFNB is joined with W2 and W1.""",
    )
    drawn.rect(Area(24, 20, 22, 18), "key", 2)
    drawn.text(56, 29, f"at N = {N} positions", "small", "start")
    drawn.rect(Area(284, 20, 22, 18), "value", 2)
    drawn.text(316, 29, f"at S = {S} anchors", "small", "start")
    drawn.text(976, 29, "GMACs after the softmax", "small", "end")
    y = 0
    for number, (name, steps) in enumerate(folding_costs()):
        y = 110 + 104 * number
        drawn.text(24, y - 40, f"{number}  {name}" if number else name, "head", "start")
        left, boxes, small = 24, [], False
        for label, _ in steps:
            small |= label == "pool"
            small &= label != "weights A"
            style = "op" if label == "pool" else "value" if small else "key"
            boxes.append(drawn.box(left, y, 100, label, style))
            left += 132
        drawn.across(*boxes)
        drawn.text(976, y, f"{sum(cost for _, cost in steps) / 1e9:.1f}", "head", "end")
    drawn.text(24, y + 66, "Only in inference", "head", "start")
    drawn.text(
        24, y + 94, "4  batch norm is folded into the convolution before it", "body", "start"
    )
    drawn.text(
        24,
        y + 118,
        "5  AFNB ends without ReLU: its W~1 and W~2 join the 3×3 convolution after it",
        "body",
        "start",
    )
    return drawn


DIAGRAMS: dict[str, Callable[[], Diagram]] = {
    "attention": attention,
    "pyramid": pyramid,
    "nonlocal_block": lambda: block(
        "nonlocal_block", "Non-local block", [("features x", HIDDEN)], False, True
    ),
    "apnb": lambda: block("apnb", "APNB", [("features x", HIDDEN)], True, True),
    "afnb": lambda: block("afnb", "AFNB", [("low: c4", LOW), ("high: c5", HIGH)], True, False),
    "ann": ann,
    "training_step": training_step,
    "sliding_window": sliding_window,
    "folding": folding,
}


def files() -> Iterator[tuple[Path, str]]:
    """Each file of notebooks/diagrams, and what stands in it."""
    for name, draw in DIAGRAMS.items():
        yield FOLDER / f"{name}.svg", draw().svg()


if __name__ == "__main__":
    for path, text in files():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        print(path.relative_to(FOLDER.parents[1]))
