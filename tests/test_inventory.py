"""annlib weights and annlib list: what there is, what is here, and whether it is whole."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from file_server import closed_port
from foreign_weights import in_the_reference, random_model, save_published, slim_row

from annlib import __main__, zoo
from annlib.experiments import FULL_SIZE, LAPTOP
from annlib.model import hub
from annlib.model.build import SHIPPED
from annlib.model.checkpoint import load, save
from annlib.model.hub import PRETRAINED, all_weights, fetch_published, find_weights, verify
from annlib.zoo import Published

Run = Callable[..., str]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANNLIB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ANNLIB_WEIGHTS_HOST", f"file://{tmp_path}/host")
    monkeypatch.delenv("ANNLIB_TRACEBACK", raising=False)
    return tmp_path / "home" / "weights"


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Published, ...]:
    """Two rows with random weights of few channels."""
    (tmp_path / "host").mkdir()
    rows = []
    for index in (0, 8):
        row = slim_row(index)
        weights = in_the_reference(random_model(row.experiment.model))
        rows.append(save_published(tmp_path / "host", row, weights))
        for name in (row.name, row.name_1x):
            monkeypatch.setitem(zoo.NAMES, name, rows[-1])
    monkeypatch.setattr(hub, "ROWS", tuple(rows))
    return tuple(rows)


@pytest.fixture
def annlib(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line.  -> what it printed"""

    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["annlib", *map(str, words)])
        __main__.main()
        return capsys.readouterr().out

    return run


def failure(run: Run, *words: object) -> str:
    with pytest.raises(SystemExit) as stop:
        run(*words)
    return str(stop.value.code)


def line_of(name: str, printed: str) -> list[str]:
    (line,) = (line for line in printed.splitlines() if line.startswith(f"| {name} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_all_weights_are_the_rows_the_backbones_and_the_shipped() -> None:
    names = [row.name for row in zoo.ROWS] + [each.name for each in PRETRAINED]
    names += sorted(path.stem for path in SHIPPED.glob("*.safetensors"))
    assert [weights.name for weights in all_weights()] == names


def test_hashes_are_those_in_the_addresses() -> None:
    for weights in all_weights():
        if weights.kind != "shipped":
            assert weights.pth.name.endswith(f"-{weights.sha256_start}.pth")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("ann_r50-d8_4xb2-40k_cityscapes-512x1024.py", "ann_r50-d8_512x1024_40k_cityscapes"),
        ("open-mmlab://resnet101_v1c", "resnet101_v1c"),
        ("balloon_ann", "balloon_ann"),
    ],
)
def test_weights_are_found_by_all_their_names(name: str, found: str) -> None:
    assert find_weights(name).name == found


def test_unknown_weights_get_the_nearest_names() -> None:
    with pytest.raises(KeyError, match="No weights 'resnet50_v1'. Nearest: resnet50_v1c, "):
        find_weights("resnet50_v1")


def test_list_tells_what_is_here(annlib: Run, rows: tuple, cache: Path) -> None:
    first, second = rows
    path = fetch_published(first.name)
    (cache / f"{second.weights_url.rpartition('/')[2]}.part").touch()
    printed = annlib("weights", "list")
    size = f"{path.stat().st_size / 2**20:.1f}"
    start = first.weights_sha256_start
    assert line_of(first.name, printed) == [first.name, "released", start, "here", size]
    assert line_of(second.name, printed)[3:] == ["half", "-"]
    assert line_of("resnet50_v1c", printed)[1:] == ["ImageNet", "2cccc1ad", "-", "-"]
    assert line_of("balloon_ann", printed)[1::2] == ["shipped", "here"]
    assert str(cache) in printed


def test_fetched_weights_are_here_and_right(annlib: Run, rows: tuple, cache: Path) -> None:
    names = [row.name_1x for row in rows]
    printed = annlib("weights", "fetch", *names, "--keep-pth")
    assert all(str(cache / f"{row.name}.safetensors") in printed for row in rows)
    verified = annlib("weights", "verify", *names).splitlines()
    for row, line in zip(rows, verified, strict=True):
        assert line == f"{row.name}: right (384 tensors in .safetensors, 384 tensors in .pth)"


