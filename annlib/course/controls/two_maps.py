"""A position on one map, and who answers on the other. No maths: that is in figures."""

import ipywidgets
from IPython.display import display

from annlib.course.controls.explorer import LONG, Explorer
from annlib.course.controls.query_sliders import slider
from annlib.course.figures.two_maps import two_maps as draw_two_maps
from annlib.course.levels import attention_across, low_and_high, strength
from annlib.course.lines import say
from annlib.course.matching import query_on
from annlib.course.wording import say_choice
from annlib.data.scenes import Scene
from annlib.model.ann import ANN

HIGH, LOW = "High-level map", "Low-level map"
ROLES = {"high asks low (AFNB)": False, "low asks high (swapped)": True}


def two_maps(model: ANN, scene: Scene) -> Explorer:
    """Choose a position of the map that asks, and exchange the roles of the maps."""
    attentions = {
        name: attention_across(model, scene.image, roles) for name, roles in ROLES.items()
    }
    low, high = map(strength, low_and_high(model, scene.image))

    def draw(roles: str, y: int, x: int) -> None:
        swapped, attention = ROLES[roles], attentions[roles]
        names = (LOW, HIGH) if swapped else (HIGH, LOW)
        picture = draw_two_maps(scene.image, low if swapped else high, attention, names, y, x)
        display(picture)
        say(picture.alt)
        say(say_choice(attention, scene.labels, y, x))

    (y, x), (height, width) = query_on(scene, scene.houses[0]), scene.labels.shape
    controls = {
        "roles": ipywidgets.ToggleButtons(
            options=list(ROLES), description="roles", style={"button_width": "16em"}
        ),
        "y": slider("row", y, height - 1),
        "x": slider("column", x, width - 1),
    }
    controls["roles"].layout = LONG
    return Explorer(controls, draw)
