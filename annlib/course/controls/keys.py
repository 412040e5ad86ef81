"""What a box of controls needs from the page: keys that stay inside, and names for all.

JupyterLab takes single keys as commands wherever the focus is in a cell that is not edited: with a
slider focused, `d d` would delete the cell. It drops the alternative texts of pictures, and gives
the handles of sliders no name.
"""

import ipywidgets
import traitlets

from annlib.course.controls.esm import module

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
