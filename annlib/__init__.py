"""annlib: Asymmetric Non-local Neural Networks for semantic segmentation, to be read and taught.

The names that a notebook starts with. Each is imported on first use, so that `import annlib` costs
nothing. What needs matplotlib or Jupyter is imported from its own module.
docs/recipes.md uses the names.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what editors and type checkers read
    from annlib.config import IGNORE_INDEX, ModelConfig, TestConfig, TrainConfig
    from annlib.course.attention import attention_of, capture_attention
    from annlib.data.io import normalise
    from annlib.data.loader import make_loader
    from annlib.engine.inference import make_label_predictor, make_predictor
    from annlib.engine.metrics import ConfusionMatrix, Scores, evaluate
    from annlib.engine.optimization import make_optimizer, poly_lr, segmentation_loss, train
    from annlib.model.ann import ANN, Logits
    from annlib.model.asymmetric import AFNB, APNB, AsymmetricAttention, PyramidPool
    from annlib.model.build import build_model, load_model, shipped_model
    from annlib.model.fused import fuse_for_inference, fuse_for_training
    from annlib.model.hub import load_published
    from annlib.model.layers import freeze
    from annlib.published_experiments import ZOO, published

__version__ = "0.1.0"
HOMES = {
    "annlib.config": ("IGNORE_INDEX", "ModelConfig", "TestConfig", "TrainConfig"),
    "annlib.course.attention": ("attention_of", "capture_attention"),
    "annlib.data.io": ("normalise",),
    "annlib.data.loader": ("make_loader",),
    "annlib.engine.metrics": ("ConfusionMatrix", "Scores", "evaluate"),
    "annlib.engine.inference": ("make_label_predictor", "make_predictor"),
    "annlib.engine.optimization": ("make_optimizer", "poly_lr", "segmentation_loss", "train"),
    "annlib.model.ann": ("ANN", "Logits"),
    "annlib.model.asymmetric": ("AFNB", "APNB", "AsymmetricAttention", "PyramidPool"),
    "annlib.model.build": ("build_model", "load_model", "shipped_model"),
    "annlib.model.fused": ("fuse_for_inference", "fuse_for_training"),
    "annlib.model.hub": ("load_published",),
    "annlib.model.layers": ("freeze",),
    "annlib.published_experiments": ("ZOO", "published"),
}
__all__ = [name for names in HOMES.values() for name in names]


def __getattr__(name: str) -> Any:
    for home, names in HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'annlib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
