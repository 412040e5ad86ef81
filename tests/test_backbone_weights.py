"""ImageNet weights: into the backbone of a network, to the last one or not at all."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from file_server import closed_port
from foreign_weights import SLIM, random_model, same
from torch import Tensor
from torchvision.models import ResNet50_Weights, ResNet101_Weights, resnet50

from annlib.config import ModelConfig
from annlib.model import hub as module
from annlib.model.ann import ANN
from annlib.model.hub import PRETRAINED, Pretrained, load_backbone


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANNLIB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ANNLIB_WEIGHTS_HOST", f"file://{tmp_path}/host")
    return tmp_path / "home" / "weights"


def imagenet(model: ANN, kind: str) -> dict[str, Tensor]:
    """The backbone's weights as a classifier's file holds them."""
    stem = {"stem.0": "conv1", "stem.1": "bn1"} if kind == "torchvision" else {}
    weights = {"fc.weight": torch.zeros(1000, 128), "fc.bias": torch.zeros(1000)}
    for key, tensor in model.backbone.state_dict().items():
        first = ".".join(key.split(".")[:2])
        weights[key.replace(first, stem.get(first, first), 1)] = tensor
    return weights


def slim(depth: int = 50, stem: str = "deep") -> ModelConfig:
    return ModelConfig(depth, num_classes=3, stem=stem, **SLIM)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, ANN]:
    """Small ImageNet weights in the place of the true ones.  -> by source, the networks"""
    folder, models = tmp_path / "host" / "imagenet", {}
    folder.mkdir(parents=True)
    rows = []
    for source, stem in (("reference", "deep"), ("torchvision", "plain")):
        models[source] = random_model(slim(stem=stem), seed=1)
        torch.save(imagenet(models[source], source), folder / f"{source}.pth")
        rows.append(Pretrained(source, source, 50, f"https://there/imagenet/{source}.pth"))
    monkeypatch.setattr(module, "PRETRAINED", tuple(rows))
    return models


@pytest.mark.parametrize(("source", "stem"), [("reference", "deep"), ("torchvision", "plain")])
def test_backbone_begins_with_imagenet_weights(
    host: dict[str, ANN], cache: Path, source: str, stem: str
) -> None:
    model = random_model(slim(stem=stem), seed=2)
    head = [tensor.clone() for tensor in model.afnb.state_dict().values()]
    assert load_backbone(model, source) == cache / f"{source}.pth"
    assert same(model.backbone, host[source].backbone)
    assert all(map(torch.equal, head, model.afnb.state_dict().values()))


def test_no_block_is_left_at_the_identity(host: dict[str, ANN]) -> None:
    model = ANN(slim())
    load_backbone(model, "reference")
    assert all(block.bn3.weight.all() for block in model.backbone.layer3)


def test_backbone_from_a_file(tmp_path: Path) -> None:
    other = random_model(slim(), seed=1)
    torch.save({"state_dict": imagenet(other, "reference")}, tmp_path / "a.pth")
    model = ANN(slim())
    assert load_backbone(model, str(tmp_path / "a.pth")) == tmp_path / "a.pth"
    assert same(model.backbone, other.backbone)


def test_misspelt_source_is_told_the_names() -> None:
    with pytest.raises(FileNotFoundError, match="no file torchvison .* reference or torchvision"):
        load_backbone(ANN(slim()), "torchvison")


def test_hash_in_the_name_of_a_given_file_is_checked(tmp_path: Path) -> None:
    torch.save(imagenet(ANN(slim()), "reference"), tmp_path / "a-00000000.pth")
    with pytest.raises(ValueError, match="not with 00000000"):
        load_backbone(ANN(slim()), tmp_path / "a-00000000.pth")


@pytest.mark.parametrize(
    ("source", "stem", "message"),
    [
        ("torchvision", "deep", 'plain stem.* a deep one.*stem="plain".*weights of reference'),
        ("reference", "plain", 'deep stem.* a plain one.*stem="deep".*weights of torchvision'),
    ],
)
def test_wrong_stem_is_told_before_anything_is_fetched(
    cache: Path, source: str, stem: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load_backbone(ANN(slim(stem=stem)), source)
    assert not cache.exists()


def test_wrong_stem_of_a_file_is_told(tmp_path: Path) -> None:
    torch.save(imagenet(ANN(slim(stem="plain")), "torchvision"), tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth are of a ResNet with a plain stem"):
        load_backbone(ANN(slim()), tmp_path / "a.pth")


def test_wrong_depth_is_told(tmp_path: Path) -> None:
    torch.save(imagenet(ANN(slim(101)), "reference"), tmp_path / "a.pth")
    with pytest.raises(ValueError, match="23 blocks in its third stage.* depth 50 has 6"):
        load_backbone(ANN(slim(50)), tmp_path / "a.pth")


def test_everything_but_the_classifier_must_fit(tmp_path: Path) -> None:
    weights = imagenet(ANN(slim()), "reference")
    torch.save(weights | {"fcn.weight": torch.zeros(1)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth belongs .* unknown fcn\.weight"):
        load_backbone(ANN(slim()), tmp_path / "a.pth")


@pytest.mark.parametrize("weights", [{"features.0.weight": torch.zeros(1)}])
def test_weights_of_no_resnet_are_told(tmp_path: Path, weights: dict) -> None:
    torch.save(weights, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth holds no ResNet .* here are features\.0\.weight"):
        load_backbone(ANN(slim()), tmp_path / "a.pth")


def test_local_network_has_no_imagenet_weights(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="depth 9: there are some for ResNets of depth 50 and 101"):
        load_backbone(ANN(replace(slim(), depth=9, width=16)), "reference")


def test_offline_backbone_explains_itself(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNLIB_WEIGHTS_HOST", f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(ConnectionError, match="Connection refused") as error:
        load_backbone(ANN(slim()), "reference")
    assert str(cache / "resnet50_v1c-2cccc1ad.pth") in str(error.value)


def test_addresses_are_those_of_torchvision() -> None:
    known = {50: ResNet50_Weights.IMAGENET1K_V1.url, 101: ResNet101_Weights.IMAGENET1K_V1.url}
    ours = {p.depth: p.url for p in PRETRAINED if p.source == "torchvision"}
    assert ours == known


def test_torchvision_s_network_gives_the_same_maps(tmp_path: Path) -> None:
    theirs = resnet50(replace_stride_with_dilation=[False, True, True]).eval()
    torch.save(theirs.state_dict(), tmp_path / "a.pth")
    model = ANN(ModelConfig(50, 2, 8, 8, 8, stem="plain")).eval()
    load_backbone(model, tmp_path / "a.pth")
    images = torch.randn(1, 3, 65, 97)
    x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(images))))
    c4 = theirs.layer3(theirs.layer2(theirs.layer1(x)))
    ours = model.backbone(images)
    assert torch.allclose(ours[0], c4, rtol=1e-5, atol=1e-5)
    assert torch.allclose(ours[1], theirs.layer4(c4), rtol=1e-5, atol=1e-5)
