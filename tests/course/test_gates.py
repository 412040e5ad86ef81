"""Every gate and every lint rule is red on a planted fault and green on the fixture lesson."""

import base64
import html
import json
import re
from pathlib import Path

import nbformat
import pytest

from annlib.cli.lessons import Slides
from annlib.course.authoring import NUMBER_LINK, notebook_text, read, sources
from annlib.course.lesson import CLAIM, PROGRESS, ROOT, Claim
from annlib.course.running import gates, release
from annlib.course.running.execute import Run
from annlib.course.widgets.explorer import attention_explorer
from annlib.data.balloon_town.dataset import make_scene
from annlib.model.build import shipped_model
from tools.check_lessons import findings_by_point
from tools.record_claims import record

FIXTURE = Path(__file__).parents[1] / "lessons/90_fixture.py"
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
TEXT = FIXTURE.read_text()
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAA"
PIXEL += "AABJRU5ErkJggg=="
ALT = "One dark pixel, nothing else."
SHARED_GATES = (
    gates.all_cells_ran,
    gates.widget_errors,
    gates.time_budget,
    gates.no_silent_minute,
    gates.figures_have_alt,
)


def picture(alt: str = ALT) -> nbformat.NotebookNode:
    """An image output."""
    data, metadata = {"image/png": PIXEL}, {"image/png": {"alt": alt}}
    return nbformat.v4.new_output("display_data", data=data, metadata=metadata)


def error(name: str) -> nbformat.NotebookNode:
    """An error output."""
    return nbformat.v4.new_output("error", ename=name, evalue="reason", traceback=["line"])


def executed(*outputs: nbformat.NotebookNode, seconds: float = 1.0) -> nbformat.NotebookNode:
    """A small lesson as papermill leaves it."""
    header = "# Title\n\n- **Runs in:** 20 s (quick), 2 min (learn)"
    cells = [
        nbformat.v4.new_markdown_cell(header, metadata={"tags": ["header"]}),
        nbformat.v4.new_code_cell(
            "draw()",
            execution_count=1,
            outputs=list(outputs),
            metadata={"papermill": {"duration": seconds}},
        ),
    ]
    return nbformat.v4.new_notebook(
        cells=cells, metadata={"papermill": {"parameters": {"mode": "quick"}}}
    )


