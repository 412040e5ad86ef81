"""The base of the widgets: controls, output area, keyboard guard, JavaScript, standalone pages.

No build step and nothing from the network; anywidget is in the `course` extra, and where it is
missing widgets fall back to sliders.

JupyterLab takes single keys as commands wherever the focus is in a cell that is not edited: with a
slider focused, `d d` would delete the cell. It drops the alternative texts of pictures, and gives
the handles of sliders no name.

Every control redraws when it is let go, and fits a narrow window.
"""

import asyncio
import base64
import gc
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from traceback import format_exception
from typing import Any

import ipywidgets
import traitlets
from IPython.display import HTML

from annlib.course.lesson import wrapped
from annlib.course.plots.scenes import Picture

JAVASCRIPT = Path(__file__).with_name("javascript")


def module(*names: str) -> str:
    """These files one after the other; the last has the `export default` that anywidget calls."""
    return "\n".join(f"{(JAVASCRIPT / name).read_text(encoding='utf-8')}" for name in names)


try:
    from anywidget import AnyWidget
except ImportError:  # widgets work, but single keys reach the notebook
    from ipywidgets import HTML as AnyWidget

GUARDED = "annlib-keys"  # CSS class of the boxes whose keys stay inside

GUARD = module("guard.js")


# JupyterLab marks each widget whose kernel is gone, and draws a broken chain before it.
GONE = f"""
.{GUARDED} .jupyter-widgets-disconnected::before {{ content: none; }}
.{GUARDED}.jupyter-widgets-disconnected::before {{
  content: "The kernel was restarted, so this widget no longer answers: run its cell again.";
  font: inherit; color: inherit; display: block; padding: 0.5em; border: 2px solid;
}}
"""


class KeyGuard(AnyWidget):
    """Shows nothing; it keeps keys inside its box, and names what JupyterLab leaves without a name.

    `alts` are the alternative texts of the pictures in the box, in their order.
    """

    _esm = GUARD
    _css = GONE
    alts = traitlets.List(traitlets.Unicode()).tag(sync=True)


def guarded(box: ipywidgets.Box) -> KeyGuard:
    """Marks a box; the guard that is returned has to be one of its children."""
    box.add_class(GUARDED)
    return KeyGuard(layout={"display": "none"})


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


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{css}
body {{ margin: .5rem; }}</style></head><body><main></main>
<script type="application/json" id="state">{state}</script>
<script type="module">
const state = JSON.parse(document.getElementById("state").textContent, (key, value) =>
  value?.base64 === undefined ? value : bytesOf(value.base64));
