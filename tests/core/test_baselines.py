"""What ANN is compared with, and how it relates to ANN."""

from dataclasses import replace

import pytest
import torch
from tiny import HEADS, TINY, wake
from torch import Tensor

from annlib.model.ann import Logits
from annlib.model.asymmetric import APNB
from annlib.model.baselines import NonLocal, PyramidPooling
from annlib.model.build import build_model


def non_local(channels: int = 4) -> NonLocal:
    return wake(NonLocal(channels, 6, 7)).eval()


@pytest.mark.parametrize("side", [1, 5, 8])
def test_full_size_pooling_equals_ordinary_non_local(side: int) -> None:
    ordinary, asymmetric = non_local(), APNB(4, 6, 7, (side,)).eval()
    asymmetric.load_state_dict(ordinary.state_dict(), strict=True)
    features = torch.randn(2, 4, side, side)
    assert torch.equal(asymmetric(features), ordinary(features))


def test_non_local_equals_a_loop_over_positions() -> None:
    block, features = non_local(), torch.randn(1, 4, 3, 5)
    attention = block.attention
    keys, values = attention.to_key(features)[0].flatten(1), attention.to_value(features)[0]
    expected = torch.zeros(1, 7, 15)
    for i in range(15):
        scores = torch.stack([keys[:, i] @ keys[:, j] for j in range(15)]) * 6**-0.5
        shares = (scores - scores.max()).exp()
        expected[0, :, i] = (values.flatten(1) * shares).sum(1) / shares.sum()
    expected = attention.to_output(expected.unflatten(2, (3, 5)))
    torch.testing.assert_close(attention(features), expected, rtol=1e-4, atol=1e-5)


def test_permuting_positions_permutes_the_output_of_non_local() -> None:
    block, features, order = non_local(), torch.randn(2, 4, 3, 5), torch.randperm(15)

    def permute(maps: Tensor) -> Tensor:
        return maps.flatten(2)[..., order].unflatten(2, (3, 5))

    torch.testing.assert_close(block(permute(features)), permute(block(features)))


def test_fresh_non_local_mixes_no_positions() -> None:
    block, features = NonLocal(4, 6, 7).eval(), torch.randn(1, 4, 3, 5)
    changed = features.clone()
    changed[..., 0, 0] += 1
    assert torch.equal(block(changed)[..., 1:, :], block(features)[..., 1:, :])


def test_pyramid_pooling_of_a_constant_map_is_constant() -> None:
    output = PyramidPooling(8, (1, 2, 3), align_corners=False).eval()(torch.ones(1, 8, 5, 7))
    torch.testing.assert_close(output, output[..., :1, :1].expand_as(output))


def test_fcn_has_no_context_block() -> None:
    features = torch.randn(1, 12, 5, 7)
    assert build_model(replace(TINY, head="fcn")).context(features) is features


@pytest.mark.parametrize("head", HEADS)
def test_every_head_gives_logits_of_the_size_of_the_images(head: str) -> None:
    logits = build_model(replace(TINY, head=head))(torch.randn(2, 3, 33, 57))
    assert logits.main.shape == logits.aux.shape == (2, 5, 33, 57)


@pytest.mark.parametrize("head", HEADS)
def test_every_head_is_deterministic_in_evaluation(head: str) -> None:
    model, images = wake(build_model(replace(TINY, head=head))).eval(), torch.randn(2, 3, 33, 57)
    assert torch.equal(model(images).main, model(images).main)


@pytest.mark.parametrize("head", HEADS)
def test_every_head_takes_one_image_of_one_pixel_in_evaluation(head: str) -> None:
    model = build_model(replace(TINY, head=head)).eval()
    assert model(torch.randn(1, 3, 1, 1)).main.shape == (1, 5, 1, 1)


@pytest.mark.parametrize("head", HEADS)
def test_logits_take_the_size_that_is_asked_for(head: str) -> None:
    logits = build_model(replace(TINY, head=head))(torch.randn(2, 3, 33, 57), size=(9, 11))
    assert logits.main.shape == logits.aux.shape == (2, 5, 9, 11)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("head", HEADS)
def test_logits_are_resized_as_the_configuration_says(head: str, align_corners: bool) -> None:
    model, small = build_model(replace(TINY, head=head, align_corners=align_corners)), []
    model.eval().classifier.register_forward_hook(lambda _, __, out: small.append(out))
    logits = model(torch.randn(1, 3, 33, 57)).main
    size = logits.shape[2:]
    assert torch.equal(logits, Logits(small[0], None).resize(size, align_corners).main)
    assert not torch.equal(logits, Logits(small[0], None).resize(size, not align_corners).main)


@pytest.mark.parametrize("head", HEADS)
def test_auxiliary_logits_exist_only_in_training(head: str) -> None:
    assert build_model(replace(TINY, head=head)).eval()(torch.randn(1, 3, 17, 9)).aux is None


def test_unknown_head_is_named_in_the_error() -> None:
    with pytest.raises(ValueError, match="'psp'.*choose fcn, ppm, nonlocal or apnb"):
        build_model(replace(TINY, head="psp"))


def test_unknown_depth_is_named_in_the_error() -> None:
    with pytest.raises(ValueError, match=r"depth 18: choose one of \[9, 17, 25, 50, 101\]"):
        build_model(replace(TINY, depth=18))