def with_widget(*outputs: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A lesson that shows a box around an Output widget holding `outputs`."""
    view = {gates.WIDGET_VIEW: {"model_id": "box"}, "text/plain": "VBox(...)"}
    notebook = executed(nbformat.v4.new_output("display_data", data=view))
    state = {
        "box": {"model_name": "VBoxModel", "state": {"children": ["IPY_MODEL_out"]}},
        "out": {"model_name": "OutputModel", "state": {"outputs": list(outputs)}},
    }
    notebook.metadata["widgets"] = nbformat.from_dict({gates.WIDGET_STATE: {"state": state}})
    return notebook


def found(gate, notebook: nbformat.NotebookNode) -> list[str]:
    """The findings of a gate."""
    return list(gate(notebook))


def test_sound_lesson_passes_every_gate():
    for gate in SHARED_GATES:
        assert found(gate, with_widget(picture())) == []


def test_crashed_widget_callback_is_found():
    findings = found(gates.widget_errors, with_widget(error("ValueError")))
    assert "ValueError: reason" in findings[0]


def test_only_not_yet_may_be_raised_by_a_learner_edition():
    assert found(gates.only_not_started, executed(error("NotYet"))) == []
    assert (
        "'draw()' raised TypeError"
        in found(gates.only_not_started, executed(error("TypeError")))[0]
    )


def test_more_than_one_and_a_half_of_the_stated_time_is_too_long():
    assert found(gates.time_budget, executed(seconds=29.0)) == []
    assert "limit 30 s" in found(gates.time_budget, executed(seconds=31.0))[0]


def test_libraries_may_take_their_time_to_load():
    notebook = executed(seconds=31.0)
    notebook.cells[1].metadata["tags"] = ["setup"]
    assert found(gates.time_budget, notebook) == []


def test_lesson_that_states_no_time_for_its_mode_is_found():
    notebook = executed()
    notebook.metadata.papermill.parameters["mode"] = "full"
    assert "does not say how long 'full' runs" in found(gates.time_budget, notebook)[0]


def test_minutes_and_hours_are_read_as_seconds():
    line = "- **Runs in:** 1.5 s (quick), 2 min (learn), 3 h (full)"
    assert gates.stated_seconds(line) == {"quick": 1.5, "learn": 120, "full": 10800}


@pytest.mark.parametrize("place", [executed, with_widget])
def test_picture_without_alt_text_is_found(place):
    assert "alt text" in found(gates.figures_have_alt, place(picture(alt="plot")))[0]


def test_figure_that_came_out_as_text_is_found():
    text = {"text/plain": "<Figure size 300x200 with 1 Axes>"}
    output = nbformat.v4.new_output("display_data", data=text)
    assert "as the text" in found(gates.figures_have_alt, executed(output))[0]


def stating(text: str, *claims: Claim) -> nbformat.NotebookNode:
    """A lesson whose prose leans on the claim "gain", and made these claims."""
    outputs = [
        nbformat.v4.new_output(
            "display_data", data={CLAIM: one._asdict(), "text/plain": "Measured"}
        )
        for one in claims
    ]
    notebook = executed(*outputs)
    notebook.cells[0].metadata["claims"] = [[text, "gain"]]
    return notebook


def gain(value: float, within: float = 0.5, judge: str = "run", name: str = "gain") -> Claim:
    return Claim(name, value, within, "x", judge)


@pytest.mark.parametrize("text", ["12.3", "12 times", "some 12.8 %", "−12.3"])
def test_number_in_the_text_agrees_with_its_claim_within_the_tolerance(text):
    sign = -1 if "−" in text else 1
    assert found(gates.claims_hold, stating(text, gain(sign * 12.4))) == []


@pytest.mark.parametrize(
    ("notebook", "message"),
    [
        (stating("12.3"), "no cell claims 'gain'"),
        (stating("12.3", gain(13.0)), "came out as 13 x (within 0.5)"),
        (stating("many", gain(13.0)), "holds no number"),
        (stating("12.3", gain(12.3, judge="record")), "data/results/lessons does not hold"),
    ],
)
def test_number_in_the_text_without_a_measurement_is_found(notebook, message):
    assert message in found(gates.claims_hold, notebook)[0]


def test_what_a_quick_run_cannot_measure_is_compared_with_the_record(tmp_path, monkeypatch):
    monkeypatch.setattr(gates, "FOLDER", tmp_path)
    learned = stating("12.3", gain(12.3))
    quick = stating("12.3", gain(1.0, judge="record"))
    for notebook in (learned, quick):
        notebook.metadata["annlib"] = {"source": "notebooks/source/91_more.py"}
    record(learned, seconds=61.2)
    assert found(gates.claims_hold, quick) == []
    quick.cells[0].metadata["claims"] = [["14.0", "gain"]]
    assert "came out as 12.3" in found(gates.claims_hold, quick)[0]


def test_a_quick_record_replaces_only_what_a_quick_run_measures(tmp_path, monkeypatch):
    monkeypatch.setattr(gates, "FOLDER", tmp_path)
    longer = stating("12.3", gain(12.3), gain(5.0, name="odds"), gain(1.0, name="gone"))
    quick = stating("12.3", gain(0.0, judge="record"), gain(6.0, name="odds"))
    for notebook, mode in ((longer, "learn"), (quick, "quick")):
        notebook.metadata["annlib"] = {"source": "notebooks/source/91_more.py"}
        notebook.metadata["papermill"] = {"parameters": {"mode": mode, "seed": 0}}
        path = record(notebook, seconds=61.2)
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept["mode"] == "learn" and "gone" not in kept["claims"]
    assert [kept["claims"][name]["value"] for name in ("gain", "odds")] == [12.3, 6.0]
    assert [one.get("mode") for one in kept["claims"].values()] == [None, "quick"]
    assert found(gates.claims_hold, quick) == []


@pytest.mark.parametrize("source", sources(ROOT), ids=lambda source: source.stem)
def test_every_measured_number_of_a_text_is_recorded(source: Path) -> None:
    kept = json.loads((gates.FOLDER / f"{source.stem}.json").read_text(encoding="utf-8"))["claims"]
    found = NUMBER_LINK.findall(source.read_text(encoding="utf-8"))
    stated = [(text, name) for text, kind, name in found if kind == "claim"]
    assert {name for _, name in stated} <= kept.keys()
    for text, name in stated:
        number = float(gates.NUMBER.search(text.replace("−", "-"))[0].replace(",", ""))
        assert number == pytest.approx(kept[name]["value"], abs=kept[name]["within"] + 1e-9), name


def test_text_is_not_compared_with_a_run_of_another_seed_but_the_claim_has_to_be_made():
    assert found(gates.claims_hold, stating("12.3", gain(99.0, judge="none"))) == []
    assert "no cell claims 'gain'" in found(gates.claims_hold, stating("12.3"))[0]


def test_minute_without_a_progress_bar_is_found():
    assert "without a word" in found(gates.no_silent_minute, executed(seconds=61))[0]
    bar = nbformat.v4.new_output("display_data", data={PROGRESS: {"done": 5, "total": 5}})
    assert found(gates.no_silent_minute, executed(bar, seconds=61)) == []
    assert found(gates.no_silent_minute, executed(seconds=59)) == []


def test_cell_that_did_not_run_is_found():
    notebook = executed()
    notebook.cells[1].execution_count = None
    assert "was not executed" in found(gates.all_cells_ran, notebook)[0]


def test_run_that_ended_before_its_first_cell_is_reported(tmp_path):
    output = tmp_path / "01_name.ipynb"
    output.write_text(notebook_text(read(FIXTURE), "solution"))
    report = gates.review(Run(output, output, 1.0, "DeadKernelError"))
    assert report.findings["runs"] == ["DeadKernelError"] and report.findings["time"] == []
    assert "DeadKernelError" in release.publish([report], tmp_path, tmp_path).read_text()


def test_page_shows_what_is_inside_a_widget_with_its_alt_text_and_loads_nothing():
    page = release.lesson_page(with_widget(picture()), "name", FIXTURE.parent)
    assert f'alt="{ALT}"' in page and release.NOTE in page
    assert "<script" not in page and 'src="http' not in page and "<title>Title</title>" in page


def test_page_shows_formulas_as_mathml_but_not_in_code():
    notebook = executed()
    notebook.cells[0].source += "\n\n$x_i < 2$ and `$y$` and $$\\frac{1}{N}$$"
    page = release.lesson_page(notebook, "name", FIXTURE.parent)
    assert page.count("<math") == 2 and "<mfrac>" in page and "<code>$y$</code>" in page


def test_a_formula_in_a_heading_stays_out_of_the_attributes_of_its_anchor():
    notebook = executed()
    notebook.cells[0].source = "## Why $W_O = 0$ helps\n\nText."
    page = release.lesson_page(notebook, "name", FIXTURE.parent)
    assert page.count("<math") == 1 and not re.search(r"=\"[^\"]*<math", page)


def test_page_holds_its_diagrams_and_its_maths_font():
    notebook = executed()
    notebook.cells[0].source += "\n\n![A network](../diagrams/ann.svg)\n\n[sheet](../reference.md)"
    page = release.lesson_page(notebook, "name", NOTEBOOKS)
    assert 'src="data:image/svg+xml;base64,' in page and 'alt="A network"' in page
    assert "url(data:font/woff2;base64,d09GMk9U" in page  # "wOF2OT"
    assert 'href="reference.html"' in page and "../" not in page


def test_reference_sheet_is_a_page_with_links_to_pages(tmp_path):
    release.publish([], tmp_path, NOTEBOOKS)
    page = (tmp_path / "reference.html").read_text()
    assert 'href="04_pyramid_sampling.html"' in page and page.count("<math") > 20


def test_slides_show_each_figure_once_and_no_notes_for_teachers():
    notebook = executed(picture(), picture())
    note = nbformat.v4.new_markdown_cell("> Hand it out.", metadata={"tags": ["instructor"]})
    text = nbformat.v4.new_markdown_cell("## Cost\n\nSquare.\n\nMore.\n\n$$N^2$$\n\n![A](a.svg)")
    notebook.cells += [note, text]
    first, figure, cost = (cell.source for cell in release.slides(notebook).cells)
    assert first == notebook.cells[0].source
    assert figure.startswith("### Title\n\n<img") and ALT in figure
    assert cost == "## Cost\n\nSquare.\n\n$$N^2$$\n\n![A](a.svg)"


def test_slides_of_an_executed_lesson_are_one_file_without_script_and_requests(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(NOTEBOOKS.parent)
    make = Slides("4", executed=tmp_path, out=tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="Run `annlib lessons run 4` first"):
        make.run()
    (tmp_path / "solutions").mkdir()
    nbformat.write(executed(picture()), tmp_path / "solutions/04_pyramid_sampling.ipynb")
    make.run()
    page = (tmp_path / "out/04_pyramid_sampling.html").read_text()
    assert f'alt="{ALT}"' in page and "<script" not in page and 'src="http' not in page


def test_index_shows_title_picture_seconds_and_every_gate(tmp_path):
    output = tmp_path / "01_name.ipynb"
    nbformat.write(executed(picture(), seconds=40), output)
    report = gates.review(Run(output, output, 41.0, None))
    page = release.publish([report], tmp_path, tmp_path).read_text()
    assert f'alt="{ALT}"' in page and '<a href="01_name.html">Title</a>' in page
    assert "<li class=red>✗ time" in page and "<li>✓ widgets" in page
    assert "41 s with the start of Python; cells 40 s, 20 s stated (quick)" in page


def test_index_shows_what_was_measured(tmp_path):
    output = tmp_path / "01_name.ipynb"
    nbformat.write(stating("12.3", gain(12.3)), output)
    page = release.publish(
        [gates.review(Run(output, output, 1.0, None))], tmp_path, tmp_path
    ).read_text()
    assert "1 measured numbers" in page and "<td>12.3 x</td>" in page


def test_fixture_lesson_has_no_findings():
    assert not any(findings_by_point(FIXTURE).values())


LONG = "# %%\n" + "x = 1\n" * 26
FAULTS = {
    'tags=["header"]': ('tags=["instructor"]', "readers meet no contract"),
    "- **Needs:**": ("- Needs:", r"`- \*\*Needs:"),
    "20 s (learn)": ("soon", "no time for 'learn'"),
    "1. write": ("1. understand", "'understand', which none can observe"),
    "([Quiz 90.1](quiz:lost))": ("", "objective 3 links to no"),
    "3. explain": ("explain", "2 numbered objectives"),
    "seed = 0": ("", "parameter 'seed' is missing"),
    'tags=["parameters"]': ("", "nobody can run it in quick mode"),
    "# %% [markdown]\n# ## Move": (f"{LONG}\n# %% [markdown]\n# ## Move", "26 lines of code"),
    "guess_constant = 7": ("!pip install x\nguess_constant = 7", "shell command"),
    "generator =": ("url = 'https://a.b/c'\ngenerator =", "reads from the network"),
    "values = [": ("folder = '/home/me'\nvalues = [", "folder of one machine"),
    "import ipywidgets": ("import matplotlib.pyplot as plt", "uses pyplot"),
    "# ## Move": ("# ##### Move", "level 5 after level 3"),
    "# ## Quiz": ("# # Quiz", "second title"),
    "importance 3/5, ": ("", "lacks its line"),
    "about 5 min": ("about 6 min", "5 minutes or less"),
    "objective 1*": ("objective 4*", "serves objective 4"),
    "objective 1* ": ("objective 1, open*", "needs an instructor cell with its rubric"),
    'tags=["check:mean"]': ("", "no cell tagged 'check:mean'"),
    'tags=["hint:mean:2"]': ("", "no cell tagged 'hint:mean:2'"),
    '"hint:mean:3"': ('"hint:other:3"', "no cell is tagged 'exercise:other'"),
    'guess_outlier = "moves"  # solution': ("1", "1 cells tagged predict"),
    "#   Addition commutes, so it cannot.\n": ("", "does not explain 'Yes.'"),
    "- [x] No.": ("- [ ] No.", "one must be"),
    ' tags=["quiz:sum"]': ("", "2 quiz questions"),
    'tags=["instructor"]': ("", "nobody else can teach it"),
    'tags=["recap"]': ("", "not tagged 'recap'"),
    "(90_fixture.ipynb)": ("", "links to no next lesson"),
    "once more](90_fixture.ipynb)": ("](91_next.ipynb)", "there is no source 91_next.py"),
    'data_root = ""': ("", "parameter 'data_root' is missing"),
    "[0.84](claim:most)": ("0.84", "'0.84' has no source"),
    "[0.99](given:rule)": ("[0.99](result:zoo.md)", "'0.99' does not stand in data/results/zoo.md"),
    "# 2. Press it again.": ("", "a widget without a job"),
    "# %%\nwidgets.SetUp()": ("", "cells call a widget"),
    "Read more: any": ("Some", "no `Read more`"),
    "Ten minutes in all": ("Soon", "how many minutes"),
    "# The height of a bar": ("# " + "word " * 901 + "\n# The height", "one idea takes up to 900"),
    "generator.random() for": ("('#ff0000', generator.random())[1] for", "this cell's own"),
    'if lesson.device.type == "cuda":': ("if True:", "tagged gpu, but runs on a CPU"),
    "Addition commutes": ("[Look](12_no.ipynb#Top): addition commutes", "links to 12_no.ipynb"),
}


@pytest.mark.parametrize("old", FAULTS)
def test_lint_finds_the_planted_fault(tmp_path, old):
    new, message = FAULTS[old]
    old = old.strip()
    assert TEXT.count(old) >= 1
    text = TEXT.replace(old, new, 1)
    if "1 cells" in message:
        text = text.replace(' tags=["predict:outlier"]', "")
    source = tmp_path / "notebooks/source/90_fixture.py"
    source.parent.mkdir(parents=True)
    source.write_text(text)
    findings = "\n".join(sum(findings_by_point(source).values(), []))
    assert message.replace("\\", "") in findings


# Pages of executed lessons


def with_explorer() -> nbformat.NotebookNode:
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
    models = {data[gates.WIDGET_VIEW]["model_id"]: {"state": state, "buffers": [buffer]}}
    notebook.metadata["widgets"] = {gates.WIDGET_STATE: {"state": models}}
    return nbformat.reads(nbformat.writes(notebook), as_version=4)


def test_explorer_lives_on_in_a_frame_and_has_a_still_beside_it() -> None:
    page = release.lesson_page(with_explorer(), "a lesson", FIXTURE.parent)
    inner = html.unescape(re.search(r'srcdoc="([^"]*)"', page)[1])
    state = re.search(r'id="state">(.*?)</script>', inner)[1]
    numbers = base64.b64decode(json.loads(state)["data"]["base64"])
    assert len(numbers) > 100_000
    assert "${" in inner  # JavaScript is not taken for a formula
    assert re.search(r'<img alt="[^"]*Entropy', page)


def test_outside_its_frames_a_page_has_no_script() -> None:
    page = re.sub(
        r'srcdoc="[^"]*"', "", release.lesson_page(with_explorer(), "a lesson", FIXTURE.parent)
    )
    assert "<script" not in page


def test_a_claim_that_is_no_number_is_no_confirmation() -> None:
    claim = Claim("error", float("nan"), 0.1, "", "run")._asdict()
    output = nbformat.v4.new_output("display_data", data={CLAIM: claim, "text/plain": ""})
    text = nbformat.v4.new_markdown_cell("12.3", metadata={"claims": [["12.3", "error"]]})
    cells = [text, nbformat.v4.new_code_cell("claim()", outputs=[output])]
    (found,) = gates.claims_hold(nbformat.v4.new_notebook(cells=cells))
    assert "'error' came out as nan" in found
