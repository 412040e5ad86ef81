"""notebooks/reference.md: names that exist, and links that lead somewhere."""

import re
from importlib import import_module
from pathlib import Path

import pytest
import torch

from annlib.config import ModelConfig
from annlib.course.authoring import REFERENCE, notebook_text, read, sources
from annlib.model.ann import ANN
from annlib.model.convert import RENAMES

ROOT = Path(__file__).parents[2]
SHEET = (ROOT / "notebooks/reference.md").read_text(encoding="utf-8")
ROWS = [[c.strip() for c in line.strip("| ").split(" | ")] for line in SHEET.splitlines()]
GLOSSARY = [row for row in ROWS if row[0].startswith("**")]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(annlib\.[\w.]+)`", SHEET))))
def test_name_in_annlib_exists(name: str) -> None:
    module, _, last = name.rpartition(".")
    assert hasattr(import_module(module), last)


def test_glossary_has_some_60_terms_in_order_each_with_the_lesson_that_introduces_it() -> None:
    terms = [row[0].strip("*").lower() for row in GLOSSARY]
    assert len(terms) >= 60
    assert terms == sorted(set(terms))
    for term, row in zip(terms, GLOSSARY, strict=True):
        assert re.fullmatch(r"\[\d\d\]\(\d\d_\w+\.ipynb\)", row[-1]), term
    assert f"glossary of {len(terms)} terms" in SHEET


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", SHEET))))
def test_link_leads_to_a_file(target: str) -> None:
    assert (ROOT / "notebooks" / target).exists()


def test_names_of_parts_are_those_of_the_model_and_of_released_checkpoints() -> None:
    rows = [re.findall(r"`([\w.]+)`", line) for line in SHEET.splitlines()]
    pairs = [row for row in rows if len(row) == 2 and row[1].startswith(("decode", "aux", "backb"))]
    assert len(pairs) == 13
    with torch.device("meta"):
        model = ANN(ModelConfig(depth=50, num_classes=19))
    for ours, theirs in pairs:
        if not ours.startswith("annlib."):
            model.get_submodule(ours)
        if not theirs.startswith("backbone"):  # the same names there
            renamed = [new for old, new in RENAMES.items() if f"{old}.".startswith(f"{theirs}.")]
            assert renamed
            assert all(f"{new}.".startswith(f"{ours}.") for new in renamed), theirs


def test_lesson_links_to_the_sheet_from_its_header() -> None:
    lesson = read(sources(ROOT)[0])
    assert REFERENCE in notebook_text(lesson, "learner")
    assert "](../reference.md)" in notebook_text(lesson, "solution")
