"""The probe of queries and keys: what is there to be read is read, what is not is not."""

from dataclasses import replace

import pytest
import torch
from tiny import TINY, wake
from torch import Tensor
from torch.nn.functional import one_hot

from annlib.course.attention import attention_blocks, to_query
from annlib.data.balloon_town.layout import PAINTS
from annlib.model.build import build_model
from benchmarks import town_attention
from benchmarks.town_attention import Probe, probe, readable


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


def test_the_probe_is_the_closed_form_of_ridge_regression() -> None:
    torch.manual_seed(1)
    fitted, tested = samples(40, noise=1.5), samples(300, noise=1.5)

    def split(pairs: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
        x = torch.stack([features for features, _ in pairs]).double()
        return torch.cat([x, torch.ones(len(x), 1)], 1), torch.tensor([one for _, one in pairs])

    (x, paints), (new_x, new_paints) = split(fitted), split(tested)
    penalty = town_attention.RIDGE * len(x) * torch.eye(x.shape[1])
    weights = torch.linalg.solve(x.T @ x + penalty, x.T @ one_hot(paints, 6).double())
    expected = ((new_x @ weights).argmax(1) == new_paints).double().mean()
    assert readable(fitted, tested) == pytest.approx(float(expected)) and 0.2 < expected < 0.9


@pytest.mark.parametrize("head", ["ann", "apnb", "nonlocal"])
def test_every_block_is_probed(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(town_attention, "FITTED", 3)
    monkeypatch.setattr(town_attention, "TESTED", 2)
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
    assert to_query(blocks["afnb.attention"]) is model.afnb.attention.to_query
    assert to_query(blocks["apnb.attention"]) is model.apnb.attention.to_key
