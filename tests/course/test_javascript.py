"""What the browser computes is what Python computes: the same rows, sums and sentences."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from playwright._impl._driver import compute_driver_executable

from annlib.course.attention import Projections, anchor_boxes, class_masses, entropy
from annlib.course.plots.attention import say_place
from annlib.course.plots.scenes import say_attention
from annlib.course.widgets.base import module
from annlib.course.widgets.explorer import AttentionExplorer, PixelPicker
from annlib.course.widgets.scenes import PaintGrid
from annlib.data.balloon_town.layout import CLASS_NAMES

NODE = compute_driver_executable()[0]  # the browser's language without a browser
COMPUTE = """
const cases = JSON.parse(await new Promise((done) => {
  let text = "";
  process.stdin.on("data", (part) => (text += part)).on("end", () => done(text));
}));
const results = cases.map(({ view, image, state }) => {
  view.queries = new Float32Array(view.queries);
  view.keys = new Float32Array(view.keys);
  const found = attentionAt(view, image, state);
  return {
    ...found,
    weights: [...found.weights],
    heat: [...found.heat],
    names: found.strongest.map((index) => view.cells[index].name),
    sentence: sayAttention(found, state.x, state.y),
  };
});
process.stdout.write(JSON.stringify(results));
"""
CASES = [  # map, image, levels, those that are on, channels, factor
    ((4, 6), (32, 48), None, None, 8, 1.0),
    ((5, 7), (40, 56), None, None, 3, 2.0),
    ((4, 6), (32, 48), (1, 3), (1, 3), 8, 1.0),
    ((13, 17), (97, 129), (1, 3, 6, 8), (3, 8), 5, 0.25),
    ((5, 3), (37, 20), (1, 2, 8), (8,), 6, 1.0),
    ((16, 24), (128, 192), (1, 3, 6, 8), (1, 3, 6, 8), 32, 4.0),
]


def in_javascript(cases: list[dict]) -> list[dict]:
    command = [NODE, "--input-type=module", "-e", module("attention.js") + COMPUTE]
    done = subprocess.run(command, input=json.dumps(cases), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def drawn(case: tuple, seed: int) -> tuple[Projections, np.ndarray, dict]:
    """Projections and labels by chance, and the same as the browser takes them."""
    (rows, columns), size, levels, on, channels, factor = case
    chance = torch.Generator().manual_seed(seed)
    answering = rows * columns if levels is None else sum(level * level for level in levels)
    queries = torch.randn(rows * columns, channels, generator=chance)
    keys = torch.randn(answering, channels, generator=chance)
    labels = torch.randint(0, len(CLASS_NAMES) + 1, size, generator=chance).numpy()
    labels[labels == len(CLASS_NAMES)] = 255
    y, x = (int(torch.randint(side, (), generator=chance)) for side in size)
    sent = {
        "view": {
            "rows": rows,
            "columns": columns,
            "channels": channels,
            "levels": levels,
            "queries": queries.flatten().tolist(),
            "keys": keys.flatten().tolist(),
        },
        "image": {
            "height": size[0],
            "width": size[1],
            "labels": labels.flatten().tolist(),
            "names": CLASS_NAMES,
        },
        "state": {"x": x, "y": y, "levels": on or [], "factor": factor},
    }
    return Projections(queries, keys, (rows, columns), size, levels), labels, sent


@pytest.mark.parametrize("seed", range(3))
def test_rows_sums_and_sentences_are_those_of_python(seed: int) -> None:
    made = [drawn(case, seed) for case in CASES]
    answers = in_javascript([sent for _, _, sent in made])
    for case, (ours, labels, sent), theirs in zip(CASES, made, answers, strict=True):
        x, y, on = sent["state"]["x"], sent["state"]["y"], case[3]
        attention = ours.attention(on, factor=case[5])
        row = attention.row(y, x)
        shares = torch.tensor(theirs["weights"])
        kept = shares if case[2] is None else shares[of_levels(case[2], on)]
        torch.testing.assert_close(kept, row, atol=1e-5, rtol=1e-4)
        assert shares.sum().item() == pytest.approx(1, abs=1e-4)
        heat = torch.tensor(theirs["heat"])
        torch.testing.assert_close(heat, attention.map_at(y, x).flatten(), atol=1e-5, rtol=1e-4)
        assert theirs["bits"] == pytest.approx(float(entropy(row)), abs=1e-3)
        masses = class_masses(attention.map_at(y, x), labels)
        assert dict(theirs["masses"]) == pytest.approx(masses, abs=1e-4)
        assert theirs["names"][0] == say_place(int(row.argmax()), attention)
        assert theirs["sentence"] == say_attention(attention, labels, y, x)
        assert theirs["numKeys"] == len(row)
        parts = dict(theirs["byLevel"])
        assert list(parts) == ([] if on is None else list(on))
        assert sum(parts.values()) == pytest.approx(1 if on else 0, abs=1e-4)


def of_levels(levels: tuple[int, ...], on: tuple[int, ...]) -> torch.Tensor:
    """Which of all anchors belong to levels that are on.  -> bool (S,)"""
    return torch.cat([torch.full((level * level,), level in on) for level in levels])


def test_strongest_come_in_order_and_first_of_equals_first() -> None:
    script = (
        module("attention.js")
        + """
    process.stdout.write(JSON.stringify([strongestOf([3, 9, 9, 1, 4], 3), strongestOf([1], 3)]));
    """
    )
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", script], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [[1, 2, 4], [0]]


STEPS = """
const [{ view, image, state, pixel, channel }] = JSON.parse(process.argv[1]);
for (const name of ["queries", "keys", "values"]) view[name] = new Float32Array(view[name]);
const { x, y, levels, factor } = state;
const found = attentionAt(view, image, state);
const index = keyAt(view, found, positionOf(view, image, ...pixel), levels);
const at = positionOf(view, image, x, y);
const steps = stepsAt(view, found, at, index, channel, factor);
process.stdout.write(JSON.stringify({ ...steps, index, parts: [...steps.parts] }));
"""


@pytest.mark.parametrize("case", CASES[1:5], ids=lambda case: str(case[2]))
def test_steps_lead_from_query_and_key_to_the_output_of_the_matrix_product(case: tuple) -> None:
    ours, _, sent = drawn(case, seed=7)
    rows, columns = ours.map_size
    values, scale = torch.randn(len(ours.keys), 4), ours.queries.shape[1] ** -0.5
    sent["view"] |= {"values": values.flatten().tolist(), "scale": scale}
    y, x = case[1][0] - 1, case[1][1] - 1  # the key: the last position
    sent |= {"pixel": [x, y], "channel": -1}
    command = [NODE, "--input-type=module", "-e", module("attention.js") + STEPS]
    done = subprocess.run([*command, json.dumps([sent])], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    steps, state = json.loads(done.stdout), sent["state"]
    query = ours.queries[
        state["y"] * rows // case[1][0] * columns + state["x"] * columns // case[1][1]
    ]
    weights = torch.zeros(len(values))
    on = torch.ones(len(values), dtype=bool) if case[2] is None else of_levels(case[2], case[3])
    weights[on] = (case[5] * ours.keys[on] @ query).softmax(0)
    _, _, bottom, right = anchor_boxes(ours.pool_scales, rows, columns).T
    holds = on & (bottom == rows) & (right == columns)  # all cells that reach the last position
    index = int(torch.where(holds, weights, -1).argmax())
    channel = int(values[index].abs().argmax())
    found = {
        "index": index,
        "channel": channel,
        "dot": float(query @ ours.keys[index]) / scale,
        "score": case[5] * float(query @ ours.keys[index]),
        "weight": float(weights[index]),
        "value": float(values[index, channel]),
        "output": float((weights @ values)[channel]),
    }
    assert {name: steps[name] for name in found} == pytest.approx(found, abs=1e-4)
    assert steps["exponential"] / steps["total"] == pytest.approx(steps["weight"], abs=1e-5)
    assert sum(product for *_, product in steps["products"]) == pytest.approx(steps["dot"])
    assert steps["parts"][index] == pytest.approx(found["weight"] * found["value"], abs=1e-5)


@pytest.mark.parametrize("widget", [AttentionExplorer, PixelPicker, PaintGrid])
def test_joined_files_are_one_module_that_loads(widget: type, tmp_path: Path) -> None:
    joined = tmp_path / "widget.mjs"
    joined.write_text(str(widget._esm), encoding="utf-8")
    checked = subprocess.run([NODE, "--check", str(joined)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "http://" not in str(widget._esm) and "https://" not in str(widget._esm)
