"""Released and ImageNet weights: from the publisher's file to a network, or a way to go on."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from failing import failure
from file_server import Files, closed_port, serving
from foreign_weights import (
    SLIM,
    in_the_reference,
    random_model,
    same,
    save_published,
    slim_row,
    whole_file,
)
from golden_rules import shapes
from torch import Tensor

from annlib import __main__, published_experiments
from annlib.cli.weights import all_weights, find_weights, verify
from annlib.config import ModelConfig, experiment_from
from annlib.engine.predictor import find_network
from annlib.experiments import FULL_SIZE, LAPTOP
from annlib.model import hub
from annlib.model.ann import ANN
from annlib.model.build import SHIPPED
from annlib.model.checkpoint import load, save
from annlib.model.hub import (
    PRETRAINED,
    Pretrained,
    fetch_published,
    import_published,
    kept_at,
    load_backbone,
    load_published,
)
from annlib.published_experiments import Published

Release = Callable[..., tuple[Published, ANN]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANNLIB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ANNLIB_WEIGHTS_HOST", f"file://{tmp_path}/host")
    monkeypatch.delenv("ANNLIB_TRACEBACK", raising=False)
    return tmp_path / "home" / "weights"


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Release:
    """Publishes random weights for a row, in the place of the true ones.  -> row, network"""

    def publish(index: int = 0) -> tuple[Published, ANN]:
        row = slim_row(index)
        model = random_model(row.experiment.model)
        row = save_published(tmp_path / "host", row, whole_file(in_the_reference(model)))
        for name in (row.name, row.name_1x):
            monkeypatch.setitem(published_experiments.NAMES, name, row)
        return row, model

    (tmp_path / "host").mkdir()
    return publish


def cached(row: Published) -> Path:
    return kept_at(f"{row.name}.safetensors")


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
    row = published_experiments.ROWS[0]
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
    monkeypatch.setattr(hub, "ROWS", (row,))
    path = next((tmp_path / "host").rglob("*.pth"))
    with pytest.raises(ValueError, match=f"It is the one of {row.name}"):
        import_published(path, published_experiments.ROWS[0].name)
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


def test_weights_of_ones_own_from_the_reference_become_a_checkpoint_with_their_classes(
    annlib, release: Release, tmp_path: Path
) -> None:
    row, _ = release()
    own = random_model(replace(row.experiment.model, num_classes=3), seed=7)
    torch.save(whole_file(in_the_reference(own)), tmp_path / "own.pth")
    (tmp_path / "classes.txt").write_text("soil\nmaize 0 200 0\nweed\n")
    words = ("weights", "import", "own.pth", row.name)
    with pytest.raises(SystemExit, match="--classes FILE"):
        annlib(*words)
    annlib(*words, "--classes", "classes.txt")
    network = find_network("own.safetensors")
    assert same(network.load(), own)
    assert network.spec.class_names == ("soil", "maize", "weed")
    assert network.spec.palette[1] == (0, 200, 0)
    assert network.test == row.experiment.test
    with pytest.raises(SystemExit, match="own.safetensors exists already"):
        annlib(*words, "--classes", "classes.txt")
    with pytest.raises(SystemExit, match=r"classifier.weight \(3, 12, 1, 1\) there, \(11, 12"):
        annlib(*words, "--classes", "camvid", "--out", "other.safetensors")
    assert not Path("other.safetensors").exists()


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


def imagenet(model: ANN, kind: str) -> dict[str, Tensor]:
    """The backbone's weights as a classifier's file holds them."""
    stem = {"stem.0": "conv1", "stem.1": "bn1"} if kind == "torchvision" else {}
    weights = {"fc.weight": torch.zeros(1000, 128), "fc.bias": torch.zeros(1000)}
    for key, tensor in model.backbone.state_dict().items():
        first = ".".join(key.split(".")[:2])
        weights[key.replace(first, stem.get(first, first), 1)] = tensor
    return weights


def slim(depth: int = 50, stem: str = "deep") -> ModelConfig:
    return ModelConfig(depth, num_classes=3, stem=stem, **SLIM)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, ANN]:
    """Small ImageNet weights in the place of the true ones.  -> by source, the networks"""
    folder, models = tmp_path / "host" / "imagenet", {}
    folder.mkdir(parents=True)
    rows = []
    for source, stem in (("reference", "deep"), ("torchvision", "plain")):
        models[source] = random_model(slim(stem=stem), seed=1)
        torch.save(imagenet(models[source], source), folder / f"{source}.pth")
        rows.append(Pretrained(source, source, 50, f"https://there/imagenet/{source}.pth"))
    monkeypatch.setattr(hub, "PRETRAINED", tuple(rows))
    return models


@pytest.mark.parametrize(("source", "stem"), [("reference", "deep"), ("torchvision", "plain")])
def test_backbone_begins_with_imagenet_weights(
    host: dict[str, ANN], cache: Path, source: str, stem: str
) -> None:
    model = random_model(slim(stem=stem), seed=2)
    head = [tensor.clone() for tensor in model.afnb.state_dict().values()]
    assert load_backbone(model, source) == cache / f"{source}.pth"
    assert same(model.backbone, host[source].backbone)
    assert all(map(torch.equal, head, model.afnb.state_dict().values()))


def test_no_block_is_left_at_the_identity(host: dict[str, ANN]) -> None:
    model = ANN(slim())
    load_backbone(model, "reference")
    assert all(block.bn3.weight.all() for block in model.backbone.layer3)


def test_backbone_from_a_file(tmp_path: Path) -> None:
    other = random_model(slim(), seed=1)
    torch.save({"state_dict": imagenet(other, "reference")}, tmp_path / "a.pth")
    model = ANN(slim())
    assert load_backbone(model, str(tmp_path / "a.pth")) == tmp_path / "a.pth"
    assert same(model.backbone, other.backbone)


def test_misspelt_source_is_told_the_names() -> None:
    with pytest.raises(FileNotFoundError, match="no file torchvison .* reference or torchvision"):
        load_backbone(ANN(slim()), "torchvison")


def test_hash_in_the_name_of_a_given_backbone_is_checked(tmp_path: Path) -> None:
    torch.save(imagenet(ANN(slim()), "reference"), tmp_path / "a-00000000.pth")
    with pytest.raises(ValueError, match="not with 00000000"):
        load_backbone(ANN(slim()), tmp_path / "a-00000000.pth")


@pytest.mark.parametrize(
    ("source", "stem", "message"),
    [
        ("torchvision", "deep", 'plain stem.* a deep one.*stem="plain".*weights of reference'),
        ("reference", "plain", 'deep stem.* a plain one.*stem="deep".*weights of torchvision'),
    ],
)
def test_wrong_stem_is_told_before_anything_is_fetched(
    cache: Path, source: str, stem: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load_backbone(ANN(slim(stem=stem)), source)
    assert not cache.exists()


def test_wrong_stem_of_a_file_is_told(tmp_path: Path) -> None:
    torch.save(imagenet(ANN(slim(stem="plain")), "torchvision"), tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth are of a ResNet with a plain stem"):
        load_backbone(ANN(slim()), tmp_path / "a.pth")


def test_wrong_depth_is_told(tmp_path: Path) -> None:
    torch.save(imagenet(ANN(slim(101)), "reference"), tmp_path / "a.pth")
    with pytest.raises(ValueError, match="23 blocks in its third stage.* depth 50 has 6"):
        load_backbone(ANN(slim(50)), tmp_path / "a.pth")


def test_everything_but_the_classifier_must_fit(tmp_path: Path) -> None:
    weights = imagenet(ANN(slim()), "reference")
    torch.save(weights | {"fcn.weight": torch.zeros(1)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth belongs .* unknown fcn\.weight"):
        load_backbone(ANN(slim()), tmp_path / "a.pth")


@pytest.mark.parametrize("weights", [{"features.0.weight": torch.zeros(1)}])
def test_weights_of_no_resnet_are_told(tmp_path: Path, weights: dict) -> None:
    torch.save(weights, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth holds no ResNet .* here are features\.0\.weight"):
        load_backbone(ANN(slim()), tmp_path / "a.pth")


def test_local_network_has_no_imagenet_weights(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="depth 9: there are some for ResNets of depth 50 and 101"):
        load_backbone(ANN(replace(slim(), depth=9, width=16)), "reference")


def test_offline_backbone_explains_itself(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNLIB_WEIGHTS_HOST", f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(ConnectionError, match="Connection refused") as error:
        load_backbone(ANN(slim()), "reference")
    assert str(cache / "resnet50_v1c-2cccc1ad.pth") in str(error.value)


def test_addresses_are_those_of_torchvision() -> None:
    from torchvision.models import ResNet50_Weights, ResNet101_Weights

    known = {50: ResNet50_Weights.IMAGENET1K_V1.url, 101: ResNet101_Weights.IMAGENET1K_V1.url}
    ours = {p.depth: p.url for p in PRETRAINED if p.source == "torchvision"}
    assert ours == known


@pytest.mark.slow
def test_torchvision_s_network_gives_the_same_maps(tmp_path: Path) -> None:
    from torchvision.models import resnet50

    theirs = resnet50(replace_stride_with_dilation=[False, True, True]).eval()
    torch.save(theirs.state_dict(), tmp_path / "a.pth")
    model = ANN(ModelConfig(50, 2, 8, 8, 8, stem="plain")).eval()
    load_backbone(model, tmp_path / "a.pth")
    images = torch.randn(1, 3, 65, 97)
    x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(images))))
    c4 = theirs.layer3(theirs.layer2(theirs.layer1(x)))
    ours = model.backbone(images)
    assert torch.allclose(ours[0], c4, rtol=1e-5, atol=1e-5)
    assert torch.allclose(ours[1], theirs.layer4(c4), rtol=1e-5, atol=1e-5)


Run = Callable[..., str]


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
            monkeypatch.setitem(published_experiments.NAMES, name, rows[-1])
    monkeypatch.setattr(hub, "ROWS", tuple(rows))
    return tuple(rows)


def line_of(name: str, printed: str) -> list[str]:
    (line,) = (line for line in printed.splitlines() if line.startswith(f"| {name} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_all_weights_are_the_rows_the_backbones_and_the_shipped() -> None:
    names = [row.name for row in published_experiments.ROWS] + [each.name for each in PRETRAINED]
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
        assert line == f"{row.name}: correct (384 tensors in .safetensors, 384 tensors in .pth)"


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
    assert failure(annlib, "weights", "verify") == "1 of them are not correct"
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{rows[0].name}: {damaged} is damaged")
    assert second.startswith(f"{rows[1].name}: correct")


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
    for name in (*LAPTOP, *published_experiments.ZOO):
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
    assert listed["published"] == [
        json.loads(json.dumps(row.facts())) for row in published_experiments.ROWS
    ]
