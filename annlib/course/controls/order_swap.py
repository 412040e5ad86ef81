"""A menu of layers and a slider for the cells: may the layer change places with the means?"""

from collections.abc import Mapping

import ipywidgets
from IPython.display import display
from torch import Tensor

from annlib.course.controls.keys import guarded
from annlib.course.figures.orders import orders, say_orders
from annlib.course.swapping import Layer, exchange

LONG = {"width": "34em"}
SCALES = (1, 2, 3, 6, 8, 16)


class OrderSwap(ipywidgets.VBox):
    """Layer, cells and channel; both orders as pictures, and how far apart they are.

    Keyboard: Tab to a control, then the arrow keys. State is also printed as a sentence.
    """

    def __init__(self, layers: Mapping[str, Layer], features: Tensor) -> None:
        """layers: name in the menu -> what is done to features (B, C, H, W)"""
        super().__init__()
        self.layers, self.features = layers, features
        self.controls = {
            "name": ipywidgets.Dropdown(options=list(layers), description="layer", layout=LONG),
            "cells": ipywidgets.SelectionSlider(
                options=SCALES, value=8, description="n x n", continuous_update=False, layout=LONG
            ),
            "channel": ipywidgets.IntSlider(
                0,
                0,
                features.shape[1] - 1,
                description="channel",
                continuous_update=False,
                layout=LONG,
            ),
        }
        # interactive_output shows errors of `draw` in the widget, where the widget gate finds them
        self.output = ipywidgets.interactive_output(self.draw, self.controls)
        self.children = [ipywidgets.VBox(list(self.controls.values())), self.output, guarded(self)]

    def draw(self, name: str, cells: int, channel: int) -> None:
        """The maps and the sentence for one state of the controls."""
        found = exchange(self.layers[name], self.features, cells)
        display(orders(found, channel, name))
        print(say_orders(found, channel, name))

    def close(self) -> None:
        """Removes the widget and everything that listens to its controls."""
        for control in self.controls.values():
            control.unobserve_all()
            control.close()
        for child in self.children:
            child.close()
        super().close()
