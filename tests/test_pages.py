"""Pages of executed lessons: widgets live on without a kernel, or are shown as stills."""

import base64
import html
import json
import re

import nbformat

from annlib.course.running.gates import WIDGET_STATE, WIDGET_VIEW
from annlib.course.running.pages import lesson_page
from annlib.course.widgets.attention_explorer import attention_explorer
from annlib.data.balloon_town.dataset import make_scene
from annlib.model.build import shipped_model


def executed() -> nbformat.NotebookNode:
    """A notebook with an explorer, as it is after a run: numbers apart from the other state."""
    explorer = attention_explorer(shipped_model("balloon_ann"), make_scene(5))
    data, metadata = explorer._repr_mimebundle_()
    state = {name: value for name, value in explorer.get_state().items() if name != "layout"}
    numbers = base64.b64encode(state.pop("data")).decode()
    cell = nbformat.v4.new_code_cell("explorer", execution_count=1)
    cell.outputs = [
        nbformat.from_dict(
            {"output_type": "display_data", "data": dict(data), "metadata": dict(metadata)}
        )
    ]
    notebook = nbformat.v4.new_notebook(cells=[cell])
    buffer = {"path": ["data"], "encoding": "base64", "data": numbers}
    models = {data[WIDGET_VIEW]["model_id"]: {"state": state, "buffers": [buffer]}}
    notebook.metadata["widgets"] = {WIDGET_STATE: {"state": models}}
    return nbformat.reads(nbformat.writes(notebook), as_version=4)


def test_explorer_lives_on_in_a_frame_and_has_a_still_beside_it() -> None:
    page = lesson_page(executed(), "a lesson")
    inner = html.unescape(re.search(r'srcdoc="([^"]*)"', page)[1])
    state = re.search(r'id="state">(.*?)</script>', inner)[1]
    numbers = base64.b64decode(json.loads(state)["data"]["base64"])
    assert len(numbers) > 100_000
    assert "${" in inner  # JavaScript is not taken for a formula
    assert re.search(r'<img alt="[^"]*Entropy', page)


def test_outside_its_frames_a_page_has_no_script() -> None:
    page = re.sub(r'srcdoc="[^"]*"', "", lesson_page(executed(), "a lesson"))
    assert "<script" not in page
