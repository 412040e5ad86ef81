"""The attention explorer: image, network, block and query pixel; drawn in the browser.

float32 and uint8, each piece at a multiple of four bytes, so that the browser reads it in place.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec

import anywidget
import ipywidgets
import numpy as np
import traitlets
from matplotlib import colormaps
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import nn

from annlib.course.attention_metrics import predict_labels, query_on
from annlib.course.plots.attention import (
    Model,
    Subject,
    View,
    Views,
    subject_of,
    view_picture,
    views_of,
)
from annlib.course.plots.scenes import Picture
from annlib.course.plots.style import BLOCK_COLOURS
from annlib.course.widgets.base import (
    JAVASCRIPT,
    Explorer,
    LevelBoxes,
    in_this_thread,
    menu,
    module,
    slider,
    standalone_page,
)
from annlib.data.balloon_town.layout import CLASS_NAMES, Scene

Piece = tuple[int, int]  # offset and length in bytes
COLOURS = "cividis"  # of all maps of shares


class Packer:
    """Collects arrays; `bytes()` is the blob, what `add` returned says where each one lies."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.length = 0

    def add(self, array: np.ndarray, dtype: type) -> Piece:
        part = np.ascontiguousarray(array, dtype).tobytes()
        place = self.length, len(part)
        self.parts.append(part + bytes(-len(part) % 4))
        self.length += len(self.parts[-1])
        return place

    def bytes(self) -> bytes:
        return b"".join(self.parts)


def pack(
    subjects: Mapping[str, Subject], views: Mapping[str, Views]
) -> tuple[dict[str, object], bytes]:
    """Everything that the explorer shows.  views: name of a subject -> its views

    Raises ValueError for projections of another picture than their subject's.
    """
    packer = Packer()
    spec = {
        "colours": packer.add(255 * colormaps[COLOURS](np.arange(256))[:, :3] + 0.5, np.uint8),
        "pictures": [pack_subject(packer, name, one) for name, one in subjects.items()],
        "views": [
            {"picture": picture, "network": network, "block": block}
            | pack_view(packer, view, subjects[picture])
            for picture, networks in views.items()
            for network, blocks in networks.items()
            for block, view in blocks.items()
        ],
    }
    return spec, packer.bytes()


def pack_subject(packer: Packer, name: str, subject: Subject) -> dict[str, object]:
    height, width = subject.image.shape[:2]
    return {
        "name": name,
        "height": height,
        "width": width,
        "pixels": packer.add(subject.image, np.uint8),
        "labels": None if subject.labels is None else packer.add(subject.labels, np.uint8),
        "names": list(subject.class_names),
    }


def pack_view(packer: Packer, view: View, subject: Subject) -> dict[str, object]:
    found = view.projections
    if found.image_size != subject.image.shape[:2]:
        raise ValueError(
            f"The projections are of a picture of {found.image_size}, but this one has "
            f"{subject.image.shape[:2]}: a pixel that is clicked would ask for another place."
        )
    scales = found.pool_scales
    packed = {
        "rows": found.map_size[0],
        "columns": found.map_size[1],
        "levels": None if scales is None else list(scales),
        "channels": found.queries.shape[1],
        "queries": packer.add(found.queries.numpy(), np.float32),
        "keys": packer.add(found.keys.numpy(), np.float32),
        "colour": BLOCK_COLOURS[view.block],
        "asking": None,
    }
    if view.asking is not None:
        packed["asking"] = packer.add(view.asking.strength, np.float32)
        packed |= {"asks": view.asking.asks, "answers": view.asking.answers}
    return packed


SHARES = "shares as a map"  # what stands beside the picture while no network is compared
PHOTO_PIXELS = 50_000_000
FILES = (
    "stage.js",
    "attention.js",
    "explorer.js",
    "page_parts.js",
    "files.js",
    "explorer_page.js",
)


