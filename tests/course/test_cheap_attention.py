"""Cheap attention in a trained network, its figures and its widgets."""

from functools import partial

import pytest
import torch
from shown_in import alt

from annlib.course.attention import house_answers
from annlib.course.efficient import FAMILIES, exact, method_of, windows
from annlib.course.interventions import (
    MethodScore,
    attention_by,
    capture_qkv,
    relative_error,
    replaced_attention,
    score_method,
)
from annlib.course.lesson import ROOT
from annlib.course.plots.costs import (
    KIND_LOOKS,
    Row,
    attention_of_methods,
    comparison,
    label_of,
    method_cost_curves,
)
from annlib.course.widgets.attention import method_chooser
from annlib.course.widgets.costs import SHOWN, method_costs
from annlib.data.balloon_town.dataset import make_scene
from annlib.data.datasets import FIRST_VAL_SEED
from annlib.model.build import shipped_model
from annlib.published_experiments import NAMES

SCENE = make_scene(FIRST_VAL_SEED + 21)
NETWORK = shipped_model("balloon_nonlocal")
ASKED = capture_qkv(NETWORK, SCENE.image)
WINDOWS = partial(windows, size=ASKED.size, side=8)


# In a trained network


def test_the_exact_method_changes_no_answer() -> None:
    before = house_answers(NETWORK, SCENE)
    with replaced_attention(NETWORK, exact):
        assert house_answers(NETWORK, SCENE) == before
    assert relative_error(exact, ASKED) == 0


def test_a_replacement_is_used_and_then_taken_out() -> None:
    before = house_answers(NETWORK, SCENE)
    with replaced_attention(NETWORK, lambda query, key, value: torch.zeros_like(value).mT):
        assert house_answers(NETWORK, SCENE) != before
    assert house_answers(NETWORK, SCENE) == before


def test_windows_see_no_balloon() -> None:
    score = score_method(NETWORK, WINDOWS, [SCENE])
    assert score.on_balloon == 0 and score.matched == 0 and score.error > 0.5


def test_attention_is_shares_even_where_weights_are_not() -> None:
    for name in ("projected", "landmarks"):
        found = attention_by(method_of(name, FAMILIES[name].options[1], ASKED.size), ASKED)
        assert torch.allclose(found.weights.sum(-1), torch.ones(384), atol=1e-4)
        assert bool((found.weights >= 0).all())


def test_a_network_without_a_non_local_block_is_refused() -> None:
    with pytest.raises(ValueError, match="non-local"):
        capture_qkv(shipped_model("balloon_apnb"), SCENE.image)


def test_a_method_is_told_in_words() -> None:
    said = method_chooser(NETWORK, SCENE).draw("windows", 2, 0)[1]
    assert "fewer pairs" in said and "0% of its attention" in said


# Figures


def rows() -> list[Row]:
    score = MethodScore(0.5, 0.1, 0.3, 0.29)
    return [Row(name, family.shrinks, 0.1, score) for name, family in FAMILIES.items()]


def test_the_comparison_says_all_its_numbers() -> None:
    picture = comparison(rows())
    assert all(f"{name}: 10% of the operations, error 50%, 29%" in picture.alt for name in FAMILIES)
    assert picture.png()[:4] == b"\x89PNG"


def test_each_kind_has_a_colour() -> None:
    assert {family.shrinks for family in FAMILIES.values()} == set(KIND_LOOKS)


def test_pictures_of_several_methods_say_their_shares() -> None:
    found = {"exact": attention_by(exact, ASKED), "windows": attention_by(WINDOWS, ASKED)}
    picture = attention_of_methods(SCENE, 0, found)
    assert "windows: 0% on its balloon" in picture.alt and "pink house" in picture.alt


def test_costs_are_told_cheapest_first() -> None:
    options = {"non-local": 1, "anchors": 110, "kernel": 1}
    said = method_cost_curves(64, options, 64).alt
    assert said.index("kernel") < said.index("anchors 110") < said.index("non-local 100")


def test_only_sizes_that_can_be_chosen_are_in_a_name() -> None:
    assert label_of("kernel", 1) == "kernel" and label_of("anchors", 46) == "anchors 46"


def test_published_tables_hold_the_rows_of_the_zoo() -> None:
    for data, name in (
        ("cityscapes", "ann_r50-d8_512x1024_40k_cityscapes"),
        ("ade20k", "ann_r50-d8_512x512_160k_ade20k"),
    ):
        text = (ROOT / f"data/results/later_methods_{data}.md").read_text(encoding="utf-8")
        (ours,) = [line for line in text.splitlines() if line.startswith("| ANN ")]
        row = NAMES[name]
        assert f" {row.miou:.2f} " in ours
        if data == "cityscapes":
            assert ours.endswith(f"| {row.memory_gb:9.2f} | {row.frames_per_second:17.2f} |")


# Widgets


@pytest.mark.all
def test_every_method_can_be_drawn() -> None:
    chooser = method_chooser(NETWORK, SCENE)
    for place, name in enumerate(FAMILIES):  # small and large by turns
        picture, said = chooser.draw(name, 2 * (place % 2), 1)
        assert name in picture.alt and name in said


def test_the_chooser_follows_its_controls() -> None:
    chooser = method_chooser(NETWORK, SCENE)
    chooser.controls["method"].value = "criss-cross"
    chooser.controls["size"].value = 0
    assert alt(chooser).startswith("criss-cross 1.") and "criss-cross (1 passes" in chooser.words()


@pytest.mark.all
def test_cost_sliders_can_take_all_their_values() -> None:
    box = method_costs()
    for control in box.controls.values():
        for value in (control.options[0], control.options[-1]):
            control.value = value
            assert all(name in alt(box) for name in SHOWN)
