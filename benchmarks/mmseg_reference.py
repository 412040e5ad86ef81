"""MMSegmentation's own ANN with our weights: the reference of the benchmarks.

Install it with `pip install -e '.[reference]'`; it is imported only when it is used.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from sys import modules
from types import ModuleType
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from annlib.config import IGNORE_INDEX, TrainConfig
from annlib.engine.optimization import poly_lr
from annlib.model.ann import ANN
from annlib.model.asymmetric import AFNB, APNB, AsymmetricAttention
from annlib.model.convert import ONCE, RENAMES, SHARED, from_mmseg
from annlib.published_experiments import Published, published

PACKAGES = ("mmseg", "mmengine", "mmcv", "ftfy", "regex")  # mmseg does not ask pip for all of them
HOW_TO_INSTALL = "pip install -e '.[reference]' installs versions that fit together."
COMPILED = "mmcv._ext"


def to_mmseg(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `from_mmseg`: APNB's one projection gets both of its names again.

    Raises KeyError for an unknown name.
    """
    theirs = {ours: name for name, ours in RENAMES.items()}
    renamed = {}
    for key, tensor in weights.items():
        prefix, _, last = key.rpartition(".")
        if key.startswith("backbone."):
            renamed[key] = tensor
            continue
        if prefix not in theirs or prefix.startswith(SHARED):
            raise KeyError(f"{key!r} is not a weight of annlib's ANN: the reference lacks it.")
        renamed[f"{theirs[prefix]}.{last}"] = tensor
        if prefix.startswith(ONCE):
            renamed[f"{theirs[prefix.replace(ONCE, SHARED)]}.{last}"] = tensor
    return renamed


class Stub(ModuleType):
    """Replaces the compiled operations of mmcv: every name exists, and raises when it is called."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(*arguments: Any) -> NoReturn:
            raise NotImplementedError(f"mmcv-lite has no compiled operations, thus no {name}.")

        return refuse


def installed() -> bool:
    """Whether all packages of the reference are installed; imports none of them."""
    return all(find_spec(name) is not None for name in PACKAGES)


def import_reference() -> None:
    """Imports MMSegmentation. Raises ValueError where it cannot be imported.

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

    Its weights are the same tensors as ours, so that both compute the same function.
    Batch norm is that of one process, and images are normalised.
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
        config.merge_from_dict({"model": reference_config(row)})
        with torch.device("meta"):  # no weights of its own: they would be in the way in memory
            model = MODELS.build(config.model)
    model.load_state_dict(to_mmseg(ours.state_dict()), strict=True, assign=True)
    return model


def reference_config(row: Published) -> dict[str, Any]:
    """Our configuration of the network and its test, under the reference's names.

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
        "backbone": {
            "depth": config.depth,
            "base_channels": config.width,
            "stem_channels": config.width,
            **norm,
        },
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


THEIRS = {"afnb": "decode_head.fusion.", "apnb": "decode_head.context."}
ATTENTION = "stages.0."
LAYERS = {"conv_cfg": None, "norm_cfg": {"type": "BN"}, "act_cfg": {"type": "ReLU"}}


class SelfAttention(nn.Module):
    """The reference's attention of a feature map to itself."""

    def __init__(self, attention: nn.Module):
        super().__init__()
        self.attention = attention

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return self.attention(features, features)


def settings(attention: AsymmetricAttention) -> dict[str, Any]:
    """Arguments of its blocks: keys and values have the same number of channels there."""
    return {
        "channels": attention.to_value.out_channels,
        "key_pool_scales": attention.pool.pool_scales,
        **LAYERS,
    }


def reference_afnb(ours: AFNB) -> nn.Module:
    """(low (B, Cl, h, w), high (B, Ch, H, W)) -> (B, Ch, H, W)"""
    import_reference()
    from mmseg.models.decode_heads.ann_head import AFNB as Theirs

    low, high = ours.attention.to_key[0].in_channels, ours.attention.to_output.out_channels
    theirs = Theirs(
        low_in_channels=low,
        high_in_channels=high,
        out_channels=high,
        query_scales=(1,),
        **settings(ours.attention),
    )
    theirs.load_state_dict(their_names(ours.state_dict(), "afnb"))
    return theirs


def reference_apnb(ours: APNB) -> nn.Module:
    """(B, C, H, W) -> (B, C, H, W)"""
    import_reference()
    from mmseg.models.decode_heads.ann_head import APNB as Theirs

    channels = ours.attention.to_output.out_channels
    theirs = Theirs(
        in_channels=channels, out_channels=channels, query_scales=(1,), **settings(ours.attention)
    )
    theirs.load_state_dict(their_names(ours.state_dict(), "apnb"))
    return theirs


