"""The replicas are what they say: whole images, sample submissions of the right ids, graders that refuse."""

import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest

from tests.replicas import REPLICAS, Files, Replica

GUESSED = ("iwildcam-2020-fgvc7", "paddy-disease-classification")  # samples that their graders would refuse
IMAGES = (".jpg", ".png", ".tif")


@pytest.mark.parametrize("replica", REPLICAS, ids=lambda replica: replica.name)
def test_replica(replica: Replica, tmp_path: Path) -> None:
    if replica.name == "invasive-species-monitoring":
        pytest.importorskip("py7zr")
    (first := tmp_path / "first").mkdir()
    (second := tmp_path / "second").mkdir()
    assert replica.write(first).exists()
    replica.write(second)
    assert _folder(first) == _folder(second)
    files = dict(_unpacked(_folder(first)))
    pictures = [data for name, data in files.items() if name.endswith(IMAGES)]
    assert all(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None for data in pictures)
    assert len(set(pictures)) == len(pictures) >= 45
    samples = [data for name, data in files.items() if "sample_submission" in PurePosixPath(name).name]
    for sample in samples:
        found = replica.mistakes(sample)
        assert all(mistake.startswith("row") for mistake in found), found
        assert not found or replica.name in GUESSED, found
        header, *lines = sample.splitlines()
        assert _kinds(replica, [header, *lines[1:]]) >= {"ids"}
        assert _kinds(replica, [header, lines[0], *lines]) >= {"ids"}
        assert "row" in _kinds(replica, [header, *(line.rpartition(b",")[0] + b",?" for line in lines)])
    assert bool(samples) or replica.name in ("hackerearth-gala", "flower-folders")
    assert _kinds(replica, []) == _kinds(replica, [b"another,header", b"1,2"]) == {"header"}


def _kinds(replica: Replica, lines: list[bytes]) -> set[str]:
    return {mistake.split()[0].rstrip(":") for mistake in replica.mistakes(b"".join(line + b"\n" for line in lines))}


def _folder(folder: Path) -> Files:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _unpacked(files: Files) -> Iterator[tuple[str, bytes]]:
    """Go through files, and through those in archives, however deep."""
    for name, data in files.items():
        if name.endswith(".zip"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                inner = {entry: archive.read(entry) for entry in archive.namelist() if not entry.endswith("/")}
            yield from _unpacked({f"{name}/{entry}": inside for entry, inside in inner.items()})
        elif name.endswith(".tar.gz"):
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                inner = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
            yield from _unpacked({f"{name}/{entry}": inside for entry, inside in inner.items()})
        elif name.endswith(".7z"):
            yield from _seven_unzipped(data)
        else:
            yield name, data


def _seven_unzipped(data: bytes) -> Iterator[tuple[str, bytes]]:
    from py7zr import SevenZipFile
    from py7zr.io import BytesIOFactory

    factory = BytesIOFactory(limit=10_000_000)
    with SevenZipFile(io.BytesIO(data)) as archive:
        archive.extractall(factory=factory)
    for name, product in factory.products.items():
        product.seek(0)
        yield name, product.read()
