"""The ledger shows every prediction of a lesson, those included that come out later."""

from html.parser import HTMLParser

import ipywidgets
import pytest
from IPython.core.interactiveshell import InteractiveShell
from shown_in import errors

from annlib.course.checks.base import NotYet
from annlib.course.guesses import Predictions, explain_unquoted
from annlib.course.widgets.base import Explorer
from annlib.course.widgets.scenes import prediction_ledger

EXPECTED, SURPRISE = "✓ as expected", "≠ a surprise"


class Rows(HTMLParser):
    """The text of each cell as a browser reads it, row by row."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.rows[-1][-1] += data


def html_of(ledger: Explorer) -> str:
    """Of its table, or "" while there is none."""
    return "".join(one.get("data", {}).get("text/html", "") for one in ledger.output.outputs)


def rows(ledger: Explorer) -> list[list[str]]:
    """Of the table, without its head."""
    return Rows(html_of(ledger)).rows[1:]


def two_and_one() -> Predictions:
    """Two as expected and a surprise between them."""
    predictions = Predictions()
    predictions.compare("1.1", 0.3, 0.33, tolerance=0.25)
    predictions.compare("1.2", "rise", "fall", options=("fall", "rise"))
    predictions.compare("1.3", 110, 110)
    return predictions


def test_every_prediction_is_a_row_with_guess_outcome_and_verdict_in_words() -> None:
    assert rows(prediction_ledger(two_and_one())) == [
        ["1.1", "0.3", "0.33", EXPECTED],
        ["1.2", "rise", "fall", SURPRISE],
        ["1.3", "110", "110", EXPECTED],
    ]


def test_every_row_has_a_cell_for_each_head() -> None:
    whole = Rows(html_of(prediction_ledger(two_and_one()))).rows
    assert len(whole) == 4 and len({len(row) for row in whole}) == 1


def test_a_ledger_without_predictions_says_what_will_stand_there() -> None:
    ledger = prediction_ledger(Predictions())
    assert html_of(ledger) == "" and "No prediction has come out yet" in ledger.words()


def test_a_later_comparison_shows_in_a_ledger_that_is_shown_already() -> None:
    predictions = Predictions()
    ledger = prediction_ledger(predictions)
    predictions.compare("1.1", 3, 4)
    assert rows(ledger) == [["1.1", "3", "4", SURPRISE]]
    predictions.compare("1.2", 5, 5)
    assert [row[0] for row in rows(ledger)] == ["1.1", "1.2"] and not errors(ledger)


def test_a_cell_that_is_run_again_changes_its_row_and_adds_none() -> None:
    predictions = two_and_one()
    ledger = prediction_ledger(predictions)
    predictions.compare("1.2", "fall", "fall", options=("fall", "rise"))
    assert [row[0] for row in rows(ledger)] == ["1.1", "1.2", "1.3"]
    assert rows(ledger)[1] == ["1.2", "rise first, fall now", "fall", SURPRISE]


def test_the_box_leaves_the_surprises_and_gives_the_others_back() -> None:
    predictions = two_and_one()
    ledger = prediction_ledger(predictions)
    whole = rows(ledger)
    ledger.controls["only surprises"].value = True
    assert rows(ledger) == [row for row in whole if row[-1] == SURPRISE] != []
    predictions.compare("1.4", 1, 2)
    predictions.compare("1.5", 1, 1)
    assert [row[0] for row in rows(ledger)] == ["1.2", "1.4"]
    ledger.controls["only surprises"].value = False
    assert rows(ledger)[:3] == whole and len(rows(ledger)) == 5


def test_without_a_surprise_the_box_leaves_a_sentence() -> None:
    predictions = Predictions()
    predictions.compare("1.1", 1, 1)
    ledger = prediction_ledger(predictions)
    ledger.controls["only surprises"].value = True
    assert html_of(ledger) == "" and "none with a surprise" in ledger.words()


def test_two_ledgers_of_one_lesson_both_fill_and_filter_alone() -> None:
    predictions = two_and_one()
    first, second = prediction_ledger(predictions), prediction_ledger(predictions)
    first.controls["only surprises"].value = True
    predictions.compare("1.4", 1, 2)
    assert [len(rows(one)) for one in (first, second)] == [2, 4]


def test_ledgers_of_two_lessons_do_not_mix() -> None:
    lesson, other = two_and_one(), Predictions()
    first, second = prediction_ledger(lesson), prediction_ledger(other)
    other.compare("2.1", 1, 1)
    assert [len(rows(one)) for one in (first, second)] == [3, 1]


def test_a_closed_ledger_no_longer_listens_and_the_other_still_does() -> None:
    predictions = two_and_one()
    closed, kept = prediction_ledger(predictions), prediction_ledger(predictions)
    before = rows(closed)
    closed.close()
    assert predictions.listeners == {kept.redraw}
    predictions.compare("1.4", 1, 2)
    assert rows(closed) == before and len(rows(kept)) == 4
    closed.close()
    kept.close()
    assert predictions.listeners == set()


def test_opening_and_closing_leaves_no_widget() -> None:
    before, predictions = set(ipywidgets.widgets.widget._instances), two_and_one()
    for _ in range(20):
        prediction_ledger(predictions).close()
    assert set(ipywidgets.widgets.widget._instances) == before and not predictions.listeners


def test_a_listener_may_stop_listening_while_it_is_told() -> None:
    predictions, told = Predictions(), []

    def once() -> None:
        told.append(len(predictions.compared))
        predictions.listeners.discard(once)

    predictions.listeners.add(once)
    predictions.compare("1", 1, 1)
    predictions.compare("2", 1, 1)
    assert told == [1]


def test_signs_of_html_are_shown_as_they_were_written() -> None:
    guess, outcome, name = "<b>a</b> & 'b'", '<img src=x onerror="alert(1)">', "1<i>"
    predictions = Predictions()
    predictions.compare(name, guess, outcome, options=(guess, outcome))
    found = Rows(html_of(prediction_ledger(predictions)))
    assert found.rows[1] == [name, guess, outcome, SURPRISE]
    assert found.tags == {"table", "thead", "tbody", "tr", "th", "td"}


def test_where_no_widget_can_run_there_are_the_table_and_a_sentence() -> None:
    ledger = prediction_ledger(two_and_one())
    data, _ = ledger._repr_mimebundle_()
    assert data["text/html"] == html_of(ledger) and len(Rows(data["text/html"]).rows) == 4
    assert data["text/plain"].splitlines() == [
        "3 predictions, 1 with a surprise.",
        "Worth a second look: 1.2 (you said rise; it is fall).",
    ]


def test_an_empty_ledger_is_a_sentence_in_plain_text() -> None:
    data, _ = prediction_ledger(Predictions())._repr_mimebundle_()
    assert data["text/plain"].startswith("No prediction") and "text/html" not in data


# Predictions


def test_a_prediction_comes_before_its_answer(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(NotYet, match="comes first"):
        Predictions().compare("0.1", ..., 42)
    assert "42" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("guess", "outcome", "tolerance", "agrees"),
    [(0.3, 0.33, 0.25, True), (0.9, 0.33, 0.25, False), (1, 1, 0.0, True), (2, 1, 0.0, False)],
)
def test_numbers_agree_within_their_tolerance(
    guess: float, outcome: float, tolerance: float, agrees: bool, capsys: pytest.CaptureFixture
) -> None:
    predictions = Predictions()
    predictions.compare("1", guess, outcome, tolerance=tolerance)
    assert predictions.compared == {"1": (guess, outcome, agrees, guess)}
    assert ("As expected" in capsys.readouterr().out) == agrees


def test_words_are_compared_with_the_outcome() -> None:
    predictions = Predictions()
    predictions.compare("1", "fall", "fall", options=("fall", "rise"))
    predictions.compare("2", "rise", "fall", options=("fall", "rise"))
    assert [one.as_expected for one in predictions.compared.values()] == [True, False]


@pytest.mark.parametrize("guess", ["Fall", "FALL", " fall "])
def test_the_case_of_a_word_does_not_matter(guess: str) -> None:
    predictions = Predictions()
    predictions.compare("1", guess, "fall", options=("fall", "rise"))
    assert predictions.compared["1"] == ("fall", "fall", True, "fall")


@pytest.mark.parametrize("guess", [1.5, -0.1, float("nan"), True, "0.5"])
def test_a_number_out_of_bounds_is_refused_and_the_bounds_are_given(guess: object) -> None:
    predictions = Predictions()
    with pytest.raises(NotYet, match="a number from 0 to 1"):
        predictions.compare("1", guess, 0.5, between=(0, 1))
    assert not predictions.compared


def test_without_a_guess_the_bounds_and_words_are_given() -> None:
    with pytest.raises(NotYet, match="from 0 to 10"):
        Predictions().compare("1", ..., 3, between=(0, 10))
    with pytest.raises(NotYet, match="one of .'fall', 'rise'"):
        Predictions().compare("1", ..., "rise", options=("fall", "rise"))


def test_the_first_guess_counts_after_the_outcome_was_shown(capsys: pytest.CaptureFixture) -> None:
    predictions = Predictions()
    for guess in (0.9, 0.33):
        predictions.compare("1", guess, 0.33, tolerance=0.1)
    assert predictions.compared["1"] == (0.9, 0.33, False, 0.33)
    assert "you said 0.9 first, 0.33 now" in capsys.readouterr().out


def test_an_explanation_is_shown_once_its_prediction_is_compared(
    capsys: pytest.CaptureFixture,
) -> None:
    predictions = Predictions()
    predictions.reveal("1", "It is 42.")
    assert "42" not in capsys.readouterr().out
    predictions.compare("1", 3, 42)
    predictions.reveal("1", "\nIt is 42.\n")
    assert capsys.readouterr().out.endswith("It is 42.\n")


@pytest.mark.parametrize(
    ("cell", "explained"),
    [
        ("guess_one = lower", True),
        ("guess_one = 'a' + lower", True),
        ("x = lower", False),
        ("guess_one = 1\nlower", False),
    ],
)
def test_a_word_without_quotation_marks_is_explained(
    cell: str, explained: bool, capsys: pytest.CaptureFixture
) -> None:
    shell = InteractiveShell()
    shell.set_custom_exc((NameError,), explain_unquoted)
    shell.run_cell(cell, store_history=True)
    told = capsys.readouterr().out
    assert ('needs quotation marks: "lower"' in told) == explained
    assert ("Traceback" in told) != explained


@pytest.mark.parametrize(("guess", "options"), [("up", ("fall", "rise")), ("three", ())])
def test_an_answer_of_the_wrong_kind_is_asked_for_again(guess: str, options: tuple) -> None:
    with pytest.raises(NotYet, match="you wrote"):
        Predictions().compare("1", guess, "fall" if options else 3, options=options)


def test_the_summary_names_surprises() -> None:
    predictions = Predictions()
    predictions.compare("1", 3, 3)
    assert predictions.summary() == "1 prediction, none with a surprise."
    predictions.compare("2", 3, 4)
    told, again = predictions.summary().splitlines()
    assert told == "2 predictions, 1 with a surprise."
    assert again == "Worth a second look: 2 (you said 3; it is 4)."
