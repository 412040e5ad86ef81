"""tools/check_prose.py: rejected words are found where people read, and only there."""

import runpy
from pathlib import Path

import pytest

import annlib

ROOT = Path(annlib.__file__).parents[1]
CHECK = runpy.run_path(str(ROOT / "tools/check_prose.py"))
# Each listed word, with its inflections, in the sense that is rejected.
REJECTED = {
    "rightly": ("it rightly stops",),
    "wrongly": ("a pixel is wrongly called road",),
    "anew": ("train it anew",),
    "alike": ("both look alike",),
    "dear": ("attention is dear", "the dearest block", "this is dearer", "it is dearly paid"),
    "reckon": ("we reckon with it", "he reckons", "as reckoned", "by reckoning"),
    "mend": ("mend the network", "it mends that", "it was mended", "without mending"),
    "thorough and": ("be thorough and slow",),
    "cannot but": ("it cannot but grow",),
    "can but": ("it can but grow",),
    "whom": ("to whom it attends",),
    "is no": ("this file is no image", "It is no\ntensor"),
    "are no": ("these are no labels",),
    "lies beside": ("it lies beside them", "they lie beside it", "maps lying beside it"),
    "laid beside": ("it is laid beside them", "lay beside it", "laying beside it"),
    "by heart": ("learns two scenes by heart",),
    "falls out": ("the term falls out", "terms fall out", "it fell out", "falling out"),
    "speaks against": ("it speaks against that", "they speak against it", "what spoke against"),
    "speaks for": ("it speaks for that", "they speak for it", "speaking for it"),
    "at once": ("stops at once", "all at\nonce"),
    "beforehand": ("known beforehand",),
    "told apart": ("can be told apart", "were told\napart"),
    "tells apart": ("tells 8 classes apart", "tell them apart", "telling two runs apart"),
    "names": ("the network names each pixel", "what a model names road", "two heads name it"),
    "the fast": ("exercises for the fast and the patient", "something for the fast."),
    "the hand": ("follows the hand",),
    "witness": ("a witness", "two witnesses", "we witnessed it"),
    "flatter": ("images flatter", "it flatters", "flattering curves"),
    "blow": ("not a blow", "it blows up", "the loss blew up", "a blown fuse"),
    "wish": ("a wish", "it wishes", "as wished"),
    "blind": ("blind to that", "it blinds us", "blindly"),
    "stubborn": ("a stubborn loss", "stubbornly"),
    "picture": ("a picture", "all pictures", "a photograph", "photographs"),
    "correctly named": ("pixels named correctly", "naming incorrectly"),
    "who asks": ("who asks", "who answers"),
    "enlarge": ("enlarge it", "an enlarged map", "enlarging"),
    "thin out": ("thin out labels", "thinned out", "thinning out"),
    "wrong alarm": ("a wrong alarm", "wrong alarms"),
    "missed pixel": ("a missed pixel", "missed pixels"),
    "the bill": ("the bill", "both bills"),
    "what must be held": ("what must be held",),
    "the way back": ("on the way back",),
    "way on": ("a way on",),
    "half": ("the validation half", "both training halves", "the test half"),
    "look": ("a look at the validation images", "looks at the validation split"),
    "far context": ("far context",),
    "cells that answer": ("cells that answer",),
    "how widely it looks": ("how widely it looks",),
    "side of its view": ("the side of its view",),
}
PLAIN = (
    "There is no file of that name, and there are no others.",
    "It is no longer used, and is no more than a sum.",
    "The fast path and the fast suite; by hand; the other\nhands.",
    "Names the file and tells what to do. The option names a folder.",
    "`right_picture`, picture_size, scene.picture, blow(), `the wish`, --wish, data/pictures/",
    "A [link](pictures/blind.md) and https://example.org/pictures",
    "An amendment, a blindfold, colour-blind, a flat map, an endearment.",
)


