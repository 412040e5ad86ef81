"""notebooks/diagrams: drawn by tools/diagrams.py, with the numbers of the code."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from annlib.config import ModelConfig
from annlib.course.authoring import sources
from annlib.model.ann import ANN
from annlib.model.asymmetric import AFNB, APNB, PyramidPool
from annlib.model.baselines import NonLocal
from tools import diagrams

FILES = dict(diagrams.files())
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def texts(name: str) -> str:
    """What stands in the boxes and captions, a line each; lowered letters as they are read."""
    root = ElementTree.fromstring(FILES[diagrams.FOLDER / f"{name}.svg"])
    found = root.findall("{http://www.w3.org/2000/svg}text")
    return "\n".join("".join(text.itertext()).replace("\u200b", "") for text in found)


def shapes(module: nn.Module, *inputs: Tensor) -> dict[str, str]:
    """{name of a layer: "2048 × 64 × 128", its output without the batch} of one forward pass"""
    found = {}

    def note(name: str, output: Tensor) -> None:
        found[name] = diagrams.size(*output.shape[1:]) if isinstance(output, Tensor) else ""

    for name, layer in module.named_modules():
        layer.register_forward_hook(lambda _, __, output, name=name: note(name, output))
    module(*inputs)
    return found


@each_file
def test_diagram_is_what_its_program_draws(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == FILES[path], "run `python -m tools.diagrams`"


@each_file
def test_diagram_has_a_text_alternative_and_both_themes(path: Path) -> None:
    root = ElementTree.fromstring(FILES[path])
    title, description = (root[place].text for place in (0, 1))
    assert len(title) > 3
    assert len(description) > 150
    assert "prefers-color-scheme: dark" in FILES[path]


def test_whole_network_has_the_shapes_of_a_forward_pass() -> None:
    with torch.device("meta"):
        model = ANN(ModelConfig(depth=50, num_classes=19)).train()
        made = shapes(model, torch.empty(2, 3, *diagrams.IMAGE))
    shown = texts("ann")
    for layer in ("backbone.layer3", "backbone.layer4", "afnb", "reduce", "apnb", "classifier"):
        assert made[layer] in shown, layer
    assert f"c4 (low): {made['backbone.layer3']}" in shown
    assert f"c5 (high): {made['backbone.layer4']}" in shown
    assert shown.count(made["classifier"]) == 2  # also of the auxiliary head
    assert f"3×3 conv to {made['auxiliary.reduce'].split()[0]}" in shown


@pytest.mark.parametrize("name", ["nonlocal_block", "apnb", "afnb"])
def test_block_has_the_shapes_of_a_forward_pass(name: str) -> None:
    config, side = ModelConfig(depth=50, num_classes=19), (9, 11)
    keys, values, scales = config.key_channels, config.value_channels, config.pool_scales
    hidden, low, high = config.hidden_channels, 1024, 2048
    with torch.device("meta"):
        if name == "afnb":
            block = AFNB(low, high, keys, values, scales)
            inputs = torch.empty(1, low, 12, 10), torch.empty(1, high, *side)
        else:
            kind = NonLocal if name == "nonlocal_block" else APNB
            block = kind(hidden, keys, values, *([scales] if kind is APNB else []))
            inputs = (torch.empty(1, hidden, *side),)
        made = shapes(block, *inputs)
    shown = texts(name)
    named = {"99": "N", "9 × 11": "H × W", "12 × 10": "h × w"}

    def symbols(numbers: str) -> str:
        for number, symbol in named.items():
            numbers = re.sub(rf"(?<!\d){number}(?!\d)", symbol, numbers)
        return numbers

    assert symbols(made["attention.softmax"]) in shown  # N × 110, or N × N
    assert symbols(made[""]) in shown
    assert f"to {made['attention.to_output'].split()[0]}" in shown
    joined = next(layer for layer in block.fuse if isinstance(layer, nn.Conv2d)).in_channels
    assert f"concatenate\n{joined} × H × W" in shown
    assert ("BN, no ReLU" in shown) != isinstance(block.fuse[-1], nn.ReLU)
    assert ("pool\n1, 3, 6, 8" in shown) == any(isinstance(m, PyramidPool) for m in block.modules())
    projections = sum(hasattr(block.attention, one) for one in ("to_key", "to_query"))
    separate = projections == 2 and block.attention.to_query is not None
    assert shown.count("1×1 conv\nBN, ReLU") == 1 + separate + isinstance(block.fuse[-1], nn.ReLU)


def test_pyramid_shows_as_many_anchors_as_are_pooled() -> None:
    pooled = PyramidPool(ModelConfig(depth=50, num_classes=19).pool_scales)(torch.ones(1, 1, 9, 11))
    anchors = pooled.shape[2]
    assert f"1 + 9 + 36 + 64 = {anchors}" in texts("pyramid")
    svg = FILES[diagrams.FOLDER / "pyramid.svg"]
    assert len(re.findall(r'<rect class="(?:grid|value)"', svg)) == anchors + 4  # and the row


def test_folding_shows_the_operations_of_the_published_afnb() -> None:
    n, s, values, low, high = 64 * 128, 110, 256, 1024, 2048
    written = n * (low * values + s * values + values * high + 2 * high * high)
    folded = s * (low * values + values * high + high * high) + n * (s * high + high * high)
    shown = texts("folding")
    assert f"{written / 1e9:.1f}" in shown
    assert f"{folded / 1e9:.1f}" in shown


def test_text_that_cannot_be_read_is_refused() -> None:
    for spoil, reason in (
        (lambda drawn: drawn.box(20, 50, 40, "too long a text"), "does not fit"),
        (lambda drawn: [drawn.text(500, 50, "one") for _ in range(2)], "lies on"),
        (lambda drawn: (drawn.text(500, 50, "one"), drawn.arrow((400, 50), (600, 50))), "arrow"),
        (lambda drawn: drawn.text(990, 50, "one"), "leaves the panel"),
    ):
        drawn = diagrams.Diagram(100, "A", "B")
        with pytest.raises(ValueError, match=reason):
            spoil(drawn)
            drawn.svg()


def test_every_diagram_is_shown_in_a_lesson_with_alt_text() -> None:
    shown = {}
    for source in sources(diagrams.FOLDER.parents[1]):
        found = re.findall(r"^# !\[(.*)\]\((diagrams/.+)\)$", source.read_text("utf-8"), re.M)
        shown |= {path: alt for alt, path in found}
    assert sorted(shown) == [f"diagrams/{path.name}" for path in sorted(FILES)]
    assert all(len(alt) > 40 for alt in shown.values())
