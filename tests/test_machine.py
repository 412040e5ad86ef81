"""How a machine does the work changes how fast it is, not what is learnt."""

import shutil
from dataclasses import replace
from itertools import repeat

import pytest
import torch
from tiny import TINY

from annlib.config import RuntimeConfig, TrainConfig
from annlib.engine.train import make_optimizer, train
from annlib.engine.trainer import prepare_model, wrap_model
from annlib.model.ann import ANN
from annlib.seeds import seeded

CPU = torch.device("cpu")
CONFIG = TrainConfig(iterations=3)


def losses(compute: RuntimeConfig, dropout: float = 0.2) -> list[float]:
    with seeded("machine"):
        model = prepare_model(ANN(replace(TINY, dropout=dropout)), CPU, compute)
        batch = torch.randn(2, 3, 40, 56), torch.randint(5, (2, 40, 56))
    optimizer = make_optimizer(model, CONFIG)
    steps = train(
        wrap_model(model, CPU, compute), optimizer, repeat(batch), CONFIG, compute=compute
    )
    return [float(step.loss) for step in steps]


def test_memory_layout_changes_no_loss() -> None:
    plain = losses(RuntimeConfig(channels_last=False))
    assert losses(RuntimeConfig(channels_last=True)) == pytest.approx(plain, rel=1e-5)
    assert len(set(plain)) == 3


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler on CPUs")
def test_compiling_changes_no_loss() -> None:
    # Without dropout: compiled code draws the random numbers of its layers in another order.
    plain = losses(RuntimeConfig(), dropout=0)
    assert losses(RuntimeConfig(compile=True), dropout=0) == pytest.approx(plain, rel=1e-5)


def test_model_keeps_its_names_however_it_is_run() -> None:
    model = ANN(TINY)
    names = list(model.state_dict())
    prepare_model(model, CPU, RuntimeConfig(channels_last=True))
    assert list(model.state_dict()) == names
