"""Keys that are pressed in a widget belong to the widget, not to the notebook around it.

JupyterLab takes single keys as commands wherever the focus is in a cell that is not edited: with a
slider focused, `d d` would delete the cell.
"""

import ipywidgets

try:
    from anywidget import AnyWidget
except ImportError:  # widgets work, but single keys reach the notebook
    from ipywidgets import HTML as AnyWidget

GUARDED = "annlib-keys"  # CSS class of the boxes whose keys stay inside

# Lab listens at the document, when the event has bubbled up to it; the body comes just before. Keys
# with Ctrl or Cmd go on: they are no single letters, and people expect Ctrl+S to save.
LISTEN = f"""
const keepInside = (event) => {{
  if (event.target.closest?.(".{GUARDED}") && !event.ctrlKey && !event.metaKey) {{
    event.stopPropagation();
  }}
}};
export default {{
  initialize() {{
    if (!document.body.dataset.annlibKeys) {{
      document.body.dataset.annlibKeys = "kept inside";
      document.body.addEventListener("keydown", keepInside);
    }}
  }},
}};
"""


# JupyterLab marks each widget whose kernel is gone, and draws a broken chain before it.
GONE = f"""
.{GUARDED} .jupyter-widgets-disconnected::before {{ content: none; }}
.{GUARDED}.jupyter-widgets-disconnected::before {{
  content: "The kernel was restarted, so this widget no longer answers: run its cell again.";
  font: inherit; color: inherit; display: block; padding: 0.5em; border: 2px solid;
}}
"""


class KeyGuard(AnyWidget):
    """Shows nothing; once it is on a page, keys stay inside all boxes marked with GUARDED."""

    _esm = LISTEN
    _css = GONE


def guarded(box: ipywidgets.Box) -> KeyGuard:
    """Marks a box; the guard that is returned has to be one of its children."""
    box.add_class(GUARDED)
    return KeyGuard(layout={"display": "none"})
