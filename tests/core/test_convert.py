"""Files of others: read without running them, renamed completely, loaded to the last name."""

import pickle
from pathlib import Path

import pytest
import torch
from foreign_weights import whole_file
from golden_rules import SHARED, shapes
from tiny import TINY
from torch import Tensor, nn

from annlib.config import ModelConfig
from annlib.download import check_hash
from annlib.model.ann import ANN
from annlib.model.convert import from_mmseg, load_strictly, read_weights
from annlib.model.hub import hash_in
from benchmarks.mmseg_reference import to_mmseg

QUERY, KEY = f"{SHARED}query_project.bn.weight", f"{SHARED}key_project.bn.weight"


def empty_weights(depth: int, num_classes: int) -> dict[str, Tensor]:
    table = shapes(depth, num_classes)
    return {key: torch.empty(shape, device="meta") for key, shape in table.items()}


@pytest.mark.parametrize("num_classes", [19, 150, 21])
@pytest.mark.parametrize(("depth", "num_entries"), [(50, 390), (101, 696)])
def test_names_and_shapes_are_ours_to_the_last(
    depth: int, num_entries: int, num_classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "equal", lambda a, b: True)  # tensors on meta hold no numbers
    weights = empty_weights(depth, num_classes)
    with torch.device("meta"):
        ours = ANN(ModelConfig(depth, num_classes)).state_dict()
    renamed = from_mmseg(weights)
    assert len(weights) == num_entries == len(ours) + 6  # APNB's projection is listed twice
    assert {k: v.shape for k, v in renamed.items()} == {k: v.shape for k, v in ours.items()}


def test_tensors_are_handed_on_untouched() -> None:
    weight = torch.randn(19, 512, 1, 1)
    assert from_mmseg({"decode_head.conv_seg.weight": weight})["classifier.weight"] is weight


def test_content_of_a_file_is_as_good_as_its_weights() -> None:
    weights = {"decode_head.conv_seg.weight": torch.randn(19, 512, 1, 1)}
    content = {"meta": {"seed": None}, "state_dict": weights, "optimizer": {}}
    assert from_mmseg(content) == from_mmseg(weights)


def test_callers_dictionary_keeps_its_names() -> None:
    weights = {QUERY: torch.ones(3), KEY: torch.ones(3)}
    from_mmseg(weights)
    assert list(weights) == [QUERY, KEY]


@pytest.mark.parametrize("key", ["decode_head.psp_modules.0.weight", "meta", "state_dict"])
def test_unknown_checkpoint_key_is_named_in_the_error(key: str) -> None:
    with pytest.raises(KeyError, match=key):
        from_mmseg({key: torch.zeros(1)})


def test_differing_shared_projection_is_named_in_the_error() -> None:
    with pytest.raises(ValueError, match="apnb.attention.to_query.1.weight differs"):
        from_mmseg({QUERY: torch.zeros(3), KEY: torch.ones(3)})


def test_missing_shared_projection_is_told() -> None:
    with pytest.raises(ValueError, match="apnb.attention.to_query.1.weight differs"):
        from_mmseg({QUERY: torch.zeros(3)})


def test_unknown_backbone_key_is_refused_by_strict_loading() -> None:
    weights = from_mmseg({"backbone.layer5.0.conv1.weight": torch.zeros(1)})
    with pytest.raises(RuntimeError, match="backbone.layer5.0.conv1.weight"):
        ANN(TINY).load_state_dict(weights, strict=True)


@pytest.mark.parametrize(("depth", "num_classes"), [(50, 19), (101, 150)])
def test_way_back_has_the_names_and_shapes_of_the_reference(depth: int, num_classes: int) -> None:
    with torch.device("meta"):
        ours = ANN(ModelConfig(depth, num_classes)).state_dict()
    theirs = to_mmseg(ours)
    assert {key: list(tensor.shape) for key, tensor in theirs.items()} == {
        key: list(shape) for key, shape in shapes(depth, num_classes).items()
    }


def test_there_and_back_is_where_it_began() -> None:
    ours = ANN(TINY).state_dict()
    back = from_mmseg(to_mmseg(ours))
    assert back.keys() == ours.keys()
    assert all(back[key] is ours[key] for key in ours)


@pytest.mark.parametrize("key", ["apnb.attention.to_query.0.weight", "head.weight", "weight"])
def test_name_that_the_reference_lacks_is_told(key: str) -> None:
    with pytest.raises(KeyError, match=key):
        to_mmseg({key: torch.zeros(1)})


MARK = Path("was_executed")


class Malicious:
    """Makes a file when it is unpickled."""

    def __reduce__(self) -> tuple:
        return MARK.touch, ()


