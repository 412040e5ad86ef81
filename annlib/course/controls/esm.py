"""The browser's half of a widget: files of JavaScript joined to the one module that it has to be.

No build step and nothing from the network; anywidget is in the `course` extra, and where it is
missing widgets fall back to sliders.
"""

from pathlib import Path

JAVASCRIPT = Path(__file__).with_name("javascript")


def module(*names: str) -> str:
    """These files one after the other; the last has the `export default` that anywidget calls."""
    return "\n".join(f"{(JAVASCRIPT / name).read_text(encoding='utf-8')}" for name in names)
