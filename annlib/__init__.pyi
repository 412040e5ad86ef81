# The names that `import annlib` offers: read by annlib/__init__.py, editors and type checkers.
from annlib.config import IGNORE_INDEX as IGNORE_INDEX
from annlib.config import ModelConfig as ModelConfig
from annlib.config import TestConfig as TestConfig
from annlib.config import TrainConfig as TrainConfig
from annlib.course.attention import attention_of as attention_of
from annlib.course.attention import capture_attention as capture_attention
from annlib.data.io import normalise as normalise
from annlib.data.loader import make_loader as make_loader
from annlib.engine.inference import make_label_predictor as make_label_predictor
from annlib.engine.inference import make_predictor as make_predictor
from annlib.engine.metrics import ConfusionMatrix as ConfusionMatrix
from annlib.engine.metrics import Scores as Scores
from annlib.engine.metrics import evaluate as evaluate
from annlib.engine.optimization import make_optimizer as make_optimizer
from annlib.engine.optimization import poly_lr as poly_lr
from annlib.engine.optimization import segmentation_loss as segmentation_loss
from annlib.engine.optimization import train as train
from annlib.model.ann import ANN as ANN
from annlib.model.ann import Logits as Logits
from annlib.model.asymmetric import AFNB as AFNB
from annlib.model.asymmetric import APNB as APNB
from annlib.model.asymmetric import AsymmetricAttention as AsymmetricAttention
from annlib.model.asymmetric import PyramidPool as PyramidPool
from annlib.model.build import build_model as build_model
from annlib.model.build import load_model as load_model
from annlib.model.build import shipped_model as shipped_model
from annlib.model.fused import fuse_for_inference as fuse_for_inference
from annlib.model.fused import fuse_for_training as fuse_for_training
from annlib.model.hub import load_published as load_published
from annlib.model.layers import freeze as freeze
from annlib.published_experiments import ZOO as ZOO
from annlib.published_experiments import published as published

__version__: str
