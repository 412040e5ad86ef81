"""What several processes do together, for test_distributed.py: run by torchrun, or alone.

python together.py OUT: trains a small ANN in float64, and writes what came out.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from tiny import TINY, wake

from annlib.config import DataConfig, Experiment, RuntimeConfig, TrainConfig
from annlib.data.balloon_town.dataset import Scenes
from annlib.data.classes import BALLOON_TOWN
from annlib.data.loader import Transformed
from annlib.data.transforms import training_transform
from annlib.engine.distributed import any_rank, init_distributed, is_main, mean_over_ranks, rank
from annlib.engine.optimization import make_optimizer, train
from annlib.engine.trainer import Trainer, batches, prepare_model, wrap_model
from annlib.model.ann import ANN
from annlib.seeds import seeded

CPU = torch.device("cpu")
MODEL = replace(TINY, num_classes=10, dropout=0.3)
DATA = DataConfig("balloon_town", crop_size=(40, 56), base_size=(48, 72), batch_size=4)
EXPERIMENT = Experiment("together", MODEL, DATA, TrainConfig(iterations=6))


def float64_pairs(loader):
    for images, labels in loader:
        yield images.double(), labels


def losses(accumulate: int) -> dict[str, list[float]]:
    """Of some steps with the reference's recipe, and the running statistics they leave."""
    compute = RuntimeConfig(accumulate=accumulate)
    with seeded("together"):
        model = prepare_model(wake(ANN(MODEL)).double(), CPU, compute)
    dataset = Transformed(Scenes(7), training_transform(DATA))
    loader = float64_pairs(batches(EXPERIMENT, dataset, CPU, workers=0))
    optimizer = make_optimizer(model, EXPERIMENT.train)
    steps = train(
        wrap_model(model, CPU, compute), optimizer, loader, EXPERIMENT.train, compute=compute
    )
    found = [float(step.loss) for step in steps]
    norm = model.reduce[1]
    weights = [float(p.detach().double().norm()) for p in model.parameters()]
    return {
        "losses": found,
        "running": [*norm.running_mean.tolist(), *norm.running_var.tolist()],
        "weights": weights,
    }


def scores(folder: Path) -> list[float]:
    """Of an untrained network, every process on its share of the scenes."""
    run = Trainer(EXPERIMENT, BALLOON_TOWN, folder, CPU)
    dataset = Transformed(Scenes(5), training_transform(replace(DATA, color_jitter=False)))
    with seeded("scores"):
        dataset = [dataset[i] for i in range(5)]
    return run.evaluate(dataset).scores().iou.nan_to_num(-1).tolist()


def measure(out: Path) -> None:
    """What this process finds, alone or with others; the first writes it."""
    with init_distributed(CPU):
        facts = losses(accumulate=1) | {"scores": scores(out.with_suffix(".run"))}
        facts["accumulated"] = losses(accumulate=2)["losses"]
        facts["mean_rank"] = float(mean_over_ranks(torch.tensor(float(rank()))))
        facts["any"] = [any_rank(rank() == 1), any_rank(False)]
        if is_main():
            out.write_text(json.dumps(facts))


if __name__ == "__main__":
    measure(Path(sys.argv[1]))
