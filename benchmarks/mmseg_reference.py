"""MMSegmentation's own ANN for a published row, with weights of ours: whom we race against.

Install it with `pip install -e '.[reference]'`; nothing of it is imported before it is asked for.
"""

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from sys import modules
from types import ModuleType
from typing import Any, NoReturn

import torch
from torch import nn

from annlib.config import ModelConfig
from annlib.model.ann import ANN
from annlib.model.reference_weights import to_mmseg
from annlib.zoo import Published, published

PACKAGES = ("mmseg", "mmengine", "mmcv", "ftfy", "regex")  # mmseg does not ask pip for all of them
HOW_TO_INSTALL = "pip install -e '.[reference]' installs versions that fit together."
COMPILED = "mmcv._ext"


class Stub(ModuleType):
    """Stands where the compiled operations of mmcv would be: any name is there, none works."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(*arguments: Any) -> NoReturn:
            raise NotImplementedError(f"mmcv-lite has no compiled operations, thus no {name}.")

        return refuse


def installed() -> bool:
    """Whether all that the reference needs is here; imports none of it."""
    return all(find_spec(name) is not None for name in PACKAGES)


def import_reference() -> None:
    """Imports MMSegmentation past what would stop it. Raises ValueError where it cannot be.

    mmseg.models imports operations of mmcv that have to be compiled for each release of torch, and
    ANN uses none: mmcv-lite comes without, so a stub stands in for them. The import warns of names
    that moved within its own packages, and asserts that mmcv is older than 2.2.
    """
    if not installed():
        raise ValueError(f"The reference implementation is not installed. {HOW_TO_INSTALL}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if COMPILED not in modules and find_spec(COMPILED) is None:
            modules[COMPILED] = Stub(COMPILED)
        try:
            import mmseg.models  # noqa: F401
        except AssertionError as error:
            raise ValueError(f"The reference implementation: {error} {HOW_TO_INSTALL}") from error


def reference_model(row: Published, ours: ANN) -> nn.Module:
    """The reference's network of a row, by the configuration file in its own package.

    Its weights are the very tensors of ours, so that both are one function; ours is to be dropped.
    Batch norm is that of one process, and pictures come normalised.
    """
    import_reference()
    import mmseg
    from mmengine.config import Config
    from mmengine.registry import DefaultScope
    from mmseg.registry import MODELS

    path = Path(mmseg.__file__).parent / ".mim/configs/ann" / f"{published(row.name).name_1x}.py"
    with warnings.catch_warnings(), DefaultScope.overwrite_default_scope("mmseg"):
        warnings.simplefilter("ignore")
        config = Config.fromfile(path)
        config.merge_from_dict({"model": in_its_words(row)})
        with torch.device("meta"):  # no weights of its own: they would be in the way in memory
            model = MODELS.build(config.model)
    model.load_state_dict(to_mmseg(ours.state_dict()), strict=True, assign=True)
    return model


def in_its_words(row: Published) -> dict[str, Any]:
    """What our row says about the network and its test, in the reference's vocabulary.

    For the 16 published rows its own file says the same, but for the first two lines and the type
    of the norms; a smaller network or window, for a test, is smaller there, too.
    """
    config, test = row.experiment.model, row.experiment.test
    norm = {"norm_cfg": {"type": "BN"}}
    head = {
        "num_classes": config.num_classes,
        "dropout_ratio": config.dropout,
        "align_corners": config.align_corners,
        **norm,
    }
    windows = {"crop_size": test.window, "stride": test.stride} if test.mode == "slide" else {}
    return {
        "pretrained": None,
        "data_preprocessor": None,
        "backbone": backbone_in_its_words(config) | norm,
        "decode_head": {
            "in_channels": [16 * config.width, 32 * config.width],
            "channels": config.hidden_channels,
            "project_channels": config.key_channels,
            "key_pool_scales": config.pool_scales,
            **head,
        },
        "auxiliary_head": {
            "in_channels": 16 * config.width,
            "channels": config.aux_channels,
            **head,
        },
        "test_cfg": {"mode": test.mode, **windows},
    }


def backbone_in_its_words(config: ModelConfig) -> dict[str, Any]:
    return {
        "depth": config.depth,
        "base_channels": config.width,
        "stem_channels": config.width,
    }
