"""Copies are listed, and work that people did by themselves is not."""

import io
import tokenize
from itertools import combinations

import a1_answers
import pytest
from in_process import ROOT, solutions
from known import mistaken

from annlib.course.assignments.a1 import A1
from annlib.grader.intake import parsed
from annlib.grader.judge import Submission
from annlib.grader.release import edition, template
from annlib.grader.similarity import MOST_TOKENS, code_tokens, fingerprints, similar

REFERENCE = solutions(A1)
TEMPLATE = template(ROOT, A1)


def submission(student: str, *cells: str, answer: str = "") -> Submission:
    texts = {"measured-ratio": answer}
    return Submission(student, (student,), (*TEMPLATE.cells[:1], *cells), texts, "", student, {})


def listed(*submissions: Submission) -> list[tuple[str, ...]]:
    return similar(submissions, TEMPLATE)


def independent() -> list[Submission]:
    """Correct answers that were written in different ways."""
    galleries = {one.cell: [*one.right.values()] for one in a1_answers.GALLERIES}
    count = min(map(len, galleries.values()))
    return [
        submission(f"own {n}", *(codes[n] for codes in galleries.values())) for n in range(count)
    ]


def renamed(code: str) -> str:
    """Every name of the student's own is another one, comments are added, lines are broken."""
    words = {"query": "q_map", "scores": "logits", "weights": "w", "context": "found", "value": "v"}
    found = []
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        name = words.get(token.string) if token.type == tokenize.NAME else None
        found.append((token.type, name or token.string))
    return "# my own work\n" + tokenize.untokenize(found)


def test_a_copy_is_listed_with_names_changed_or_not() -> None:
    code = list(REFERENCE.values())
    found = listed(
        submission("anna", *code),
        submission("bert", *(f"{one}\n\n# mine\n" for one in code)),
        submission("carl", *map(renamed, code)),
        *independent(),
    )
    assert found == [
        ("anna", "bert", "code", "100 %, the same"),
        ("anna", "carl", "code", "100 %, the same but for names"),
        ("bert", "carl", "code", "100 %, the same but for names"),
    ]


def test_a_copy_with_cells_moved_and_one_rewritten_is_listed() -> None:
    code = list(REFERENCE.values())
    rewritten = [*(one for one in a1_answers.GALLERIES[0].right.values())][0]
    found = listed(
        submission("anna", *code),
        submission("bert", code[2], rewritten, code[1]),
        *independent()[1:],
    )
    assert [row[:3] for row in found] == [("anna", "bert", "code")]


def test_blank_notebooks_and_small_mistakes_in_the_template_are_not_listed() -> None:
    blank, _ = parsed(edition(ROOT, A1, "learner").encode(), "A1.ipynb", A1)
    work = [Submission(name, (name,), blank, {}, "", name, {}) for name in "abcd"]
    assert listed(*work) == []


def test_work_that_a_group_handed_in_together_is_not_listed() -> None:
    one = submission("anna", *REFERENCE.values())
    assert listed(one, one._replace(student="bert")) == []


def test_answers_in_the_same_words_are_listed() -> None:
    text = (
        "I measured a ratio of 3 on my laptop, with ten repetitions, and the formula says more. "
        "The first call is slower, so I left it out; memory traffic may be the reason."
    )
    a, b = (submission(name, answer=text) for name in ("anna", "bert"))
    c = submission("carl", answer=text.upper().replace(",", "\n"))
    d = submission(
        "dora", answer="Memory traffic takes longer than the products, and the softmax as well."
    )
    assert {row[:3] for row in listed(a, b, c, d)} == {
        (x, y, "open answers") for x, y in combinations(("anna", "bert", "carl"), 2)
    }


def test_equal_passages_share_a_fingerprint_wherever_they_stand() -> None:
    passage = [f"word{n}" for n in range(15)]
    here, there = [*"abcdefg", *passage, *"hijk"], [*"xyz", *passage, *"uvwt"]
    assert fingerprints(here) & fingerprints(there)


def test_cells_that_are_not_python_stop_nothing() -> None:
    work = [submission(name, "def (:\n  '''", "%%bash\nls $(", "\x00") for name in "ab"]
    assert listed(*work) == []


def test_of_endless_code_only_the_beginning_is_looked_at() -> None:
    assert len(code_tokens(["x = 1 + y\n" * 10**6] * 3)) == MOST_TOKENS * 5 // 6  # and line ends
    assert code_tokens(["#\n" * MOST_TOKENS, "x = 1"]) == [], "comments count"


@pytest.mark.parametrize("gallery", a1_answers.GALLERIES, ids=lambda one: one.task)
def test_a_class_with_the_same_solution_of_one_task_is_not_all_pairs(gallery) -> None:
    """Small tasks have few solutions: what a third of a class shares is left out."""
    mistakes = [mistaken(REFERENCE, gallery.cell, one) for one in gallery.wrong.values()][:6]
    own = [submission(f"student {n}", code) for n, code in enumerate(mistakes)]
    assert len(listed(*own)) < len(own) * (len(own) - 1) / 2
