"""A box with room for pictures and words, which shows them also where no widget can run."""

import asyncio
import gc
import threading
from collections.abc import Callable, Iterable
from functools import partial
from traceback import format_exception

import ipywidgets
from IPython.display import HTML

from annlib.course.controls.keys import guarded
from annlib.course.lines import wrapped
from annlib.course.plots import Picture

Piece = Picture | str | HTML
Click = Callable[[ipywidgets.Button], None]


class Shown(ipywidgets.VBox):
    """What a widget shows below its controls; a still of it goes wherever the notebook goes.

    `place` the controls once; `show` pictures and words as often as they change.
    """

    def __init__(self) -> None:
        super().__init__()
        self.output = ipywidgets.Output()
        self.guard = guarded(self)
        self.clicks: list[tuple[ipywidgets.Button, Click]] = []

    def place(self, *rows: ipywidgets.Widget) -> None:
        """The controls from top to bottom, and what is shown below them."""
        self.children = [*rows, self.output, self.guard]

    def show(self, pieces: Iterable[Piece]) -> None:
        """Puts them into the widget: set, not displayed, so that any cell may run meanwhile."""
        pieces = list(pieces)
        self.guard.alts = [piece.alt for piece in pieces if isinstance(piece, Picture)]
        self.output.outputs = tuple(map(as_output, pieces))

    def refresh(self, draw: Callable[[], Iterable[Piece]]) -> None:
        """Shows what `draw` makes; an error of it is shown, and raised again."""
        if self.comm is None:  # closed before a call that was put off
            return
        gc.collect(1)  # figures shown before: parts that hold each other would pile up
        try:
            self.show(draw())
        except Exception as error:
            self.show_error(error)
            raise

    def show_error(self, error: Exception) -> None:
        """Where learners, and the widget gate, find it. Raise it, too."""
        name, text = type(error).__name__, str(error)
        shown = {"output_type": "error", "ename": name, "evalue": text}
        self.output.outputs = (shown | {"traceback": format_exception(error)},)

    def on_click(self, button: ipywidgets.Button, click: Click) -> None:
        """`click` gets the button, each time that it is pressed, until the widget is closed."""
        click = in_this_thread(click)
        button.on_click(click)
        self.clicks.append((button, click))

    def words(self) -> str:
        """All that is said below the controls."""
        said = [one["text"] for one in self.output.outputs if one["output_type"] == "stream"]
        return "".join(said).strip()

    def still(self) -> tuple[dict, dict]:
        """The first picture, or else the first table, and the words, as a mime bundle."""
        shown = [one for one in self.output.outputs if one["output_type"] == "display_data"]
        shown.sort(key=lambda one: "image/png" not in one["data"])
        data, metadata = (shown[0]["data"], shown[0]["metadata"]) if shown else ({}, {})
        words = self.words() or data.get("text/plain", "")
        return data | ({"text/plain": words} if words else {}), metadata

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple:
        """The widget, and beside it a still for papermill, previews and untrusted notebooks."""
        data, metadata = self.still()
        return super()._repr_mimebundle_() | data, metadata

    def close(self) -> None:
        """Removes the widget, all that is in it, and everything that listens to that."""
        if self.comm is None:  # closed already, or it could not be built
            return
        for button, click in self.clicks:
            button.on_click(click, remove=True)
        self.clicks = []
        for part in [*parts_below(self), self]:
            part.unobserve_all()
        for part in parts_below(self):
            part.close()
        super().close()


def in_this_thread(callback: Callable[..., object]) -> Callable[..., None]:
    """`callback`, which runs in the thread that calls `in_this_thread`, whichever calls it.

    JupyterLab may deliver messages of widgets in a thread of their own (a kernel subshell), while a
    cell runs. From there the call is put off until the event loop of the cells is free: else it
    would draw with a network that the cell trains, or take a step inside another.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # a plain script: no browser sends messages to it
        return callback
    home = threading.get_ident()

    def called(*given: object) -> None:
        if threading.get_ident() == home:
            callback(*given)
        else:
            loop.call_soon_threadsafe(partial(callback, *given))

    return called


def parts_below(widget: ipywidgets.Widget) -> list[ipywidgets.Widget]:
    """Its children, layout and style, and theirs, the innermost first."""
    found = []
    for value in widget.trait_values(sync=True).values():
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, ipywidgets.Widget):
                found += [*parts_below(part), part]
    return found


def as_output(piece: Piece) -> dict:
    """As a notebook keeps it. Text is broken between words."""
    if isinstance(piece, str):
        return {"output_type": "stream", "name": "stdout", "text": f"{wrapped(piece)}\n"}
    if isinstance(piece, HTML):
        data, metadata = {"text/html": piece.data, "text/plain": ""}, {}
    else:
        data, metadata = piece._repr_mimebundle_()
    return {"output_type": "display_data", "data": data, "metadata": metadata}