class AttentionExplorer(anywidget.AnyWidget):
    """Click, drag or move by arrow keys the pixel that asks; menus choose who is asked.

    All is computed in the browser (javascript/attention.js), so it goes on without the kernel. The
    state can be read and set from here: `picture`, `network`, `block`, `beside` (a second network,
    or SHARES), `levels`, `factor` of all scores, and `xy`, the column and the row of the pixel.
    """

    _esm = module(*FILES)
    _css = (JAVASCRIPT / "attention.css").read_text(encoding="utf-8")
    spec = traitlets.Dict().tag(sync=True)
    data = traitlets.Bytes().tag(sync=True)
    picture = traitlets.Unicode().tag(sync=True)
    network = traitlets.Unicode().tag(sync=True)
    block = traitlets.Unicode().tag(sync=True)
    beside = traitlets.Unicode(SHARES).tag(sync=True)
    levels = traitlets.List(traitlets.Int()).tag(sync=True)
    factor = traitlets.Float(1.0).tag(sync=True)
    xy = traitlets.Tuple(traitlets.Int(), traitlets.Int()).tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        subjects: Mapping[str, Subject],
        look: Callable[[np.ndarray], Views],
        xy: tuple[int, int],
        levels: Sequence[int] | None = None,
        label: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        """look: picture -> all views of it. levels: the ones that are on at first, None for all.

        label: gives a photo that is added its classes; None: a photo is shown without.
        """
        self.subjects, self.look, self.label = dict(subjects), look, label
        self.views = {name: look(one.image) for name, one in subjects.items()}
        picture, networks = next(iter(self.views.items()))
        network, blocks = next(iter(networks.items()))
        scales = {
            scale
            for views in self.views.values()
            for blocks_here in views.values()
            for view in blocks_here.values()
            for scale in view.projections.pool_scales or ()
        }
        spec, data = self.packed()
        super().__init__(
            spec=spec,
            data=data,
            picture=picture,
            network=network,
            block=next(iter(blocks)),
            levels=sorted(scales if levels is None else levels),
            xy=xy,
        )
        self.taking = in_this_thread(self.take_photo)
        self.on_msg(self.taking)

    def packed(self) -> tuple[dict[str, object], bytes]:
        spec, data = pack(self.subjects, self.views)
        return spec | {"takes_photos": True}, data

    @property
    def view(self) -> View:
        """What the menus have chosen; a network without that block shows its first."""
        blocks = self.views[self.picture][self.network]
        return blocks.get(self.block) or next(iter(blocks.values()))

    @traitlets.validate("picture")
    def known_picture(self, proposal: dict) -> str:
        return chosen_from(self.subjects, "picture", proposal["value"])

    @traitlets.validate("network")
    def known_network(self, proposal: dict) -> str:
        return chosen_from(next(iter(self.views.values())), "network", proposal["value"])

    @traitlets.validate("xy")
    def inside(self, proposal: dict) -> tuple[int, int]:
        x, y = proposal["value"]
        height, width = self.subjects[self.picture].image.shape[:2]
        if not (0 <= x < width and 0 <= y < height):
            raise traitlets.TraitError(
                f"xy = {(x, y)} is outside the picture: columns go from 0 to {width - 1}, rows "
                f"from 0 to {height - 1}."
            )
        return x, y

    def static(self) -> tuple[Picture | None, str]:
        """The present state as a picture and words, for pages without a browser's half."""
        x, y = self.xy
        title = f"{self.block}, {self.network}"
        subject = self.subjects[self.picture]
        return view_picture(subject, self.view, y, x, self.levels, self.factor, title)

    def _repr_mimebundle_(self, **options: object) -> tuple[dict, dict]:
        data, metadata = super()._repr_mimebundle_(**options)
        picture, words = self.static()
        if picture is None:
            return data | {"text/plain": words}, metadata
        alt = f"{picture.alt} {words}"
        data |= {"image/png": base64.b64encode(picture.png()).decode(), "text/plain": alt}
        return data, metadata | {"image/png": {"alt": alt}}

    def to_html(self) -> str:
        """The explorer as one HTML page that needs neither kernel nor network."""
        return standalone_page(self._esm, self._css, self.get_state(), "Attention explorer")

    def take_photo(self, widget: object, content: dict, buffers: list[memoryview]) -> None:
        """A picture chosen or pasted in the browser; what is wrong with it is said there."""
        if "photo" not in content:
            return
        try:
            self.add_photo(content["photo"], bytes(buffers[0]))
        except ValueError as error:
            self.message = str(error)

    def add_photo(self, name: str, file: bytes) -> None:
        """Adds a picture, cut and scaled to the size of the first, and shows it.

        file: what a JPEG, PNG or other picture file holds. Raises ValueError for anything else.
        """
        height, width = next(iter(self.subjects.values())).image.shape[:2]
        try:
            with Image.open(io.BytesIO(file)) as photo:
                if photo.width * photo.height > PHOTO_PIXELS:
                    raise ValueError(
                        f"{name} has {photo.width} x {photo.height} pixels; up to "
                        f"{PHOTO_PIXELS // 1_000_000} million can be taken. Scale it down first."
                    )
                upright = ImageOps.exif_transpose(photo).convert("RGB")
        except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
            raise ValueError(
                f"{name} could not be read as a picture ({error}). JPEG, PNG and WebP work."
            ) from error
        image = np.asarray(ImageOps.fit(upright, (width, height), Image.Resampling.BILINEAR))
        name = f"photo {len(self.subjects)}: {name}"
        subject = next(iter(self.subjects.values()))
        labels = self.label(image) if self.label else None
        self.subjects[name] = Subject(image, labels, subject.class_names)
        self.views[name] = self.look(image)
        spec, data = self.packed()
        self.spec, self.data = spec, data
        self.picture = name
        self.message = f"Shown: {name}, cut and scaled to {width} x {height} pixels."

    def close(self) -> None:
        self.on_msg(self.taking, remove=True)
        self.unobserve_all()
        self.layout.close()
        super().close()


