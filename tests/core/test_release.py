"""The rehearsal of a release: what stops it, and what it builds and tries."""

from pathlib import Path

import pytest

from annlib import __version__
from tools import release

CHANGELOG = "# Changelog\n\n## {}\n\n- a change\n\n## 0.1.0\n"


@pytest.mark.parametrize("heading", ["0.2.0", "v0.2.0", "[0.2.0] - 2027-01-01", "0.2.0, 2027"])
def test_version_that_is_the_newest_heading_is_a_release(heading: str) -> None:
    assert release.obstacles("0.2.0", CHANGELOG.format(heading), "") == []


def test_what_is_not_a_release_yet_is_said() -> None:
    found = release.obstacles("0.2.0", CHANGELOG.format("Unreleased"), " M README.md\n?? x\n")
    assert found[0].startswith("2 files are not committed")
    assert "'Unreleased'" in found[1] and "`## 0.2.0`" in found[1]
    with pytest.raises(ValueError, match="no heading of a version"):
        release.obstacles("0.2.0", "# Changelog\n", "")


def test_our_changelog_has_a_heading() -> None:
    text = (release.ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert release.newest_heading(text) in ("Unreleased", __version__)


def test_command_that_fails_is_shown_with_its_output(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no-such-file"):
        release.run("ls", "no-such-file", where=tmp_path)


@pytest.mark.all
@pytest.mark.timeout(900)
def test_wheel_of_what_git_knows_runs_in_an_empty_environment(tmp_path: Path) -> None:
    source = release.sources(release.ROOT, tmp_path / "source")
    wheel = release.built(source, "wheel", tmp_path / "out")
    told = release.try_wheel(wheel, tmp_path, with_dependencies=False)
    assert told[0] == f"annlib {__version__}" and "13 lessons" in told[-1]
