"""A full and a read-only disk: a small file system in memory, filled up."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from competition.layout import STAGES
from tests.conftest import Project, digests

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def small_disk(ran: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project that has run, its data folder a disk of 8 MB."""
    folder = tmp_path_factory.mktemp("disk") / "project"
    project = Project(shutil.copytree(ran, folder, ignore=lambda at, _: ["data"] if Path(at) == ran else []))
    data = folder / "data"
    data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(data)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here")
    shutil.copytree(ran / "data", data, dirs_exist_ok=True)
    yield project
    subprocess.run(["umount", str(data)], check=True)


def fill(data: Path, left_bytes: int) -> Path:
    filler = data / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(data).free - left_bytes))
    return filler


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_is_told_and_loses_nothing(small_disk: Project, stage: str) -> None:
    before = digests(small_disk.folder)
    filler = fill(small_disk.folder / "data", left_bytes=8192)
    said = small_disk.run("compete", stage, code=1).stderr
    filler.unlink()
    assert said.startswith("compete: ")
    assert "no space is left" in said
    assert said.count("\n") == 1
    assert digests(small_disk.folder) == before
    assert not list((small_disk.folder / "data").glob(".*.partial"))


def test_space_that_ends_midway(small_disk: Project) -> None:
    """Enough to begin with, and another program takes the rest while the model trains."""
    before = digests(small_disk.folder)
    data = small_disk.folder / "data"
    running = subprocess.Popen(
        ["compete", "train"], cwd=small_disk.folder, env=small_disk.environment, stderr=subprocess.PIPE, text=True
    )
    while not (data / ".train.partial").exists():
        time.sleep(0.01)
    time.sleep(0.5)
    filler = fill(data, left_bytes=4096)
    said = running.communicate(timeout=120)[1]
    filler.unlink()
    assert running.returncode == 1
    assert said.startswith("compete: ")
    assert "no space is left" in said
    assert said.count("\n") == 1
    assert digests(small_disk.folder) == before


@pytest.mark.parametrize("stage", STAGES)
def test_a_read_only_disk_is_told(small_disk: Project, stage: str, remount: Callable[[str], None]) -> None:
    before = digests(small_disk.folder)
    remount("ro")
    said = small_disk.run("compete", stage, code=1).stderr
    assert said.startswith("compete: cannot write to ")
    assert "it is read-only" in said
    assert digests(small_disk.folder) == before


@pytest.fixture
def remount(small_disk: Project) -> Iterator[Callable[[str], None]]:
    def change(how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(small_disk.folder / "data")], check=True)

    yield change
    change("rw")
