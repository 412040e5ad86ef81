"""Who races: the same function under several names."""

import pytest
import torch
from tiny_zoo import narrow_row

from annlib.config import RuntimeConfig
from benchmarks import network as module
from benchmarks.mmseg_reference import installed
from benchmarks.network import Contestant, field, network, our_network

ROW, CPU = narrow_row(), torch.device("cpu")
OURS = ("as written", "folded", "frozen")


@pytest.mark.parametrize("reference", [True, False])
def test_reference_is_first_where_it_is_installed(reference: bool, monkeypatch) -> None:
    monkeypatch.setattr(module, "installed", lambda: reference)
    names = [each.name for each in field("frozen", RuntimeConfig())]
    ours = ["as written", "folded, channels last", "frozen, channels last"]
    assert names == ["reference"] * reference + ours


@pytest.mark.parametrize(
    ("compute", "more"),
    [
        (RuntimeConfig("bf16"), ["bf16"]),
        (RuntimeConfig(compile=True), ["compiled"]),
        (RuntimeConfig("bf16", compile=True), ["bf16", "bf16, compiled"]),
        (
            RuntimeConfig("bf16", compile=True, cuda_graphs=True),
            ["bf16", "bf16, compiled", "bf16, compiled, CUDA graphs"],
        ),
    ],
)
def test_best_of_ours_takes_part_with_more_and_more(compute: RuntimeConfig, more: list) -> None:
    usual, found = field("folded", RuntimeConfig()), field("folded", compute)
    assert found[: len(usual)] == usual
    names = [each.name for each in found[len(usual) :]]
    assert names == [f"folded, channels last, {words}" for words in more]
    assert found[-1].compute == compute
    assert "frozen" not in {each.network for each in found}  # it cannot be trained


def test_weights_are_the_same_whenever_a_network_is_built() -> None:
    first = our_network(ROW).state_dict()
    torch.rand(3)  # whatever was drawn before
    second = our_network(ROW).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_no_weight_is_idle() -> None:
    weights = our_network(ROW).state_dict()
    tensors = {name: tensor for name, tensor in weights.items() if name.endswith("weight")}
    assert [name for name, tensor in tensors.items() if not tensor.any()] == []


@pytest.mark.parametrize("name", [*OURS, *["reference"] * installed()])
@pytest.mark.parametrize("channels_last", [True, False])
def test_network_is_in_its_layout(name: str, channels_last: bool) -> None:
    model = network(Contestant(name, RuntimeConfig(channels_last=channels_last)), ROW, CPU)
    wide = [p for p in model.parameters() if p.ndim == 4 and min(p.shape[1:]) > 1]
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert wide and all(weight.is_contiguous(memory_format=layout) for weight in wide)


def test_only_the_frozen_one_is_frozen() -> None:
    models = {name: network(Contestant(name), ROW, CPU) for name in OURS}
    kinds = {n: tuple(type(b).__name__ for b in (m.afnb, m.apnb)) for n, m in models.items()}
    assert kinds == {
        "as written": ("AFNB", "APNB"),
        "folded": ("FoldedAFNB", "FoldedAPNB"),
        "frozen": ("ReducedAFNB", "FoldedAPNB"),
    }
