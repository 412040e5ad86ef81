"""Recipes as a user with a strict type checker writes them: checked by pyright, run by no test."""

from pathlib import Path

import torch
from torch import Tensor

import annlib
from annlib import ConfusionMatrix, ModelConfig, Scores, TestConfig, TrainConfig
from annlib.engine.optimization import Step


def train_a_little(batches: list[tuple[Tensor, Tensor]]) -> float:
    model = annlib.build_model(ModelConfig(depth=9, num_classes=3))
    config = TrainConfig(iterations=len(batches))
    steps: list[Step] = list(
        annlib.train(model, annlib.make_optimizer(model, config), batches, config)
    )
    return float(steps[-1].loss)


def score(path: Path, images: Tensor, labels: Tensor) -> float:
    model = annlib.load_model(path)
    predict = annlib.make_predictor(model, TestConfig(mode="whole"))
    matrix: ConfusionMatrix = annlib.evaluate(predict, [(images, labels)], model.config.num_classes)
    scores: Scores = matrix.scores()
    return scores.miou


def classes_of(image: Tensor) -> Tensor:
    model = annlib.fuse_for_inference(annlib.shipped_model("streets_ann"))
    label = annlib.make_label_predictor(model, TestConfig(base_size=(360, 480)))
    return label(annlib.normalise(image)[None])[0]


def attention(image: Tensor) -> Tensor:
    model = annlib.shipped_model("balloon_ann")
    with annlib.capture_attention(model) as captured:
        logits = model(annlib.normalise(image)[None])
    return captured["afnb"] + logits.main.mean() if captured else torch.zeros(1)