class Unknown:
    """An object of a program that is not here."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def layer() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))


def write(content: object, zipped: bool = True) -> Path:
    torch.save(content, "a.pth", _use_new_zipfile_serialization=zipped)
    return Path("a.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_file_with_all_that_mmcv_writes_is_read(zipped: bool) -> None:
    weights = layer().state_dict()
    read = read_weights(write(whole_file(weights), zipped))
    assert list(read) == list(weights)
    assert all(torch.equal(read[key], tensor) for key, tensor in weights.items())


def test_bare_weights_are_read() -> None:
    weights = layer().state_dict()
    assert list(read_weights(write(weights))) == list(weights)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("thing", "name"), [(Malicious(), "getattr"), (Unknown(), r"test_convert\.Unknown")]
)
def test_file_that_wants_more_is_refused_by_name(thing: object, name: str, zipped: bool) -> None:
    path = write({"state_dict": layer().state_dict(), "meta": thing}, zipped)
    with pytest.raises(ValueError, match=f"a.pth is not read: .* it wants .*{name}.*any code"):
        read_weights(path)
    assert not MARK.exists()


def test_the_malicious_file_is_one() -> None:
    pickle.loads(pickle.dumps(Malicious()))
    assert MARK.exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.99])
def test_half_a_file_is_told(share: float, zipped: bool) -> None:
    path = write(layer().state_dict(), zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match="a.pth is damaged, only half there, or no file of torch"):
        read_weights(path)


@pytest.mark.parametrize("content", [b"hello world", b"PK\x03\x04"])
def test_other_files_are_told(content: bytes) -> None:
    Path("a.pth").write_bytes(content)
    with pytest.raises(ValueError, match="or no file of torch.save"):
        read_weights(Path("a.pth"))


def test_missing_file_is_told() -> None:
    with pytest.raises(FileNotFoundError, match="There is no file a.pth"):
        read_weights(Path("a.pth"))


@pytest.mark.parametrize(
    ("content", "found"),
    [([1], "list"), ({}, "dict"), ({"model": {}}, "it holds model"), ({"x": 3}, "it holds x")],
)
def test_file_without_weights_says_what_it_holds(content: object, found: str) -> None:
    with pytest.raises(ValueError, match=f"holds no table of weights.*{found}"):
        read_weights(write(content))


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("resnet50_v1c-2cccc1ad.pth", "sha256:2cccc1ad"),
        ("ann_r50-d8_512x1024_40k_cityscapes_20200605_095211-049fc292.pth", "sha256:049fc292"),
        ("ann_r50-d8_512x1024_40k_cityscapes.pth", "sha256:"),
        ("latest.pth", "sha256:"),
    ],
)
def test_hash_is_found_in_the_name(name: str, start: str) -> None:
    assert hash_in(name) == start


def test_hash_of_the_name_must_be_that_of_the_file() -> None:
    for name in ("empty-e3b0c442.pth", "empty-e3b0c443.pth"):
        Path(name).touch()
    check_hash(Path("empty-e3b0c442.pth"), hash_in("empty-e3b0c442.pth"))
    with pytest.raises(ValueError, match="begins with e3b0c442, not with e3b0c443"):
        check_hash(Path("empty-e3b0c443.pth"), hash_in("empty-e3b0c443.pth"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.bias": None}, "lacks 0.bias"),
        ({"2.weight": torch.zeros(1)}, "has unknown 2.weight"),
        ({"1.weight": torch.zeros(4)}, r"differs: 1.weight \(4,\) there, \(3,\) here"),
    ],
)
def test_weights_that_do_not_fit_are_named_and_change_nothing(change: dict, message: str) -> None:
    module, other = layer(), layer()
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    weights = {k: v for k, v in {**other.state_dict(), **change}.items() if v is not None}
    with pytest.raises(ValueError, match=f"a.pth belongs to another network: it {message}"):
        load_strictly(module, weights, Path("a.pth"))
    assert all(torch.equal(module.state_dict()[key], tensor) for key, tensor in before.items())


def test_counters_of_batches_may_be_missing() -> None:
    module, other = layer(), layer()
    weights = {k: v for k, v in other.state_dict().items() if "num_batches" not in k}
    load_strictly(module, weights, Path("a.pth"))
    assert torch.equal(module[0].weight, other[0].weight)


def test_prefix_of_data_parallel_is_removed_when_all_names_have_it(tmp_path: Path) -> None:
    path, weight = tmp_path / "w.pth", torch.ones(2)
    torch.save({"state_dict": {"module.a": weight, "module.b": weight}}, path)
    assert list(read_weights(path)) == ["a", "b"]
    torch.save({"module.a": weight, "b": weight}, path)
    assert list(read_weights(path)) == ["module.a", "b"]


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"a": torch.ones(2), "b": torch.tensor([1, float("nan")])}, path)
    with pytest.raises(ValueError, match=r"NaN or infinite weights \(b\)"):
        read_weights(path)
