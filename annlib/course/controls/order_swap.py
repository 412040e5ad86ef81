"""A menu of layers and a slider for the cells: may the layer change places with the means?"""

from collections.abc import Mapping

import ipywidgets
from IPython.display import display
from torch import Tensor

from annlib.course.controls.explorer import LONG, Explorer
from annlib.course.figures.orders import orders, say_orders
from annlib.course.lines import say
from annlib.course.swapping import Layer, exchange

SCALES = (1, 2, 3, 6, 8, 16)


class OrderSwap(Explorer):
    """Layer, cells and channel; both orders as pictures, and how far apart they are.

    Keyboard: Tab to a control, then the arrow keys. State is also printed as a sentence.
    """

    def __init__(self, layers: Mapping[str, Layer], features: Tensor) -> None:
        """layers: name in the menu -> what is done to features (B, C, H, W)"""
        self.layers, self.features = layers, features
        controls = {
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
        super().__init__(controls, self.draw)

    def draw(self, name: str, cells: int, channel: int) -> None:
        """The maps and the sentence for one state of the controls."""
        found = exchange(self.layers[name], self.features, cells)
        display(orders(found, channel, name))
        say(say_orders(found, channel, name))
