"""Widgets on which a pixel is chosen: attention explorer, pixel picker, receptive field.

All is drawn in the browser, and what the attention explorer shows is computed there, too.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import anywidget
import numpy as np
import traitlets
from matplotlib import colormaps
from PIL import Image, ImageOps
from torch import nn

from annlib.config import IGNORE_INDEX
from annlib.course.attention import Projections, predict_labels, projections_of, query_on
from annlib.course.interventions import inpaint, low_and_high, projections_across, with_levels
from annlib.course.plots import attention as plots
from annlib.course.plots.scenes import attention_map, receptive_field, say_attention
from annlib.course.plots.style import BLOCK_COLOURS, FigureWithAlt
from annlib.course.receptive_field import REDUCE, Viewer
from annlib.course.widgets.base import Explorer, in_this_thread, menu, module
from annlib.data.balloon_town.layout import CLASS_NAMES, Scene
from annlib.data.io import read_image
from annlib.engine.predictor import Network
from annlib.model.ann import ANN
from annlib.model.baselines import Baseline


class PixelWidget(anywidget.AnyWidget):
    """An image on a canvas; `xy` is the column and the row of the chosen pixel: observe or set it.

    A subclass says the `size()` of its image, height and width, and what its `still()` shows.
    """

    _css = module("attention.css")
    xy = traitlets.Tuple(traitlets.Int(), traitlets.Int()).tag(sync=True)

    @traitlets.validate("xy")
    def inside(self, proposal: dict) -> tuple[int, int]:
        x, y = proposal["value"]
        height, width = self.size()
        if not (0 <= x < width and 0 <= y < height):
            raise traitlets.TraitError(
                f"{proposal['trait'].name} = {(x, y)} is outside the image: columns go from 0 to "
                f"{width - 1}, rows from 0 to {height - 1}."
            )
        return x, y

    def _repr_mimebundle_(self, **options: object) -> tuple[dict, dict]:
        """The widget, and a still for pages where no widget can run."""
        (data, metadata), (figure, words) = super()._repr_mimebundle_(**options), self.still()
        if figure is None:
            return data | {"text/plain": words}, metadata
        still = FigureWithAlt(figure.figure, f"{figure.alt} {words}".strip())._repr_mimebundle_()
        return data | still[0], metadata | still[1]

    def close(self) -> None:
        self.unobserve_all()
        self.layout.close()
        super().close()


# A network, or a function: image -> path of a block -> its projections
Model = nn.Module | Callable[[np.ndarray], Mapping[str, Projections]]


class Subject(NamedTuple):
    """An image and its classes."""

    image: np.ndarray  # uint8 (H, W, 3)
    labels: np.ndarray | None = None  # class indices (H, W); None: weights are not summed by class
    names: Sequence[str] = CLASS_NAMES


class View(NamedTuple):
    """One block of one network on one image."""

    projections: Projections
    block: str  # whose colour it has: a key of BLOCK_COLOURS
    query_map: plots.QueryMap | None = None  # drawn instead of the image


Views = Mapping[str, Mapping[str, View]]  # network -> block -> view, by their names in the menus


def views_of(models: Mapping[str, Model], image: np.ndarray) -> Views:
    """All attention blocks of all networks on an image; a model without any raises ValueError."""
    views: dict[str, dict[str, View]] = {}
    for name, model in models.items():
        found = projections_of(model, image) if isinstance(model, nn.Module) else model(image)
        views[name] = {}
        for path, one in found.items():
            part = path.partition(".")[0]
            block = part if part in ("afnb", "apnb") else "apnb" if one.pool_scales else "nonlocal"
            views[name]["non-local" if block == "nonlocal" else block.upper()] = View(one, block)
    return views


def subject_of(
    image: np.ndarray | Scene, model: nn.Module | None = None, names: Sequence[str] = CLASS_NAMES
) -> Subject:
    """A scene with its labels, or uint8 (H, W, 3) with the model's prediction; else ValueError.

    names: of the model's classes
    """
    if isinstance(image, Scene):
        return Subject(image.image, image.labels)
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"This image has shape {image.shape} and type {image.dtype}, but images are uint8 "
            "(H, W, 3) in RGB, 0 to 255. Convert a PIL image: np.asarray(it.convert('RGB'))."
        )
    return Subject(image, None if model is None else predict_labels(model, image), names)


def pack(subjects: Mapping[str, Subject], views: Mapping[str, Views]) -> tuple[dict, bytes]:
    """Everything that the explorer shows: what there is, and all numbers as one blob.

    Each array is named by its offset, a multiple of 4 so that it is read in place, and length in
    bytes. Raises ValueError for projections of another image than their subject's.
    """
    blob = bytearray()

    def add(array: np.ndarray, dtype: type) -> tuple[int, int]:
        part = np.ascontiguousarray(array, dtype).tobytes()
        place = len(blob), len(part)
        blob.extend(part + bytes(-len(part) % 4))
        return place

    colours, images = add(255 * colormaps["cividis"](np.arange(256))[:, :3] + 0.5, np.uint8), []
    for name, one in subjects.items():
        (height, width), pixels = one.image.shape[:2], add(one.image, np.uint8)
        labels = None if one.labels is None else add(one.labels, np.uint8)
        packed = {"name": name, "height": height, "width": width, "names": list(one.names)}
        images.append(packed | {"pixels": pixels, "labels": labels})
    packed_views, every = [], [(a, b, c) for a in views for b in views[a] for c in views[a][b]]
    for image, network, block in every:
        found, colour, query_map = views[image][network][block]
        if found.image_size != subjects[image].image.shape[:2]:
            raise ValueError(
                f"The projections are of an image of {found.image_size}, but {image} has "
                f"{subjects[image].image.shape[:2]}: a click would select another position."
            )
        names = {"image": image, "network": network, "block": block}
        (rows, columns), channels = found.map_size, found.queries.shape[1]
        levels = found.pool_scales and list(found.pool_scales)
        shape = {"rows": rows, "columns": columns, "channels": channels, "levels": levels}
        shape["scale"], values = found.scale, found.values
        arrays = {"queries": add(found.queries, np.float32), "keys": add(found.keys, np.float32)}
        arrays["values"] = None if values is None else add(values, np.float32)
        titles, strength = query_map and query_map[1:], query_map and add(query_map[0], np.float32)
        look = {"colour": BLOCK_COLOURS[colour], "query_map": strength, "titles": titles}
        packed_views.append(names | shape | arrays | look)
    spec = {"colours": colours, "images": images, "views": packed_views, "takes_photos": True}
    return spec, bytes(blob)


MAP = "weights as a map"  # the right panel while no network is compared
PHOTO_PIXELS = 50_000_000
PAGE = "page_parts.js", "steps.js", "files.js", "explorer_page.js"


class AttentionExplorer(PixelWidget):
    """Click, drag or move by arrow keys the query pixel; menus choose image, network and block.

    It goes on without the kernel. The state can be read and set from here: `image`, `network`,
    `block`, `beside` (a second network, or MAP), `levels`, `factor` of all scores, and `xy`. With
    `steps` it computes the output for one key, the pixel `key`, or [] for that of most weight, and
    one `channel` of its value, or -1 for that of the largest product.
    """

    _esm = module("stage.js", "attention.js", "explorer.js", *PAGE)
    spec = traitlets.Dict().tag(sync=True)
    data = traitlets.Bytes().tag(sync=True)
    image = traitlets.Unicode().tag(sync=True)
    network = traitlets.Unicode().tag(sync=True)
    block = traitlets.Unicode().tag(sync=True)
    beside = traitlets.Unicode(MAP).tag(sync=True)
    levels = traitlets.List(traitlets.Int()).tag(sync=True)
    factor = traitlets.Float(1.0).tag(sync=True)
    steps = traitlets.Bool().tag(sync=True)
    key = traitlets.List(traitlets.Int()).tag(sync=True)
    channel = traitlets.Int(-1).tag(sync=True)
    message = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        images: Mapping,
        find_views: Callable,
        model: nn.Module | None,
        levels: tuple = (),
        class_names: Sequence[str] = CLASS_NAMES,
    ) -> None:
        """images: name -> scene or uint8 (H, W, 3). find_views: image -> Views

        model: predicts classes, of these names. levels: on at first, none for all. The query pixel
        is at first on the first house, or in the middle of an image.
        """
        self.subject_of = partial(subject_of, model=model, names=class_names)
        self.subjects = {name: self.subject_of(one) for name, one in images.items()}
        self.views = {name: find_views(one.image) for name, one in self.subjects.items()}
        self.find_views, self.model = find_views, model
        spec, data = pack(self.subjects, self.views)
        start = {key: spec["views"][0][key] for key in ("image", "network", "block")}
        levels = levels or {level for view in spec["views"] for level in view["levels"] or ()}
        first = next(iter(images.values()))
        if isinstance(first, Scene):
            y, x = query_on(first, first.houses[0])
        else:
            y, x = (side // 2 for side in first.shape[:2])
        super().__init__(spec=spec, data=data, xy=(x, y), levels=sorted(levels), **start)
        self.receiving = in_this_thread(self.receive)
        self.on_msg(self.receiving)

    def size(self) -> tuple[int, int]:
        return self.subjects[self.image].image.shape[:2]

    @traitlets.validate("image", "network")
    def known(self, proposal: dict) -> str:
        what, name = proposal["trait"].name, proposal["value"]
        there = self.subjects if what == "image" else next(iter(self.views.values()))
        if name not in there:
            raise traitlets.TraitError(f"No {what} {name!r}; there are {', '.join(there)}.")
        return name

    @traitlets.validate("key")
    def inside_or_none(self, proposal: dict) -> list[int]:
        return list(self.inside(proposal)) if proposal["value"] else []

    def still(self) -> tuple[FigureWithAlt | None, str]:
        (x, y), subject = self.xy, self.subjects[self.image]
        blocks = self.views[self.image][self.network]
        view = blocks.get(self.block) or next(iter(blocks.values()))  # networks differ in blocks
        scales, title = view.projections.pool_scales, f"{self.block}, {self.network}"
        chosen = None if scales is None else [scale for scale in scales if scale in self.levels]
        if chosen == []:
            return None, "S = 0: there are no keys. Tick at least one level."
        found = view.projections.attention(chosen, self.factor)
        words = say_attention(found, subject.labels, y, x, subject.names)
        if view.query_map:
            return plots.two_maps(subject.image, view.query_map, found, y, x), words
        draw = plots.anchor_map if scales else attention_map
        return draw(subject.image, found, y, x, title, view.block), words

    def receive(self, widget: object, content: dict, buffers: list[memoryview]) -> None:
        """A photo from the browser, or the size of a rectangle; an error is shown there."""
        self.message = ""  # so that the same words are sent again
        try:
            if "photo" in content:
                self.add_photo(content["photo"], bytes(buffers[0]))
            elif "inpaint" in content:
                self.inpaint(*content["inpaint"])
        except ValueError as error:
            self.message = str(error)

    def add_photo(self, name: str, file: bytes) -> None:
        """Adds an image file, cut and scaled like the first image, and shows it, or ValueError."""
        height, width = next(iter(self.subjects.values())).image.shape[:2]
        with (
            suppress(OSError, Image.DecompressionBombError),  # which `read_image` explains
            Image.open(io.BytesIO(file)) as photo,
        ):
            if photo.width * photo.height > PHOTO_PIXELS:
                said = f"{name} has {photo.width} x {photo.height} pixels; the limit is "
                raise ValueError(f"{said}{PHOTO_PIXELS // 1_000_000} million. Scale it down first.")
        upright = Image.fromarray(read_image(Path(name), file).permute(1, 2, 0).numpy())
        image = np.asarray(ImageOps.fit(upright, (width, height), Image.Resampling.BILINEAR))
        name = f"photo {len(self.subjects)}: {name}"
        self.add(name, image)
        self.message = f"Shown: {name}, cut and scaled to {width} x {height} pixels."

    def add(self, name: str, image: np.ndarray) -> None:
        """Adds an image, uint8 (H, W, 3), and shows it."""
        self.subjects[name] = self.subject_of(image)
        self.views[name] = self.find_views(image)
        self.spec, self.data = pack(self.subjects, self.views)
        self.image = name

    def inpaint(self, height: int, width: int) -> None:
        """Shows the image with a rectangle around the chosen pixel in the image's mean colour.

        Says how many predictions outside of the rectangle change. The part of the rectangle outside
        the image is cut off. Raises ValueError for sides below 1.
        """
        if min(height, width) < 1:
            raise ValueError(f"The rectangle is {height} x {width}: give 1 pixel or more each.")
        (x, y), before = self.xy, self.subjects[self.image].image
        rows = slice(max(0, y - height // 2), y - height // 2 + height)
        columns = slice(max(0, x - width // 2), x - width // 2 + width)
        after, source = inpaint(before, rows, columns), self.image
        rectangle = f"{height} x {width} at row {y}, column {x}"
        self.add(f"{source}, inpainted {rectangle}", after)
        said = f"Inpainted {rectangle} of {source} with its mean colour."
        if self.model is not None:
            differs = predict_labels(self.model, before) != predict_labels(self.model, after)
            outside = np.ones_like(differs)
            outside[rows, columns] = False
            share = differs[outside].mean() if outside.any() else 0.0
            said += f" The predicted class changes for {share:.1%} of the pixels outside of it."
        self.message = f"{said} The menu of images leads back."

    def close(self) -> None:
        self.on_msg(self.receiving, remove=True)
        super().close()


def attention_explorer(
    models: Model | Network | Mapping[str, Model | Network],
    images: np.ndarray | Scene | Path | Mapping,
    steps: bool = False,
) -> AttentionExplorer:
    """Click a pixel and see what it attends to, in every attention block of every model.

    models: a network, or name -> network; a network is a module with attention, a function that
    finds projections for an image, or what `find_network` gives: then photos are cut and scaled to
    the size that the first such network was trained at, and its predicted classes have its names.
    images: uint8 (H, W, 3), a file or a scene, or name -> one of them; all of one size. steps: open
    the computation for one key. Raises ValueError for a model without attention.
    """
    models = models if isinstance(models, Mapping) else {"network": models}
    images = images if isinstance(images, Mapping) else {"image": images}
    images = {
        name: read_image(one).permute(1, 2, 0).numpy() if isinstance(one, Path) else one
        for name, one in images.items()
    }
    first = next((name for name, one in models.items() if isinstance(one, Network)), None)
    known, size, names = models.get(first), None, CLASS_NAMES
    if known:
        size, names = known.test.base_size, known.spec.class_names
    models = {k: one.load() if isinstance(one, Network) else one for k, one in models.items()}
    if size:
        images = {name: cut(one, size) for name, one in images.items()}
    nets = (one for one in models.values() if isinstance(one, nn.Module))
    town = next((net for net in nets if net.config.num_classes == len(CLASS_NAMES)), None)
    model = models[first] if known else town
    found = AttentionExplorer(images, partial(views_of, models), model, class_names=names)
    found.steps = steps
    return found


def cut(image: np.ndarray | Scene, size: tuple[int, int]) -> np.ndarray | Scene:
    """A photo, cut to the aspect of (height, width) and scaled to it; a scene stays as it is."""
    if isinstance(image, Scene):
        return image
    photo = Image.fromarray(subject_of(image).image)
    return np.asarray(ImageOps.fit(photo, size[::-1], Image.Resampling.BILINEAR))


ROLES = {"high attends to low (AFNB)": False, "low attends to high (swapped)": True}


def two_maps(model: ANN, scene: Scene) -> AttentionExplorer:
    """Click a pixel of the query map, exchange the roles of the maps; unfit maps: ValueError."""

    def find_views(image: np.ndarray) -> Views:
        low, high = (one[0].norm(dim=0).cpu().numpy() for one in low_and_high(model, image))
        straight = high, "High-level map: queries", "Low-level map: keys"
        maps = straight, (low, "Low-level map: queries", "High-level map: keys")
        across = partial(projections_across, model, image)
        return {"ANN": {name: View(across(n), "afnb", maps[n]) for name, n in ROLES.items()}}

    return AttentionExplorer({"scene": scene}, find_views, model)


LEVELS = (1, 2, 3, 4, 6, 8, 12, 16)
ANCHORS, POSITIONS = "ticked levels", "every position (lesson 2)"


def anchor_map(model: Baseline, scene: Scene) -> AttentionExplorer:
    """Tick levels, click a pixel, see its cells; no APNB or non-local block: ValueError."""
    anchored, ordinary = with_levels(model, LEVELS), with_levels(model, None)

    def find_views(image: np.ndarray) -> Views:
        nets = anchored, ordinary
        cells, positions = (projections_of(net, image)["context.attention"] for net in nets)
        non_local = {"non-local": View(positions, "nonlocal")}
        return {ANCHORS: {"APNB": View(cells, "apnb")}, POSITIONS: non_local}

    return AttentionExplorer({"scene": scene}, find_views, model, (1, 3, 6, 8))


class PixelPicker(PixelWidget):
    """A scene on which a pixel is chosen. Hovering shows row, column and class."""

    _esm = module("stage.js", "picker.js")
    title = traitlets.Unicode("Choose a pixel").tag(sync=True)
    width = traitlets.Int().tag(sync=True)
    height = traitlets.Int().tag(sync=True)
    pixels = traitlets.Bytes().tag(sync=True)
    labels = traitlets.Bytes().tag(sync=True)
    class_names = traitlets.List(traitlets.Unicode(), CLASS_NAMES).tag(sync=True)

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        height, width = scene.labels.shape
        size = {"width": width, "height": height, "xy": query_on(scene, scene.houses[0])[::-1]}
        labels = scene.labels.astype(np.uint8).tobytes()
        super().__init__(pixels=scene.image.tobytes(), labels=labels, **size)

    def size(self) -> tuple[int, int]:
        return self.scene.labels.shape

    def still(self) -> tuple[FigureWithAlt, str]:
        x, y = self.xy
        label = self.scene.labels[y, x]
        name = "border" if label == IGNORE_INDEX else CLASS_NAMES[label]
        return plots.picked(self.scene.image, y, x, self.title, name), ""


class ReceptiveField(Explorer):
    """A menu for the depth; the pixel is chosen on the `picker`."""

    def __init__(self, model: Baseline, scene: Scene) -> None:
        """model: a network of one branch with an attention block, else ValueError."""
        viewer = Viewer(model, scene.image)
        self.picker = PixelPicker(scene)

        def draw(depth: str) -> FigureWithAlt:
            x, y = self.picker.xy
            return receptive_field(scene.image, viewer.view(depth, y, x), (y, x), depth)

        super().__init__(draw, menu("depth", viewer.layers, REDUCE), rows=[self.picker])
        self.picker.observe(in_this_thread(self.redraw), "xy")