def chosen_from(known: Mapping[str, object], what: str, name: str) -> str:
    """The name, if there is such a thing; else an error that lists what there is."""
    if name not in known:
        raise traitlets.TraitError(f"No {what} {name!r}; there are {', '.join(known)}.")
    return name


class QuerySliders(Explorer):
    """Menus for picture, network and block; two sliders place the pixel that asks.

    Keyboard: Tab to a control, then the arrow keys. State is also told as a sentence.
    """

    def __init__(
        self,
        subjects: Mapping[str, Subject],
        look: Callable[[np.ndarray], Views],
        xy: tuple[int, int],
        levels: Sequence[int] | None = None,
    ) -> None:
        """As AttentionExplorer takes them."""
        self.subjects = subjects
        self.views = {name: look(one.image) for name, one in subjects.items()}
        found = [
            (network, block, view)
            for networks in self.views.values()
            for network, blocks in networks.items()
            for block, view in blocks.items()
        ]
        height, width = next(iter(subjects.values())).image.shape[:2]
        scales = sorted({s for _, _, view in found for s in view.projections.pool_scales or ()})
        controls = {
            "picture": menu("picture", subjects),
            "network": menu("network", {network: None for network, _, _ in found}),
            "block": menu("block", {block: None for _, block, _ in found}),
            "y": slider("row", xy[1], height - 1),
            "x": slider("column", xy[0], width - 1),
        }
        if scales:
            controls["levels"] = LevelBoxes(tuple(scales), tuple(levels or scales))
        super().__init__(controls, self.draw)

    def draw(
        self,
        picture: str,
        network: str,
        block: str,
        y: int,
        x: int,
        levels: tuple[int, ...] = (),
    ) -> Sequence[Picture | str]:
        """The picture and the sentence for one state of the controls."""
        subject, blocks = self.subjects[picture], self.views[picture][network]
        if block not in blocks:
            return [f"{network} has no {block}; it has {', '.join(blocks)}. Choose that block."]
        title = f"{block}, {network}"
        shown, words = view_picture(subject, blocks[block], y, x, levels, 1.0, title)
        return [words] if shown is None else [shown, words]


Seen = np.ndarray | Scene


def attention_explorer(
    models: Model | Mapping[str, Model],
    pictures: Seen | Mapping[str, Seen],
    levels: Sequence[int] | None = None,
) -> ipywidgets.DOMWidget:
    """Click a pixel and see what it attends to, in every attention block of every model.

    models: a network, or name -> network; a network is a module with attention, or a function that
    finds projections for a picture. pictures: uint8 (H, W, 3) or a scene, or name -> one of them;
    all of one size. levels: the pyramid levels that are on at first, None for all. Raises
    ValueError for a model without attention.
    """
    if not isinstance(models, Mapping):
        models = {"network": models}
    if not isinstance(pictures, Mapping):
        pictures = {"picture": pictures}
    labeller = next((one for one in models.values() if knows_classes(one)), None)
    subjects = {name: subject_of(one, labeller) for name, one in pictures.items()}
    label = None if labeller is None else partial(predict_labels, labeller)
    start = first_question(next(iter(pictures.values())))
    return explorer(subjects, partial(views_of, models), start, levels, label)


def knows_classes(model: Model) -> bool:
    """Whether a network tells the classes of Balloon Town, so that photos can be divided."""
    return isinstance(model, nn.Module) and model.config.num_classes == len(CLASS_NAMES)


def first_question(picture: Seen) -> tuple[int, int]:
    """The pixel (x, y) that asks first: on a scene's first house, else in the middle."""
    if isinstance(picture, Scene):
        y, x = query_on(picture, picture.houses[0])
        return x, y
    height, width = picture.shape[:2]
    return width // 2, height // 2


def explorer(
    subjects: Mapping[str, Subject],
    look: Callable[[np.ndarray], Views],
    xy: tuple[int, int],
    levels: Sequence[int] | None = None,
    label: Callable[[np.ndarray], np.ndarray] | None = None,
) -> ipywidgets.DOMWidget:
    """The explorer over any subjects and views; sliders instead where anywidget is missing."""
    if find_spec("anywidget") is None:
        return QuerySliders(subjects, look, xy, levels)

    return AttentionExplorer(subjects, look, xy, levels, label)
