"""The attention explorer as the browser draws it: queries and keys go there once, clicks stay."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence

import anywidget
import numpy as np
import traitlets
from PIL import Image, ImageOps, UnidentifiedImageError

from annlib.course.controls.esm import JAVASCRIPT, module
from annlib.course.controls.packing import pack
from annlib.course.controls.shown import in_this_thread
from annlib.course.controls.standalone import standalone_page
from annlib.course.figures.views import view_picture
from annlib.course.plots import Picture
from annlib.course.views import Subject, View, Views

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
