"""Published experiments with every side divided."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annlib.config import Experiment
from annlib.engine.inference import fit
from annlib.engine.row_costs import MOST, picture_size, shrunk, shrunk_size
from annlib.zoo import ROWS, published

each = pytest.mark.parametrize(
    "experiment", [row.experiment for row in ROWS], ids=lambda experiment: experiment.name
)


@each
def test_divided_by_one_it_is_the_published_experiment(experiment: Experiment) -> None:
    assert shrunk(experiment, 1) == experiment


@given(cells=st.integers(1, 200), factor=st.integers(1, MOST), odd=st.integers(0, 1))
def test_an_odd_side_stays_one_more_than_an_even_one(cells: int, factor: int, odd: int) -> None:
    side = 2 * cells * factor + odd
    assert shrunk_size((side, side), factor) == (2 * cells + odd, 2 * cells + odd)


def test_windows_shrink_with_the_crop() -> None:
    small = shrunk(published("ann_r50-d8_769x769_40k_cityscapes").experiment, 8)
    assert small.data.crop_size == small.test.window == (97, 97)
    assert small.test.stride == (65, 65)
    assert small.data.base_size == small.test.base_size == (129, 257)


@each
def test_network_and_recipe_stay(experiment: Experiment) -> None:
    small = shrunk(experiment, MOST)
    assert (small.name, small.model, small.train) == (
        experiment.name,
        experiment.model,
        experiment.train,
    )
    assert small.data.batch_size == experiment.data.batch_size


@pytest.mark.parametrize("factor", [-1, 0, MOST + 1])
def test_factor_that_leaves_nothing_is_refused(factor: int) -> None:
    with pytest.raises(ValueError, match=rf"divided by {factor} \(--shrink\)"):
        shrunk(ROWS[0].experiment, factor)


@each
def test_pictures_become_the_published_sizes_on_their_way(experiment: Experiment) -> None:
    """mmseg's measurement ran its test pipeline: this is what its networks saw."""
    seen = fit(picture_size(experiment, 1), experiment.test.base_size)
    sizes = {"whole": (1024, 2048), "slide": (1025, 2049)}
    cityscapes = experiment.data.dataset == "cityscapes"
    assert seen == (sizes[experiment.test.mode] if cityscapes else (512, 683))
