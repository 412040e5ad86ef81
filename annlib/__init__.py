"""annlib: Asymmetric Non-local Neural Networks for semantic segmentation, to be read and taught.

The names a notebook starts with. What stands on torchvision, matplotlib or Jupyter is imported from
its own module, so that `import annlib` costs hardly more than `import torch`.
"""

from annlib.config import IGNORE_INDEX, ModelConfig, TestConfig, TrainConfig
from annlib.engine.evaluate import ConfusionMatrix, Scores, evaluate
from annlib.engine.inference import predictor
from annlib.engine.train import make_optimizer, poly_lr, segmentation_loss, train
from annlib.model.ann import ANN, Logits
from annlib.model.asymmetric import AFNB, APNB, AsymmetricAttention, PyramidPool
from annlib.model.baselines import build_model
from annlib.model.checkpoints import load_model, shipped_model
from annlib.zoo import ZOO, published

__all__ = [
    "AFNB",
    "ANN",
    "APNB",
    "IGNORE_INDEX",
    "ZOO",
    "AsymmetricAttention",
    "ConfusionMatrix",
    "Logits",
    "ModelConfig",
    "PyramidPool",
    "Scores",
    "TestConfig",
    "TrainConfig",
    "build_model",
    "evaluate",
    "load_model",
    "make_optimizer",
    "poly_lr",
    "predictor",
    "published",
    "segmentation_loss",
    "shipped_model",
    "train",
]
