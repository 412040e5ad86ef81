"""The reference's network and blocks compute the same as ours, and are imported only when used."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import wake
from tiny_zoo import CITYSCAPES, CITYSCAPES_769, narrow_row
from torch import Tensor

from annlib.config import RuntimeConfig
from annlib.course.row_costs import steps_on_batch
from annlib.model.asymmetric import AFNB, APNB
from annlib.model.baselines import NonLocalAttention
from annlib.model.convert import from_mmseg
from annlib.published_experiments import ROWS, Published
from benchmarks import mmseg_reference
from benchmarks.mmseg_reference import (
    Stub,
    import_reference,
    installed,
    our_names,
    reference_afnb,
    reference_apnb,
    reference_attention,
    reference_classes,
    reference_config,
    reference_logits,
    reference_model,
    reference_steps,
    their_names,
    to_mmseg,
)
from benchmarks.network import our_network, without_dropout

pytestmark = pytest.mark.all

# The reference's network beside ours: one function, and imported by nobody who does not ask.


needs_reference = pytest.mark.skipif(
    not installed(), reason="the extra `reference` is not installed"
)
ROW = narrow_row()
CHANGED = {  # what no file of the reference says, and what only several GPUs need
    ("pretrained",),
    ("backbone", "base_channels"),
    ("backbone", "stem_channels"),
    ("backbone", "norm_cfg", "type"),
    ("decode_head", "norm_cfg", "type"),
    ("auxiliary_head", "norm_cfg", "type"),
}


def leaves(values: dict[str, Any], *above: str) -> dict[tuple[str, ...], Any]:
    found = {}
    for key, value in values.items():
        inside = leaves(value, *above, key) if isinstance(value, dict) else {(*above, key): value}
        found |= inside
    return found


@needs_reference
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_its_own_file_says_what_our_row_says(row: Published) -> None:
    import_reference()
    import mmseg
    from mmengine.config import Config

    folder = Path(mmseg.__file__).parent / ".mim/configs/ann"
    theirs = leaves(Config.fromfile(folder / f"{row.name_1x}.py").model.to_dict())
    ours = leaves(reference_config(row))
    assert {key for key in ours if ours[key] != theirs.get(key)} == CHANGED
    assert ours["data_preprocessor",] is None  # they have one
    assert ours["backbone", "base_channels"] == ours["backbone", "stem_channels"] == 64


@needs_reference
@pytest.mark.parametrize("name", [CITYSCAPES, CITYSCAPES_769])
def test_both_networks_are_one_function(name: str) -> None:
    row, images = narrow_row(name), torch.randn(2, 3, 97, 129)
    ours = our_network(row).eval()
    theirs = reference_model(row, our_network(row)).eval()
    with torch.inference_mode():
        torch.testing.assert_close(reference_logits(theirs, images), ours(images).main)


@needs_reference
def test_its_weights_are_the_tensors_of_ours() -> None:
    ours = our_network(ROW)
    tensors = to_mmseg(ours.state_dict())
    theirs = reference_model(ROW, ours).state_dict()
    assert theirs.keys() == tensors.keys()
    assert all(theirs[key].data_ptr() == tensors[key].data_ptr() for key in theirs)


@needs_reference
def test_its_training_leads_to_the_weights_that_ours_leads_to() -> None:
    config = replace(ROW.experiment.train, iterations=4, base_lr=0.1, weight_decay=0.1)
    images, labels = torch.randn(2, 3, 33, 33).double(), torch.randint(19, (2, 33, 33))
    ours = without_dropout(our_network(ROW).double())
    theirs = without_dropout(reference_model(ROW, our_network(ROW).double()))
    before = {name: weight.clone() for name, weight in ours.named_parameters()}
    both = zip(
        reference_steps(theirs, images, labels, config),
        steps_on_batch((images, labels), ours, config, RuntimeConfig(channels_last=False)),
        strict=True,
    )
    for loss, step in both:
        torch.testing.assert_close(loss, step.loss)
    reached = from_mmseg(theirs.state_dict())
    for name, weight in ours.named_parameters():
        torch.testing.assert_close(reached[name], weight.detach())
        assert not weight.equal(before[name])


@needs_reference
def test_its_windows_are_those_of_our_row() -> None:
    row = narrow_row(CITYSCAPES_769)
    test = replace(row.experiment.test, window=(49, 49), stride=(33, 33), base_size=(65, 97))
    row = replace(row, experiment=replace(row.experiment, test=test))
    theirs = reference_model(row, our_network(row)).eval()
    seen = []
    theirs.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[2:]))
    with torch.inference_mode():
        classes = reference_classes(theirs, torch.randn(1, 3, 65, 97), size=(64, 96))
    assert classes.shape == (64, 96)
    assert seen == 2 * 3 * [(49, 49)]


def test_importing_annlib_imports_nothing_of_it() -> None:
    code = (
        "import sys, annlib.__main__, benchmarks.network, benchmarks.evaluation\n"
        "from benchmarks.mmseg_reference import installed; installed()\n"
        f"print(set({mmseg_reference.PACKAGES}) & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


def test_missing_reference_is_told_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmseg_reference, "find_spec", lambda name: None if name == "mmcv" else name)
    with pytest.raises(ValueError, match=r"not installed.*pip install -e '\.\[reference\]'"):
        reference_model(ROW, our_network(ROW))


def test_version_that_it_refuses_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mmseg").mkdir()
    (tmp_path / "mmseg/__init__.py").write_text("assert False, 'MMCV==2.2.0 is incompatible.'")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(mmseg_reference, "find_spec", lambda name: name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "mmseg"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ValueError, match=r"MMCV==2.2.0 is incompatible.*\[reference\]"):
        import_reference()


def test_stub_has_every_operation_and_none_works() -> None:
    stub = Stub("mmcv._ext")
    with pytest.raises(NotImplementedError, match="no deform_conv_forward"):
        stub.deform_conv_forward(1, 2)
    assert not hasattr(stub, "__path__")


# The reference's blocks with our weights.


needs_reference = pytest.mark.skipif(
    not installed(), reason="the extra `reference` is not installed"
)
SCALES = (1, 2, 3)
OURS = {"afnb": AFNB(4, 6, 5, 5, SCALES), "apnb": APNB(6, 5, 5, SCALES)}


@pytest.mark.parametrize("block", OURS)
def test_names_lead_there_and_back(block: str) -> None:
    weights = OURS[block].state_dict()
    theirs = their_names(weights, block)
    assert all(name.startswith(("stages.0.", "bottleneck.")) for name in theirs)
    back = our_names(theirs, block)
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in weights)


def test_weight_that_is_listed_twice_may_come_once() -> None:
    theirs = their_names(OURS["apnb"].state_dict(), "apnb")
    once = {name: tensor for name, tensor in theirs.items() if "query_project" not in name}
    assert len(once) < len(theirs)
    assert our_names(once, "apnb").keys() == OURS["apnb"].state_dict().keys()


def features(channels: int) -> Tensor:
    return torch.randn(2, channels, 7, 9)


@needs_reference
def test_their_afnb_is_ours() -> None:
    ours, maps = wake(AFNB(4, 6, 5, 5, SCALES)), (features(4), features(6))
    torch.testing.assert_close(reference_afnb(ours)(*maps), ours(*maps))


@needs_reference
def test_their_apnb_is_ours() -> None:
    ours, x = wake(APNB(6, 5, 5, SCALES)), features(6)
    torch.testing.assert_close(reference_apnb(ours)(x), ours(x))


@needs_reference
def test_their_attention_is_ours_pooled_or_not() -> None:
    ours, x = wake(APNB(6, 5, 5, SCALES)).attention, features(6)
    ordinary = NonLocalAttention(6, 5, 5)
    ordinary.load_state_dict(ours.state_dict())
    torch.testing.assert_close(reference_attention(ours, pooled=True)(x), ours(x, x))
    torch.testing.assert_close(reference_attention(ours, pooled=False)(x), ordinary(x))
