"""Released weights: from the publisher's file to a network of ours, or a way to go on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from file_server import Files, closed_port, serving
from foreign_weights import (
    in_the_reference,
    random_model,
    same,
    save_published,
    slim_row,
    whole_file,
)
from golden_rules import shapes

from annlib import zoo
from annlib.config import ModelConfig, experiment_from
from annlib.model import hub as module
from annlib.model.ann import ANN
from annlib.model.checkpoint import load, save
from annlib.model.convert import from_mmseg
from annlib.model.hub import fetch_published, import_published, kept_at, load_published
from annlib.zoo import Published

Release = Callable[..., tuple[Published, ANN]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANNLIB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ANNLIB_WEIGHTS_HOST", f"file://{tmp_path}/host")
    return tmp_path / "home" / "weights"


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Release:
    """Publishes random weights for a row, in the place of the true ones.  -> row, network"""

    def publish(index: int = 0) -> tuple[Published, ANN]:
        row = slim_row(index)
        model = random_model(row.experiment.model)
        row = save_published(tmp_path / "host", row, whole_file(in_the_reference(model)))
        for name in (row.name, row.name_1x):
            monkeypatch.setitem(zoo.NAMES, name, row)
        return row, model

    (tmp_path / "host").mkdir()
    return publish


def cached(row: Published) -> Path:
    return kept_at(f"{row.name}.safetensors")


@pytest.mark.parametrize("row", zoo.ROWS, ids=lambda row: row.name)
def test_weights_of_every_row_fit_its_network_to_the_last(
    row: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "equal", lambda a, b: True)  # tensors on meta hold no numbers
    config = row.experiment.model
    table = shapes(config.depth, config.num_classes)
    renamed = from_mmseg({key: torch.empty(shape, device="meta") for key, shape in table.items()})
    with torch.device("meta"):
        ours = ANN(config).state_dict()
    assert len(table) == {50: 390, 101: 696}[config.depth]
    assert {k: v.shape for k, v in renamed.items()} == {k: v.shape for k, v in ours.items()}


def test_files_of_these_tests_have_the_reference_s_names() -> None:
    with torch.device("meta"):
        written = in_the_reference(ANN(ModelConfig(50, 19)))
    assert {k: tuple(v.shape) for k, v in written.items()} == shapes(50, 19)


@pytest.mark.parametrize("index", [0, 3, 9])
def test_released_weights_arrive_unchanged(release: Release, index: int) -> None:
    row, model = release(index)
    loaded = load_published(row.name_1x)
    assert same(loaded, model)
    assert not loaded.training
    images = torch.randn(1, 3, 33, 41)
    assert torch.equal(loaded(images).main, model(images).main)


def test_cache_holds_our_format_alone_and_is_used_again(release: Release, cache: Path) -> None:
    row, model = release()
    assert fetch_published(row.name) == cached(row) == cache / f"{row.name}.safetensors"
    assert list(cache.iterdir()) == [cached(row)]
    (cache.parents[1] / "host").rename(cache.parents[1] / "gone")
    assert same(load_published(row.name), model)


def test_published_file_is_kept_if_wanted(release: Release, cache: Path) -> None:
    row, _ = release()
    fetch_published(row.name)
    fetch_published(row.name, keep_pth=True)
    assert {path.name for path in cache.iterdir()} == {
        f"{row.name}.safetensors",
        row.weights_url.rpartition("/")[2],
    }


def test_cached_weights_say_where_they_come_from(release: Release) -> None:
    row, _ = release(2)
    checkpoint = load(fetch_published(row.name))
    assert checkpoint.step == 40_000
    assert experiment_from(checkpoint.notes["experiment"]) == row.experiment
    assert checkpoint.notes["sha256"].startswith(row.weights_sha256_start)
    facts = checkpoint.notes["published"]
    assert (facts["weights_url"], facts["miou"]) == (row.weights_url, 78.89)


def test_network_is_fetched_over_http_and_resumed(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, model = release()
    path = "/" + row.weights_url.partition("://")[2].partition("/")[2]
    content = (tmp_path / "host" / path[1:]).read_bytes()
    with serving(Files({path: content}, drop_after=[len(content) // 2])) as files:
        monkeypatch.setenv("ANNLIB_WEIGHTS_HOST", files.url + "/")
        assert same(load_published(row.name), model)
    assert files.asked == [None, f"bytes={len(content) // 2}-"]


def test_offline_explains_itself(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNLIB_WEIGHTS_HOST", f"http://127.0.0.1:{closed_port()}")
    row = zoo.ROWS[0]
    file = row.weights_url.rpartition("/")[2]
    with pytest.raises(ConnectionError) as error:
        load_published(row.name)
    for part in (
        file,
        "Connection refused",
        str(cache / file),
        f"annlib weights import FILE {row.name}",
    ):
        assert part in str(error.value)


def test_file_put_there_by_hand_is_taken(release: Release, cache: Path, tmp_path: Path) -> None:
    row, model = release()
    cache.mkdir(parents=True)
    next((tmp_path / "host").rglob("*.pth")).rename(cache / row.weights_url.rpartition("/")[2])
    assert same(load_published(row.name), model)


def test_damaged_file_is_refused_and_nothing_cached(
    release: Release, cache: Path, tmp_path: Path
) -> None:
    row, _ = release()
    with next((tmp_path / "host").rglob("*.pth")).open("r+b") as file:
        file.write(b"!")
    with pytest.raises(ValueError, match=f"not with {row.weights_sha256_start}"):
        load_published(row.name)
    assert not cached(row).exists()


def test_file_from_elsewhere_is_imported_under_any_name(release: Release, tmp_path: Path) -> None:
    row, model = release()
    path = next((tmp_path / "host").rglob("*.pth")).rename(tmp_path / "mine.pth")
    assert import_published(path, row.name_1x) == cached(row)
    assert path.exists()
    assert same(load_published(row.name), model)


def test_import_of_another_row_names_it(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, _ = release(4)
    monkeypatch.setattr(module, "ROWS", (row,))
    path = next((tmp_path / "host").rglob("*.pth"))
    with pytest.raises(ValueError, match=f"It is the one of {row.name}"):
        import_published(path, zoo.ROWS[0].name)
    path.write_bytes(b"other")
    with pytest.raises(ValueError, match="It is of no published row"):
        import_published(path, row.name)
    assert not cached(row).exists()


@pytest.mark.parametrize("whole", [True, False])
def test_file_of_the_user_is_loaded(release: Release, tmp_path: Path, whole: bool) -> None:
    row, _ = release()
    own = random_model(row.experiment.model, seed=7)
    weights = in_the_reference(own)
    torch.save(whole_file(weights) if whole else weights, tmp_path / "own.pth")
    assert same(load_published(row.name, tmp_path / "own.pth"), own)


def test_our_own_format_is_loaded(release: Release, tmp_path: Path) -> None:
    row, model = release()
    save(tmp_path / "own.safetensors", model)
    assert same(load_published(row.name, str(tmp_path / "own.safetensors")), model)


def test_weights_of_another_row_are_refused(release: Release, tmp_path: Path) -> None:
    row, _ = release()
    config = replace(row.experiment.model, num_classes=21)
    torch.save(in_the_reference(random_model(config)), tmp_path / "own.pth")
    with pytest.raises(ValueError, match=r"classifier.weight \(21, 12, 1, 1\) there, \(19, 12, 1"):
        load_published(row.name, tmp_path / "own.pth")
    save(tmp_path / "own.safetensors", ANN(config))
    with pytest.raises(ValueError, match="num_classes 21 there, 19 here"):
        load_published(row.name, tmp_path / "own.safetensors")


def test_hash_in_the_name_of_a_given_file_is_checked(release: Release, tmp_path: Path) -> None:
    row, model = release()
    torch.save(in_the_reference(model), tmp_path / "own-00000000.pth")
    with pytest.raises(ValueError, match="not with 00000000"):
        load_published(row.name, tmp_path / "own-00000000.pth")
