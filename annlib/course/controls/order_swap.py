"""A menu of layers and a slider for the cells: may the layer change places with the means?"""

from collections.abc import Mapping

from torch import Tensor

from annlib.course.controls.explorer import Explorer, choice, menu, slider
from annlib.course.figures.orders import orders, say_orders
from annlib.course.plots import Picture
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
            "name": menu("layer", layers),
            "cells": choice("n x n", SCALES, 8),
            "channel": slider("channel", 0, features.shape[1] - 1),
        }
        super().__init__(controls, self.draw)

    def draw(self, name: str, cells: int, channel: int) -> tuple[Picture, str]:
        """The maps and the sentence for one state of the controls."""
        found = exchange(self.layers[name], self.features, cells)
        return orders(found, channel, name), say_orders(found, channel, name)