def test_fetch_shows_how_much_has_come(
    rows: tuple, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for end in (
        f"{rows[0].weights_url.rpartition('/')[2]}: 100%",
        "",
    ):  # what is here already needs no bar
        monkeypatch.setattr(sys, "argv", ["annlib", "weights", "fetch", rows[0].name])
        __main__.main()
        bar = capsys.readouterr().err
        assert end in bar and bool(end) == bool(bar)


def test_verify_looks_at_all_that_is_here(annlib: Run, rows: tuple) -> None:
    fetch_published(rows[1].name)
    printed = annlib("weights", "verify")
    assert [line.partition(":")[0] for line in printed.splitlines()] == [
        rows[1].name,
        *(path.stem for path in sorted(SHIPPED.glob("*.safetensors"))),
    ]


def test_verify_tells_what_is_wrong_and_goes_on(annlib: Run, rows: tuple, capsys) -> None:
    damaged, whole = (fetch_published(row.name) for row in rows)
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    assert failure(annlib, "weights", "verify") == "1 of them not right"
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{rows[0].name}: {damaged} is damaged")
    assert second.startswith(f"{rows[1].name}: right")


def test_verify_tells_weights_of_another_origin(rows: tuple) -> None:
    checkpoint = load(fetch_published(rows[0].name))
    model = random_model(rows[0].experiment.model)
    save(checkpoint.path, model, notes=checkpoint.notes | {"sha256": "0" * 64})
    with pytest.raises(ValueError, match="made from a file whose SHA-256 begins with 00000000"):
        verify(find_weights(rows[0].name))


def test_verify_tells_weights_of_another_shape(rows: tuple) -> None:
    checkpoint = load(fetch_published(rows[0].name))
    other = random_model(replace(checkpoint.config, num_classes=3))
    save(checkpoint.path, other, notes=checkpoint.notes)
    with pytest.raises(ValueError, match="num_classes 3 there, 19 here"):
        verify(find_weights(rows[0].name))


def test_verify_tells_what_is_not_here(annlib: Run, capsys: pytest.CaptureFixture[str]) -> None:
    failure(annlib, "weights", "verify", "resnet50_v1c")
    assert "is not here: annlib weights fetch resnet50_v1c" in capsys.readouterr().out


def test_damaged_backbone_is_found(cache: Path) -> None:
    weights = find_weights("resnet50_v1c")
    weights.path.parent.mkdir(parents=True)
    weights.path.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="not with 2cccc1ad"):
        verify(weights)


def test_backbone_with_other_names_is_found(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "check_hash", lambda path, expected: "")
    weights = find_weights("resnet50_v1c")
    weights.path.parent.mkdir(parents=True)
    torch.save({"stem.0.weight": torch.zeros(32, 3, 3, 3)}, weights.path)
    with pytest.raises(ValueError, match="belongs to another network: it lacks stem.1.weight"):
        verify(weights)


def test_import_takes_a_file_from_elsewhere(annlib: Run, rows: tuple, tmp_path: Path) -> None:
    row = rows[0]
    path = next((tmp_path / "host").rglob(f"{row.name}/*.pth")).rename(tmp_path / "mine.pth")
    annlib("weights", "import", path, row.name_1x)
    assert find_weights(row.name).state == "here"
    assert "is not the file released for" in failure(
        annlib, "weights", "import", path, rows[1].name
    )


def test_fetch_without_a_name_asks_for_one(annlib: Run) -> None:
    assert "Name the weights, for example" in failure(annlib, "weights", "fetch")


def test_fetch_offline_explains_itself(
    annlib: Run, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNLIB_WEIGHTS_HOST", f"http://127.0.0.1:{closed_port()}")
    message = failure(annlib, "weights", "fetch", "--all")
    assert "annlib: ann_r50-d8_512x1024_40k_cityscapes_20200605_095211-049fc292.pth" in message
    assert f"put it at {cache}" in message


def test_list_shows_the_published_tables_in_120_columns(annlib: Run) -> None:
    printed = annlib("list")
    assert max(map(len, printed.splitlines())) <= 120
    for name in (*LAPTOP, *zoo.ZOO):
        assert line_of(name, printed)
    assert line_of("ann_r101-d8_769x769_40k_cityscapes", printed)[1:] == (
        ["ANN", "R-101-D8", "769x769", "40000", "10.7", "1.15", "79.32", "80.94"]
    )
    assert line_of("ann_r50-d8_512x512_160k_ade20k", printed)[5:7] == ["-", "-"]
    titles = [line for line in printed.splitlines() if line.startswith("Published: ")]
    assert [title.split()[1] for title in titles] == ["Cityscapes", "ADE20K", "Pascal"]


def test_list_as_json_holds_every_fact(annlib: Run) -> None:
    listed = json.loads(annlib("list", "--json"))
    assert [each["name"] for each in listed["laptop"]] == [*LAPTOP, *FULL_SIZE]
    assert listed["published"] == [json.loads(json.dumps(row.facts())) for row in zoo.ROWS]
