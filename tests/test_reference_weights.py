"""Names of the reference -> our names: complete, strict, and nothing dropped in silence."""

import pytest
import torch
from golden_rules import SHARED, shapes
from tiny import TINY
from torch import Tensor

from annlib.config import ModelConfig
from annlib.model.ann import ANN
from annlib.model.convert import from_mmseg, to_mmseg

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
