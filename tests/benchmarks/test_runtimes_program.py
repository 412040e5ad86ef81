"""python -m benchmarks.runtimes: int8 networks, and the page of results."""

from pathlib import Path

import pytest
import torch
from small_pictures import SPEC, tiny_model

from annlib.config import TestConfig
from annlib.engine import runtimes
from annlib.engine.inference import make_predictor
from annlib.engine.predictor import Network
from benchmarks.runtimes import FROZEN, page, quantise


@pytest.mark.all
def test_int8_network_predicts_nearly_the_same_with_its_metadata(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    for library in ("onnxruntime", "onnxscript"):
        pytest.importorskip(library)
    files = [tmp_path / "fp32.onnx", tmp_path / "int8.onnx"]
    runtimes.export(Network("tiny", SPEC, TestConfig(), tiny_model), files[0], "onnx")
    images = torch.randn(4, 1, 3, 40, 48)
    quantise(*files, iter(images))
    weights = onnx.load(files[1]).graph.initializer
    assert any(one.data_type == onnx.TensorProto.INT8 and len(one.dims) == 4 for one in weights)
    exact, rough = (make_predictor(runtimes.ExportedNetwork(f), TestConfig()) for f in files)
    ours, theirs = exact(images[:, 0]), rough(images[:, 0])
    assert 0 < (ours - theirs).abs().max() < 0.2 * ours.abs().max()
    assert (ours.argmax(1) == theirs.argmax(1)).float().mean() > 0.9


def test_page_states_ratios_to_pytorch_and_what_was_not_measured() -> None:
    rows = {FROZEN: {"difference": 0.0, "milliseconds": 80.0, "peak_mib": 700.4, "miou": 0.6465}}
    rows["OpenVINO"] = {"difference": 5.8e-7, "milliseconds": 60.0}
    facts = {"size": (36, 48), "threads": 2, "rows": rows, "command": "python -m benchmarks.a"}
    text = page({"networks": {"net": facts}, "libraries": {"torch": "2.14.1"}})
    assert "## net, 36 x 48, 2 threads" in text and "torch 2.14.1." in text
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert [FROZEN, "-", "80", "1.00", "700", "64.65"] in lines
    assert ["OpenVINO", "5.8e-07", "60", "0.75", "-", "-"] in lines