def found(folder: Path, text: str, name: str = "text.py") -> list[tuple[int, str]]:
    """[(line, word)] of a file with that text."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return [(line, word.lower()) for line, word, _ in CHECK["findings"](path)]


@pytest.mark.parametrize("word", REJECTED)
def test_listed_word_is_found_in_its_inflections(word: str, tmp_path: Path) -> None:
    for sentence in REJECTED[word]:
        assert len(found(tmp_path, sentence, "text.md")) == 1, sentence
        assert len(found(tmp_path, f'"""Says:\n{sentence}."""')) == 1, sentence


@pytest.mark.parametrize("sentence", PLAIN)
def test_plain_words_and_names_of_code_are_not_flagged(sentence: str, tmp_path: Path) -> None:
    assert found(tmp_path, sentence, "text.md") == []
    assert found(tmp_path, f'"""Says:\n{sentence}"""') == []


def test_code_is_not_prose(tmp_path: Path) -> None:
    assert found(tmp_path, "picture = wish(blind.blow)['mend']\nwhom = {'picture': anew}\n") == []
    assert found(tmp_path, "```sh\nannlib mend picture\n```\n", "text.md") == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = 1\n# Paint it\n# anew.\n", 3),
        ("x = 1  # paint it anew\n", 1),
        ('class A:\n    """One plain sentence."""\n\n    size: int\n    """Size anew."""\n', 5),
        ('class A:\n    size: int\n    """Of what is painted anew."""\n', 3),
        ('raise ValueError(\n    f"{size} is wrong. Train "\n    "it anew."\n)\n', 3),
        ('print(f"first {size} then {again} "\n      f"train the {network} anew")\n', 2),
        ("# # Heading of a lesson\n#\n# Train it anew.\n", 3),
    ],
)
def test_comments_docstrings_help_and_messages_are_read(
    text: str, line: int, tmp_path: Path
) -> None:
    assert found(tmp_path, text) == [(line, "anew")]


def test_comment_within_a_block_of_code_is_read(tmp_path: Path) -> None:
    text = "Text.\n```sh\nannlib train  # starts anew\n```\n"
    assert found(tmp_path, text, "text.md") == [(3, "anew")]


def test_phrase_is_found_where_a_string_or_a_line_ends_within_it(tmp_path: Path) -> None:
    assert found(tmp_path, 'text = (\n    "It is learnt by "\n    "heart."\n)\n') == [
        (2, "by heart")
    ]
    assert found(tmp_path, "Learnt by\nheart.\n", "text.md") == [(1, "by heart")]


def test_mark_with_a_reason_excuses_its_line_only(tmp_path: Path) -> None:
    text = "# A wish  # prose: a line of a poem\n\n# A wish\n"
    assert found(tmp_path, text) == [(3, "wish")]
    text = "A wish <!-- prose: a line of a poem -->\n\nA wish\n"
    assert found(tmp_path, text, "text.md") == [(3, "wish")]


def test_mark_after_a_string_holds_for_all_its_lines(tmp_path: Path) -> None:
    assert found(tmp_path, '"""A wish,\nand a blow.\n"""  # prose: a line of a poem\n') == []


def test_mark_without_a_reason_is_refused(tmp_path: Path) -> None:
    assert found(tmp_path, "x = 1\n# A wish  # prose:\n") == [(2, "prose:")]


def test_mark_that_excuses_nothing_is_a_finding(tmp_path: Path) -> None:
    assert found(tmp_path, "# A request  # prose: a line of a poem\n") == [(1, "prose:")]


def test_findings_are_listed_with_better_words_and_give_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "README.md"
    path.write_text("Plain.\nTrain it anew.\n", encoding="utf-8")
    assert CHECK["main"]([path]) == 1
    assert f"{path}:2: anew: again\n" in capsys.readouterr().out
    path.write_text("Plain.\n", encoding="utf-8")
    assert CHECK["main"]([path]) == 0
    assert capsys.readouterr().out == ""


def test_every_pattern_is_tried_above() -> None:
    sentences = "\n\n".join(sentence for group in REJECTED.values() for sentence in group)
    assert [p.pattern for p, _ in CHECK["PATTERNS"] if not p.search(sentences)] == []


def test_files_that_are_not_excluded_are_checked(tmp_path: Path) -> None:
    excluded = [f"{name}/x.py" for name in CHECK["EXCLUDED"] if "." not in name]
    excluded.append("notebooks/RUBRIC.md")
    for name in ("tools/x.py", "annlib/x.py", "data/a/b/README.md", "CHANGELOG.md", *excluded):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names = [path.relative_to(tmp_path).as_posix() for path in CHECK["files"](tmp_path)]
    assert names == ["CHANGELOG.md", "annlib/x.py", "data/a/b/README.md", "tools/x.py"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param(path, text, id=kind)
        for kind, path, text in (
            ("lesson", "notebooks/source/01_a.py", "# %% [markdown]\n# Train it anew.\n"),
            (
                "quiz option",
                "notebooks/source/01_a.py",
                '# %% [markdown] tags=["quiz:a"]\n# - [ ] anew\n#   Why: it is.\n',
            ),
            ("hint", "notebooks/source/01_a.py", '# %% [markdown] tags=["hint:a:1"]\n# Anew!\n'),
            ("teacher's note", "notebooks/source/01_a.py", '# %% tags=["instructor"]\n# Anew\n'),
            ("figure title", "notebooks/source/01_a.py", 'plots.show(figure, "Trained anew")\n'),
            ("assignment", "notebooks/source/assignments/A1.py", "# Train anew.\n"),
            ("alt text", "annlib/course/plots/a.py", 'alt = f"{size} classes, trained anew"\n'),
            ("widget label", "annlib/course/widgets/a.py", 'Slider(description="Train anew")\n'),
            ("script of a widget", "annlib/course/widgets/javascript/a.js", 'say("Train anew");\n'),
            ("check", "annlib/course/checks/a.py", 'advise("Train anew.")\n'),
            ("check's message", "annlib/course/checks/messages.toml", 'a = "Train anew."\n'),
            ("index page", "annlib/course/running/index.html.j2", "<h1>Trained anew</h1>\n"),
            ("feedback", "annlib/grader/pages/feedback.html", "<p>Train it anew.</p>\n"),
            ("diagram", "notebooks/diagrams/a.svg", "<desc>Trained anew.</desc>\n"),
            ("reference sheet", "notebooks/reference.md", "| term | trained anew |\n"),
            ("teacher's guide", "notebooks/teaching/guide.md", "Train it anew.\n"),
        )
    ],
)
def test_word_is_found_in_each_place_that_people_read(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CHECK["files"].__globals__, "EXCLUDED", ())
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    assert list(CHECK["files"](tmp_path)) == [path]
    assert [word.lower() for _, word, _ in CHECK["findings"](path)] == ["anew"]
