"""The base of all widgets: controls, what is drawn below them, and pages that need no kernel."""

import asyncio
import base64
import gc
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from string import Template
from traceback import format_exception

import anywidget
import ipywidgets
import traitlets
from IPython.display import HTML

from annlib.course.lesson import wrapped
from annlib.course.plots.style import FigureWithAlt

JAVASCRIPT = Path(__file__).with_name("javascript")
GUARDED = "annlib-keys"  # CSS class of the boxes whose keys stay inside


def module(*names: str) -> str:
    """These files joined; the last has the `export default` that anywidget calls."""
    return "\n".join((JAVASCRIPT / name).read_text(encoding="utf-8") for name in names)


class KeyGuard(anywidget.AnyWidget):
    """Shows nothing; keeps keys inside its box, and names what JupyterLab leaves without a name.

    JupyterLab takes single keys as commands: with a slider focused, `d d` would delete the cell. It
    drops the texts of images, which `alts` has in their order, and does not name slider handles.
    The CSS replaces the broken chain that it draws before each widget whose kernel is gone.
    """

    _esm = module("guard.js")
    _css = module("guard.css")
    alts = traitlets.List(traitlets.Unicode()).tag(sync=True)


Piece = FigureWithAlt | str | HTML


def html_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> HTML:
    from pandas import DataFrame  # takes half a second, which lessons without a table can spare

    table = DataFrame(list(lines), columns=head).to_html(index=False, border=0)
    return HTML(table.replace("<th>", '<th scope="col">'))


class Explorer(ipywidgets.VBox):
    """Redraws whenever a control changes; a still of it is shown wherever no widget can run."""

    def __init__(self, draw: Callable, *controls: ipywidgets.Widget, rows: Sequence = ()) -> None:
        """draw: values of the controls -> a figure, or figures, words and tables to show

        A single figure is shown with its text alternative below it. rows: more widgets below the
        controls, whose values `draw` does not get.
        """
        super().__init__()
        self.add_class(GUARDED)
        self.draw, self.controls = draw, {one.description: one for one in controls}
        self.output, self.guard = ipywidgets.Output(), KeyGuard(layout={"display": "none"})
        self.on_close: list[Callable[[], object]] = []
        for control in controls:
            control.observe(in_this_thread(self.redraw), "value")
        self.children = [ipywidgets.VBox(controls), *rows, self.output, self.guard]
        self.redraw()

    def redraw(self, change: object = None) -> None:
        """Draws the present state of the controls; an error is shown, and raised again."""
        if self.comm is None:  # closed before a call that was put off
            return
        gc.collect(1)  # figures shown before: parts that hold each other would pile up
        try:
            drawn = self.draw(*(one.value for one in self.controls.values()))
            self.show((drawn, drawn.alt) if isinstance(drawn, FigureWithAlt) else drawn)
        except Exception as error:
            self.show_error(error)
            raise

    def show(self, pieces: Iterable[Piece]) -> None:
        """Puts them into the widget: set, not displayed, so that any cell may run meanwhile."""
        outputs, alts = [], []
        for piece in pieces:
            if isinstance(piece, str):
                said = {"name": "stdout", "text": f"{wrapped(piece)}\n"}
                outputs.append({"output_type": "stream"} | said)
                continue
            if isinstance(piece, HTML):
                data, metadata = {"text/html": piece.data, "text/plain": ""}, {}
            else:
                data, metadata = piece._repr_mimebundle_()
                alts.append(piece.alt)
            outputs.append({"output_type": "display_data", "data": data, "metadata": metadata})
        self.guard.alts, self.output.outputs = alts, tuple(outputs)

    def show_error(self, error: Exception) -> None:
        """Where learners, and the widget gate, find it. Raise it, too."""
        shown = {"output_type": "error", "ename": type(error).__name__, "evalue": str(error)}
        self.output.outputs = (shown | {"traceback": format_exception(error)},)

    def on_click(self, button: ipywidgets.Button, click: Callable[[], object]) -> None:
        """Calls `click` each time that the button is pressed, until the widget is closed."""
        called = in_this_thread(lambda _: click())
        button.on_click(called)
        self.on_close.append(lambda: button.on_click(called, remove=True))

    def words(self) -> str:
        """All text below the controls."""
        return "".join(one.get("text", "") for one in self.output.outputs).strip()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple:
        """The widget, and its still: the first image, or else the first table, and the words."""
        shown = [one for one in self.output.outputs if one["output_type"] == "display_data"]
        shown.sort(key=lambda one: "image/png" not in one["data"])
        data, metadata = (shown[0]["data"], shown[0]["metadata"]) if shown else ({}, {})
        if words := self.words() or data.get("text/plain", ""):
            data = data | {"text/plain": words}
        return super()._repr_mimebundle_() | data, metadata

    def close(self) -> None:
        """Removes the widget, all that is in it, and everything that listens to that."""
        if self.comm is None:  # closed already, or it could not be built
            return
        for undo in self.on_close:
            undo()
        for part in [*(parts := parts_below(self)), self]:
            part.unobserve_all()
        for part in parts:
            part.close()
        super().close()
        self.controls = {}


