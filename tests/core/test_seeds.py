"""Seeds made from names, and the caller's random state around them."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from annlib.seeds import seed_for, seeded

KEY = st.tuples(st.text(max_size=3), st.integers(-3, 3), st.integers(0, 3))


@given(first=KEY, second=KEY)
def test_only_equal_keys_give_equal_seeds(first: tuple, second: tuple) -> None:
    assert (seed_for(*first) == seed_for(*second)) == (first == second)


def test_parts_of_a_key_do_not_flow_together() -> None:
    assert len({seed_for(1, 23), seed_for(12, 3), seed_for(123), seed_for("1", 23)}) == 4


@pytest.mark.slow
def test_another_process_makes_the_same_seed() -> None:
    program = "from annlib.seeds import seed_for; print(seed_for('step', 0, 7))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert int(run.stdout) == seed_for("step", 0, 7)


def test_same_key_gives_the_same_numbers() -> None:
    draws = []
    for _ in range(2):
        torch.rand(3)
        with seeded("a", 1):
            draws.append(torch.rand(5))
    assert torch.equal(*draws)


def test_callers_numbers_go_on_as_if_nothing_had_been_drawn() -> None:
    torch.manual_seed(0)
    expected = torch.rand(4)
    torch.manual_seed(0)
    with seeded("a"):
        torch.rand(9)
    assert torch.equal(torch.rand(4), expected)


def test_callers_state_is_put_back_after_an_error() -> None:
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError), seeded("a"):
        raise RuntimeError
    assert torch.equal(torch.get_rng_state(), before)


def test_numbers_are_those_of_the_plain_seed() -> None:
    with seeded("a", 1):
        draws = torch.rand(5)
    torch.manual_seed(seed_for("a", 1))
    assert torch.equal(torch.rand(5), draws)


def test_no_other_device_is_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(seed: int) -> None:
        raise AssertionError("a device that was not named")

    for device in (torch.cuda, torch.mps, torch.xpu):
        monkeypatch.setattr(device, "manual_seed", forbidden)
    for device in (torch.cuda, torch.xpu):
        monkeypatch.setattr(device, "manual_seed_all", forbidden)
    with seeded("a", device=torch.device("cpu")):
        torch.rand(1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_named_gpu_is_seeded_and_put_back() -> None:
    device, draws = torch.device("cuda"), []
    before = torch.cuda.get_rng_state()
    for _ in range(2):
        with seeded("a", device=device):
            draws.append(torch.rand(5, device=device))
    assert torch.equal(*draws)
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_every_test_begins_with_the_same_random_numbers() -> None:
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(0)))
