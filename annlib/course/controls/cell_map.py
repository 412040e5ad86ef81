"""A level and a cell to choose: what it averages. No maths: that is in figures."""

import ipywidgets
from IPython.display import display

from annlib.course.controls.explorer import LONG, Explorer
from annlib.course.figures.cell_map import cell_map as draw_cell_map
from annlib.course.lines import say
from annlib.data.scenes import Scene
from annlib.model.ann import map_size


def cell_map(scene: Scene, levels: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16, 24)) -> Explorer:
    """Choose a pyramid level and one of its cells."""
    size = map_size(scene.labels.shape)

    def draw(level: int, row: int, column: int) -> None:
        index = min(row, level - 1) * level + min(column, level - 1)
        picture = draw_cell_map(scene.image, size, level, index)
        display(picture)
        say(picture.alt)

    controls = {
        "level": ipywidgets.SelectionSlider(
            options=levels,
            value=6,
            description="level",
            continuous_update=False,
            layout=LONG,
        ),
        "row": cell_slider("cell row", max(levels) - 1),
        "column": cell_slider("cell column", max(levels) - 1),
    }
    return Explorer(controls, draw)


def cell_slider(name: str, last: int) -> ipywidgets.IntSlider:
    """Counts from 0; beyond the last cell of a level it stays there."""
    return ipywidgets.IntSlider(0, 0, last, description=name, continuous_update=False, layout=LONG)