def in_this_thread(callback: Callable[..., object]) -> Callable[..., None]:
    """`callback`, which runs in the thread that calls `in_this_thread`, whichever calls it.

    JupyterLab may deliver messages of widgets in a thread of their own (a kernel subshell), while a
    cell runs. From there the call is put off until the event loop of the cells is free. Otherwise
    it would draw with a network that the cell trains, or take a step inside another.
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


# In a narrow window the read-out stays in sight.
LOOK = {"layout": {"width": "40em", "max_width": "100%"}, "style": {"description_width": "8em"}}
SLIDER = LOOK | {"continuous_update": False}  # redraws when it is let go


def menu(name: str, choices: Iterable, value: object = None) -> ipywidgets.Dropdown:
    """A list to choose from, of names or (name, value); without a value its first is chosen."""
    chosen = {} if value is None else {"value": value}
    return ipywidgets.Dropdown(options=list(choices), description=name, **chosen, **LOOK)


def slider(
    name: str, value: float, last: float, first: float = 0, step: float = 1
) -> ipywidgets.IntSlider | ipywidgets.FloatSlider:
    """From `first` to `last`, in steps; whole numbers if the step is one."""
    kind = ipywidgets.IntSlider if isinstance(step, int) else ipywidgets.FloatSlider
    return kind(value=value, min=first, max=last, step=step, description=name, **SLIDER)


def choice(name: str, values: Sequence | Mapping, value: object) -> ipywidgets.SelectionSlider:
    """A slider over a few values; a mapping has a name for each."""
    options = list(values.items()) if isinstance(values, Mapping) else list(values)
    return ipywidgets.SelectionSlider(options=options, value=value, description=name, **SLIDER)


def saved_page(saved: Mapping[str, object], title: str) -> str | None:
    """HTML that shows a widget without a kernel; None for one without a module of its own.

    saved: in a notebook, {"state": traits, "buffers": [{"path": ["data"], "data": base64}, ...]}
    """
    state, unused = dict(saved["state"]), ("layout", "tabbable", "tooltip")
    if "_esm" not in state or "spec" not in state:
        return None
    state |= {one["path"][0]: base64.b64decode(one["data"]) for one in saved.get("buffers", [])}
    kept = {name: one for name, one in state.items() if name[0] != "_" and name not in unused}
    kept["spec"] = kept["spec"] | {"takes_photos": False}  # no network could process them
    parts = {"title": escape(title), "css": state.get("_css", ""), "state": for_script(kept)}
    return Template(module("page.html")).substitute(parts, module=for_script(state["_esm"]))


def for_script(value: object) -> str:
    """JSON that cannot end the <script> it stands in; bytes as {"base64": ...}."""
    text = json.dumps(value, default=lambda one: {"base64": base64.b64encode(bytes(one)).decode()})
    return text.replace("<", "\\u003c")
