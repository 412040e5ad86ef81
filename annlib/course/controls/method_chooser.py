"""Choose a method and its size: where a house looks. No maths: that is in plugging."""

from torch import nn

from annlib.course import plots
from annlib.course.controls.explorer import Explorer, choice, menu
from annlib.course.families import FAMILIES, method_of
from annlib.course.figures.cheap_attention import label_of
from annlib.course.matching import query_on
from annlib.course.plugging import asked, attention_by, say_method
from annlib.data.scenes import Scene

STEPS = ("cheapest", "middle", "dearest")


class MethodChooser(Explorer):
    """A menu of methods, their size in three steps, and a house that asks.

    Keyboard: Tab to a control, then the arrow keys. State is also printed as a sentence.
    """

    def __init__(self, model: nn.Module, scene: Scene) -> None:
        """model: a network with one non-local block."""
        self.model, self.scene, self.asked = model, scene, asked(model, scene.image)
        houses = [(f"{house.paint} house", at) for at, house in enumerate(scene.houses)]
        controls = {
            "name": menu("method", FAMILIES),
            "step": choice("size", {step: at for at, step in enumerate(STEPS)}, len(STEPS) - 1),
            "index": menu("asks", houses),
        }
        super().__init__(controls, self.draw)

    def draw(self, name: str, step: int, index: int) -> tuple[plots.Picture, str]:
        """The picture and the sentence for one state of the controls."""
        options = FAMILIES[name].options
        option = options[min(step, len(options) - 1)]  # some methods have one size only
        attention = attention_by(method_of(name, option, self.asked.size), self.asked)
        query = query_on(self.scene, self.scene.houses[index])
        picture = plots.attention(self.scene.image, attention, *query, label_of(name, option), "")
        return picture, say_method(self.model, name, option, self.scene, index)