def reference_attention(ours: AsymmetricAttention, pooled: bool) -> SelfAttention:
    """APNB's attention or, not pooled, the ordinary non-local one.  (B, C, H, W) -> same"""
    import_reference()
    from mmseg.models.decode_heads.ann_head import SelfAttentionBlock

    channels = ours.to_output.out_channels
    theirs = SelfAttentionBlock(
        low_in_channels=channels,
        high_in_channels=channels,
        out_channels=channels,
        share_key_query=True,
        query_scale=1,
        **settings(ours),
    )
    weights = {f"attention.{name}": tensor for name, tensor in ours.state_dict().items()}
    named = their_names(weights, "apnb")
    theirs.load_state_dict({name.removeprefix(ATTENTION): named[name] for name in named})
    if not pooled:
        theirs.key_downsample = None
    return SelfAttention(theirs)


def their_names(weights: Mapping[str, Tensor], block: str) -> dict[str, Tensor]:
    """Names of a block of ours, "afnb" or "apnb" -> of theirs."""
    named = to_mmseg({f"{block}.{name}": tensor for name, tensor in weights.items()})
    return {name.removeprefix(THEIRS[block]): tensor for name, tensor in named.items()}


def our_names(weights: Mapping[str, Tensor], block: str) -> dict[str, Tensor]:
    """Names of a block of theirs -> of ours. A weight they list twice may come once."""
    named = from_mmseg({THEIRS[block] + name: tensor for name, tensor in weights.items()})
    return {name.removeprefix(f"{block}."): tensor for name, tensor in named.items()}


def sizes(size: tuple[int, int], image_size: tuple[int, int] | None = None) -> dict[str, Any]:
    """Metadata of a network's input, and of the image that it was made of."""
    whole = {"img_shape": size, "pad_shape": size, "padding_size": [0, 0, 0, 0]}
    return whole | {"ori_shape": image_size or size}


def samples(labels: Tensor) -> list[Any]:
    """The labels of a batch in its own wrapping.  (B, H, W)"""
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    size = tuple(labels.shape[1:])
    wrapped = [SegDataSample(metainfo=sizes(size)) for _ in labels]
    for sample, one in zip(wrapped, labels, strict=True):
        sample.gt_sem_seg = PixelData(data=one[None])
    return wrapped


def reference_logits(model: nn.Module, images: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, K, H, W)"""
    return model.encode_decode(images, [sizes(tuple(images.shape[2:]))] * len(images))


def reference_steps(
    model: nn.Module, images: Tensor, labels: Tensor, config: TrainConfig
) -> Iterator[Tensor]:
    """Losses of training steps on one batch, by our recipe and its optimiser.

    (B, 3, H, W), (B, H, W) -> scalars. Its loss computes the pixel accuracy as well.
    """
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=config.base_lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )
    wrapped = samples(labels)
    model.train()
    for number in range(config.iterations):
        for group in optimizer.param_groups:
            group["lr"] = poly_lr(number, config)
        optimizer.zero_grad(set_to_none=True)
        loss, _ = model.parse_losses(model.loss(images, wrapped))
        loss.backward()
        optimizer.step()
        yield loss.detach()


def reference_classes(model: nn.Module, images: Tensor, size: tuple[int, int]) -> Tensor:
    """Its whole test on the input that its pipeline makes of an image of `size`.

    (1, 3, h, w) -> class indices (*size)
    """
    from mmseg.structures import SegDataSample

    sample = SegDataSample(metainfo=sizes(tuple(images.shape[2:]), size))
    return model.predict(images, [sample])[0].pred_sem_seg.data[0]


def reference_post_processing(
    model: nn.Module, logits: Tensor, input_size: tuple[int, int], size: tuple[int, int]
) -> Tensor:
    """What follows its classifier.  (1, K, H/8, W/8) -> class indices (*size)"""
    from mmseg.structures import SegDataSample

    about = sizes(input_size, size)
    scores = model.decode_head.predict_by_feat(logits, [about])
    (sample,) = model.postprocess_result(scores, [SegDataSample(metainfo=about)])
    return sample.pred_sem_seg.data[0]


def reference_areas(classes: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Of each class: intersection, union, prediction, labels.  2 x (H, W) -> pixels (4, K)"""
    from mmseg.evaluation import IoUMetric

    return torch.stack(IoUMetric.intersect_and_union(classes, labels, num_classes, IGNORE_INDEX))
