"""annlib export: a file of another runtime computes what the network does, and says what it is."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from failing import failure
from small_pictures import SPEC, save_tiny, tiny_model, write_pictures
from tiny import TINY, wake

from annlib.config import TestConfig
from annlib.engine import runtimes
from annlib.engine.inference import make_label_predictor, make_predictor
from annlib.engine.predictor import Network, find_network
from annlib.model.build import build_model
from annlib.model.fused import fuse_for_inference

pytestmark = pytest.mark.slow
LIBRARIES = {"torch": (), "onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",)}
SLIDE = TestConfig("slide", (24, 32), (16, 20))
RUNNABLE = [
    pytest.param(form, one, marks=pytest.mark.all if one == "openvino" else ())
    for form, end in runtimes.SUFFIXES.items()
    for one in runtimes.RUNTIMES[end]
]
FORMS = ["onnx", *(pytest.param(form, marks=pytest.mark.all) for form in ("torch", "openvino"))]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory):
    """Exports the tiny network to a format, once.  -> the file"""
    folder = tmp_path_factory.mktemp("exported")

    def of(form: str) -> Path:
        for library in LIBRARIES[form] + LIBRARIES["onnx"] * (form == "openvino"):
            pytest.importorskip(library)
        path = folder / f"tiny{runtimes.SUFFIXES[form]}"
        if not path.exists():
            runtimes.export(Network("tiny", SPEC, SLIDE, tiny_model), path, form)
        return path

    return of


@pytest.mark.parametrize(("form", "runtime"), RUNNABLE)
def test_file_computes_the_logits_of_the_network_at_any_size(
    exported, form: str, runtime: str
) -> None:
    pytest.importorskip(runtime)
    network = find_network(str(exported(form)), runtime)
    assert (network.spec, network.test) == (SPEC, SLIDE)
    ours, theirs = (make_predictor(one, SLIDE) for one in (tiny_model(), network.load()))
    for size in ((1, 3, 24, 32), (2, 3, 51, 38), (3, 3, 9, 70)):
        images = torch.randn(size)
        expected = ours(images)
        assert torch.allclose(theirs(images), expected, atol=2e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("form", FORMS)
def test_commands_score_and_predict_the_same_with_it(
    exported, annlib, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = exported(form)
    monkeypatch.chdir(tmp_path)
    save_tiny(Path("tiny.safetensors"))
    data, words = (
        write_pictures(Path("data")),
        ["--mode", "slide", "--window", "24", "32", "--stride", "16", "20"],
    )
    mine = annlib("evaluate", "tiny.safetensors", "--data", data, *words)
    assert annlib("evaluate", file, "--data", data) == mine
    for weights, out in (("tiny.safetensors", "a"), (file, "b")):
        annlib("predict", "data/images", "--weights", weights, "--out", out, *words)
    for path in Path("a").glob("*.labels.png"):
        assert path.read_bytes() == Path("b", path.name).read_bytes()
    refused = failure(annlib, "evaluate", file, "--data", data, "--precision", "bf16")
    assert "leave out --precision" in refused
    refused = failure(annlib, "evaluate", "tiny.safetensors", "--runtime", "onnxruntime")
    assert "annlib export tiny.safetensors --format onnx" in refused


def test_command_names_the_file_after_the_weights(annlib, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def export(network: Network, path: Path, form: str, size: tuple[int, int] | None) -> float:
        asked.append((network.spec, path, form, size))
        return path.write_bytes(bytes(2**20)) * 0.0 + 2e-7

    monkeypatch.setattr(runtimes, "export", export)
    save_tiny(Path("tiny.safetensors"))
    printed = annlib("export", "tiny.safetensors", "--format", "onnx")
    assert printed.splitlines()[0] == "tiny.onnx: 1.0 MiB, logits within 2e-07"
    annlib("export", "tiny.safetensors", "--format", "torch", "--size", 40, 56, "--out", "a.pt2")
    assert asked[0] == (SPEC, Path("tiny.onnx"), "onnx", None)
    assert asked[1] == (SPEC, Path("a.pt2"), "torch", (40, 56))


def test_head_ppm_is_exported_for_one_size_and_says_so(tmp_path: Path) -> None:
    model = wake(build_model(replace(TINY, head="ppm"))).eval()
    network = Network("ppm", SPEC, TestConfig(), lambda: model)
    with pytest.raises(ValueError, match="ppm can only be exported .* give --size"):
        runtimes.export(network, tmp_path / "ppm.pt2", "torch")
    runtimes.export(network, tmp_path / "ppm.pt2", "torch", (40, 56))
    other, images = runtimes.ExportedNetwork(tmp_path / "ppm.pt2"), torch.randn(3, 3, 40, 56)
    ours, theirs = (make_label_predictor(one, TestConfig()) for one in (model, other))
    assert torch.equal(ours(images), theirs(images))
    with pytest.raises(ValueError, match="images of 40 x 56 pixels, and these are 40 x 48"):
        theirs(images[..., :48])


def test_file_that_computes_something_else_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = runtimes.MapScores.forward
    changed = lambda self, images: 1.001 * right(self, images)  # noqa: E731
    monkeypatch.setattr(runtimes.MapScores, "forward", changed)
    with pytest.raises(ValueError, match=r"differ by 0\.001 of the largest, .* was not kept"):
        runtimes.export(Network("a", SPEC, SLIDE, tiny_model), tmp_path / "a.pt2", "torch")
    assert not [*tmp_path.iterdir()]


def test_difference_is_relative_to_the_largest_logit() -> None:
    model = fuse_for_inference(tiny_model())
    other = fuse_for_inference(tiny_model())
    other.classifier.bias = torch.nn.Parameter(other.classifier.bias + 0.5, requires_grad=False)
    images = torch.randn(1, 3, 40, 48, generator=torch.Generator().manual_seed(0))
    largest = float(model(images, size=(5, 6)).main.abs().max())
    found = runtimes.largest_difference(model, other, [(40, 48)])
    assert found == pytest.approx(0.5 / largest, rel=1e-4)


def test_what_cannot_be_opened_or_written_is_told(
    exported, annlib, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = exported("torch")
    told = failure(annlib, "evaluate", file, "--runtime", "onnxruntime")
    assert "runs with torch, and not with onnxruntime" in told
    with pytest.raises(FileNotFoundError, match=r"no exported file .*none\.onnx"):
        find_network(str(tmp_path / "none.onnx"))
    with pytest.raises(FileExistsError, match=r"name a new file that ends with \.pt2"):
        runtimes.export(Network("a", SPEC, SLIDE, tiny_model), file, "torch")
    with pytest.raises(ValueError, match=r"name a new file that ends with \.onnx"):
        runtimes.export(Network("a", SPEC, SLIDE, tiny_model), tmp_path / "a.pt2", "onnx")
    with pytest.raises(
        ValueError, match="images of 9 or more x 9 or more pixels, and these are 8 x 40"
    ):
        runtimes.ExportedNetwork(file)(torch.zeros(1, 3, 8, 40))
    (tmp_path / "cut.pt2").write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"cut\.pt2 cannot be read"):
        find_network(str(tmp_path / "cut.pt2"))
    program = torch.export.load(file)
    torch.export.save(program, tmp_path / "other.pt2", extra_files={"annlib.json": "{}"})
    with pytest.raises(ValueError, match="was not written by this version of `annlib export`"):
        find_network(str(tmp_path / "other.pt2"))
    facts = {"annlib.json": ""}
    torch.export.load(file, extra_files=facts)
    text = json.dumps(json.loads(facts["annlib.json"]) | {"mean": [0, 0, 0]})
    torch.export.save(program, tmp_path / "mean.pt2", extra_files={"annlib.json": text})
    with pytest.raises(ValueError, match="another mean than annlib"):
        find_network(str(tmp_path / "mean.pt2"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "a.onnx").touch()
    with pytest.raises(ValueError, match=r"onnxruntime, .* is not installed: .*\[onnx\]"):
        find_network(str(tmp_path / "a.onnx"))


@pytest.mark.parametrize("size", [(0, 0), (-5, 10), (8, 40)])
def test_a_size_without_a_map_is_refused_before_the_export(tmp_path: Path, size: tuple) -> None:
    with pytest.raises(ValueError, match="give 9 pixels or more"):
        runtimes.export(Network("a", SPEC, SLIDE, tiny_model), tmp_path / "a.pt2", "torch", size)