function bytesOf(text) {{
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new DataView(bytes.buffer);
}}
const model = {{ // no kernel behind it: what is set stays in this page
  get: (name) => state[name],
  set: (name, value) => {{ state[name] = value; }},
  save_changes() {{}}, on() {{}}, off() {{}}, send() {{}},
}};
const source = {module};
const address = URL.createObjectURL(new Blob([source], {{ type: "text/javascript" }}));
const {{ default: widget }} = await import(address);
widget.render({{ model, el: document.querySelector("main") }});
</script></body></html>
"""


def standalone_page(esm: str, css: str, state: Mapping[str, object], title: str) -> str:
    """HTML that shows a widget without a kernel.  state: its synced traits"""
    kept = {
        name: value
        for name, value in state.items()
        if not name.startswith("_") and name not in ("layout", "tabbable", "tooltip")
    }
    if "spec" in kept:
        kept["spec"] = kept["spec"] | {"takes_photos": False}  # nobody could look at them
    return PAGE.format(title=escape(title), css=css, state=for_script(kept), module=for_script(esm))


def saved_page(saved: Mapping[str, object], title: str) -> str | None:
    """The page of a widget as a notebook keeps it; None for one without a module of its own.

    saved: {"state": ..., "buffers": [{"path": ["data"], "data": base64}, ...]} of one model.
    """
    state = dict(saved["state"])
    if "_esm" not in state or "spec" not in state:
        return None
    for buffer in saved.get("buffers", []):
        (name,) = buffer["path"]
        state[name] = base64.b64decode(buffer["data"])
    return standalone_page(state["_esm"], state.get("_css", ""), state, title)


def for_script(value: object) -> str:
    """JSON that cannot end the <script> it stands in; bytes as {"base64": ...}."""
    return json.dumps(value, default=as_base64).replace("<", "\\u003c")


def as_base64(value: object) -> dict[str, str]:
    return {"base64": base64.b64encode(bytes(value)).decode()}


LONG = {"width": "40em", "max_width": "100%"}  # in a narrow window the read-out stays in sight
STYLE = {"description_width": "8em"}


def menu(name: str, choices: Iterable, value: object = None) -> ipywidgets.Dropdown:
    """A list to choose from: of names, of (name, value), or the names of a mapping.

    value: what is chosen at first, the first one if there is no such.
    """
    options = list(choices)
    named = isinstance(options[0], tuple)
    first = (options[0][1] if named else options[0]) if value is None else value
    return ipywidgets.Dropdown(
        options=options, value=first, description=name, layout=LONG, style=STYLE
    )


def slider(name: str, value: int, last: int, first: int = 0, step: int = 1) -> ipywidgets.IntSlider:
    """Whole numbers from `first` to `last`."""
    return ipywidgets.IntSlider(
        value, first, last, step, description=name, continuous_update=False,
        layout=LONG, style=STYLE,
    )  # fmt: skip


def measure(name: str, value: float, last: float, step: float) -> ipywidgets.FloatSlider:
    """From 0 to `last`, in steps."""
    return ipywidgets.FloatSlider(
        value, min=0.0, max=last, step=step, description=name, continuous_update=False,
        layout=LONG, style=STYLE,
    )  # fmt: skip


def choice(
    name: str, values: Sequence | Mapping[str, object], value: object
) -> ipywidgets.SelectionSlider:
    """A slider over a few values; a mapping has a name for each."""
    options = list(values.items()) if isinstance(values, Mapping) else list(values)
    return ipywidgets.SelectionSlider(
        options=options, value=value, description=name, continuous_update=False,
        layout=LONG, style=STYLE,
    )  # fmt: skip


class LevelBoxes(ipywidgets.HBox):
    """One box to tick for each pyramid level; `value` holds the ticked ones in their order."""

    value = traitlets.Tuple()

    def __init__(self, levels: tuple[int, ...], chosen: tuple[int, ...]) -> None:
        self.levels = levels
        boxes = [
            ipywidgets.Checkbox(
                level in chosen, description=f"{level}", indent=False, layout={"width": "4em"}
            )
            for level in levels
        ]
        super().__init__([ipywidgets.Label("levels"), *boxes], layout={"flex_flow": "row wrap"})
        self.boxes = boxes
        take = in_this_thread(self.take)
        for box in boxes:
            box.observe(take, "value")
        self.take()

    def take(self, change: object = None) -> None:
        ticked = zip(self.levels, self.boxes, strict=True)
        self.value = tuple(level for level, box in ticked if box.value)


class Explorer(Shown):
    """Draws anew whenever a control changes; Tab leads to the controls, arrow keys move them."""

    controls: Mapping[str, ipywidgets.Widget] = {}  # of one that could not be built, and is closed

    def __init__(
        self,
        controls: Mapping[str, ipywidgets.Widget],
        draw: Callable[..., Iterable[Piece]],
        rows: Iterable[ipywidgets.Widget] = (),
    ) -> None:
        """draw: the value of each control, under its name -> the pictures and words to show

        rows: more widgets below the controls, which `draw` gets nothing of
        """
        super().__init__()
        self.controls, self.drawing = dict(controls), draw
        redraw = in_this_thread(self.redraw)
        for control in self.controls.values():
            control.observe(redraw, "value")
        self.place(ipywidgets.VBox(list(self.controls.values())), *rows)
        self.redraw()

    def redraw(self, change: object = None) -> None:
        """Shows the present state of the controls. An error is shown in the widget, too."""
        self.refresh(lambda: self.drawing(**self.values()))

    def values(self) -> dict[str, Any]:
        """The present value of each control, under its name."""
        return {name: control.value for name, control in self.controls.items()}

    def close(self) -> None:
        """Removes the widget and everything that listens to its controls."""
        super().close()
        self.controls = {}
