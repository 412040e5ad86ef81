"""The probe of queries and keys: what is there to be read is read, what is not is not."""

from dataclasses import replace

import pytest
import torch
from tiny import TINY, wake
from torch import Tensor
from torch.nn.functional import one_hot

from annlib.course import probing
from annlib.course.attention import attention_blocks
from annlib.course.probing import Probe, outputs_of, probe, query_projection, readable
from annlib.data.balloon_town.dataset import make_scene
from annlib.data.balloon_town.layout import PAINTS
from annlib.model.build import build_model


def samples(count: int, noise: float) -> list[tuple[Tensor, int]]:
    paints = torch.randint(len(PAINTS), (count,))
    features = one_hot(paints, len(PAINTS)).float() + noise * torch.randn(count, len(PAINTS))
    mixed = features @ torch.ones(6, 6).tril()  # can be undone
    return list(zip(mixed, paints.tolist(), strict=True))


def test_paint_that_is_there_is_read() -> None:
    torch.manual_seed(0)
    assert readable(samples(200, noise=0.0), samples(100, noise=0.0)) == 1


def test_paint_that_is_not_there_is_guessed() -> None:
    torch.manual_seed(0)
    nothing = [(torch.randn(6), int(paint)) for paint in torch.randint(len(PAINTS), (1200,))]
    assert readable(nothing[:600], nothing[600:]) == pytest.approx(1 / len(PAINTS), abs=0.06)


@pytest.mark.parametrize("head", ["ann", "apnb", "nonlocal"])
def test_every_block_is_probed(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "FITTED", 3)
    monkeypatch.setattr(probing, "TESTED", 2)
    model = wake(build_model(replace(TINY, num_classes=10, head=head)))
    found = probe(model)
    assert found.keys() == attention_blocks(model).keys()
    for result in found.values():
        assert isinstance(result, Probe)
        assert all(0 <= share <= 1 for share in result)
        assert result.on_its_balloon + result.on_other_balloons + result.on_itself <= 1 + 1e-5


def test_afnb_asks_with_a_projection_of_its_own() -> None:
    model = build_model(TINY)
    blocks = attention_blocks(model)
    assert query_projection(blocks["afnb.attention"]) is model.afnb.attention.to_query
    assert query_projection(blocks["apnb.attention"]) is model.apnb.attention.to_key


def test_outputs_are_those_of_the_layers_and_no_hook_stays() -> None:
    model = build_model(TINY).eval()
    layer = model.afnb.attention.to_key
    (found,) = outputs_of(model, [layer], make_scene(1))
    assert found.shape == (6, 16, 24)
    assert not layer._forward_hooks
