"""The check of the set-up: what this machine offers, and whether a click arrives."""

import platform

import ipywidgets
import torch

from annlib.course.controls.shown import Shown


class SetUp(Shown):
    """What this machine offers, one line each, and a button that tells if widgets get through."""

    def __init__(self) -> None:
        super().__init__()
        self.clicked = False
        self.button = ipywidgets.Button(description="Click me", button_style="primary")
        self.on_click(self.button, self.note_click)
        self.place(self.button)
        self.show(("○ Widgets: waiting for your click (or Tab, then Space).",))

    def note_click(self, button: ipywidgets.Button) -> None:
        self.clicked = True
        self.show(("✓ Widgets: your click has reached Python, and this answer you.",))


def set_up() -> SetUp:
    """Prints what this machine offers; returns the button to display."""
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none, and none is needed"
    print(f"✓ Python {platform.python_version()}, PyTorch {torch.__version__}")
    print(f"✓ {torch.get_num_threads()} CPU threads; GPU: {gpu}")
    return SetUp()
