"""Folders, archives, and archives in both: the same names and bytes, in the order in which reading is fastest."""

import io
import multiprocessing
import os
import shutil
import sys
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from competition.errors import CompetitionError, UnreadableError
from competition.raw import sources
from competition.raw.sources import Source, list_images, open_source
from tests.conftest import Files, png, write_folder, write_zip

TRAIN = {f"train/{name}.png": png(n) for n, name in enumerate(["b", "a", "c"])}
TABLE = {"train.csv": b"id,label\na,x\nb,y\n"}
KINDS = ["zip", "tar", "tar.gz", "tgz", "7z"]


def packed(kind: str, files: Files) -> bytes:
    """Pack files into an archive; a name that ends in / is an empty folder."""
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    elif kind == "7z":
        seven = pytest.importorskip("py7zr")
        with seven.SevenZipFile(stream, "w") as archive:
            for name, data in files.items():
                archive.writestr(data, name)
    else:
        with tarfile.open(fileobj=stream, mode="w" if kind == "tar" else "w:gz") as archive:
            for name, data in files.items():
                info = tarfile.TarInfo(name.rstrip("/"))
                info.type, info.size = (tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE), len(data)
                archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def below(folder: str, files: Files) -> Files:
    return {f"{folder}/{name}": data for name, data in files.items()}


def read_all(source: Source) -> Files:
    return {name: source.read(name) for name in source.files}


def refusal(path: Path, scratch: Path | None = None) -> str:
    with pytest.raises(CompetitionError) as caught:
        open_source(path, scratch)
    return str(caught.value)


# Archives beside and inside -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_archive_beside_tables(tmp_path: Path, kind: str) -> None:
    """It shows as a folder at its place in the alphabet, its files in its own order, and is no file itself."""
    files = TABLE | {f"m.{kind}": packed(kind, TRAIN), "a.csv": b"id\n"}
    source = open_source(write_folder(tmp_path / "raw", files), tmp_path / "scratch")
    assert source.files == ("a.csv", *(f"m.{kind}/{name}" for name in TRAIN), "train.csv")
    assert source.folders == (f"m.{kind}", f"m.{kind}/train")
    assert source.left_out == ()
    assert read_all(source) == {"a.csv": b"id\n"} | TABLE | below(f"m.{kind}", TRAIN)
    assert (tmp_path / "scratch").exists() == (kind == "7z"), "an archive in a folder is read where it is"


@pytest.mark.parametrize("outer", KINDS)
@pytest.mark.parametrize("inner", KINDS)
def test_archive_in_an_archive(tmp_path: Path, outer: str, inner: str) -> None:
    files = {f"train.{inner}": packed(inner, TRAIN)} | TABLE
    path = tmp_path / f"all.{outer}"
    path.write_bytes(packed(outer, files))
    source = open_source(path, tmp_path / "scratch")
    assert source.files == (*(f"train.{inner}/{name}" for name in TRAIN), "train.csv")
    assert read_all(source) == below(f"train.{inner}", TRAIN) | TABLE
    numbered = [place for place in (tmp_path / "scratch").rglob("*") if place.is_file()]
    assert numbered
    assert all(place.name.isdigit() for place in numbered)


def test_archives_in_archives_without_scratch_stay_closed(tmp_path: Path) -> None:
    """Those in a folder are opened all the same: they are read where they are."""
    files = {"train.zip": packed("zip", {"more.zip": packed("zip", TRAIN), "x.7z": b""} | TABLE)}
    source = open_source(write_folder(tmp_path, files))
    assert source.files == ("train.zip/more.zip", "train.zip/x.7z", "train.zip/train.csv")
    assert source.folders == ("train.zip",)


def test_table_in_a_zip_of_its_own(tmp_path: Path) -> None:
    source = open_source(write_folder(tmp_path, {"Train.CSV.Zip": packed("zip", TABLE)}))
    assert source.files == ("Train.CSV.Zip/train.csv",)


def test_empty_folders_in_archives(tmp_path: Path) -> None:
    for kind in ("zip", "tar"):
        full = packed(kind, {"cat/": b"", "dog/1.png": b"x"})
        root = write_folder(tmp_path / kind, {f"a.{kind}": full, f"b.{kind}": packed(kind, {}), "bird/": b""})
        assert open_source(root).folders == (f"a.{kind}", f"a.{kind}/cat", f"a.{kind}/dog", f"b.{kind}", "bird")


def test_archives_are_opened_three_deep(tmp_path: Path) -> None:
    """Deeper ones stay closed: an archive can hold itself."""
    data = packed("zip", TRAIN)
    for _ in range(4):
        data = packed("zip", {"a.zip": data, "a.txt": b"x"})
    source = open_source(write_folder(tmp_path / "raw", {"a.zip": data}), tmp_path / "scratch")
    deepest = "a.zip/a.zip/a.zip"
    assert sorted(source.files) == sorted(["a.zip/a.txt", "a.zip/a.zip/a.txt", f"{deepest}/a.txt", f"{deepest}/a.zip"])
    assert len(source.left_out) == 1
    assert f"{deepest}: 'a.zip' stays closed" in source.left_out[0]


@pytest.mark.parametrize("kind", KINDS)
def test_reading_in_order_in_another_process(tmp_path: Path, kind: str) -> None:
    inner = {f"more.{kind}": packed(kind, TRAIN)}
    root = write_folder(
        tmp_path / "raw", TABLE | {f"m.{kind}": packed(kind, inner | TRAIN), "z.zip": packed("zip", inner)}
    )
    source = open_source(root, tmp_path / "scratch")
    assert len(source.files) == 10
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert dict(zip(source.files, pool.map(source.read, source.files), strict=True)) == read_all(source)


def test_many_archives(tmp_path: Path) -> None:
    """More than a process may have open."""
    files = {f"{number:04d}.{kind}": packed(kind, {"x": f"{number}".encode()})
             for number in range(600) for kind in ("zip", "tar")}  # fmt: skip
    source = open_source(write_folder(tmp_path, files))
    assert [source.read(name) for name in source.files[:3]] == [b"0", b"0", b"1"]
    assert read_all(source) == {f"{name}/x": f"{int(name[:4])}".encode() for name in files}
    opened = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0  # noqa: PTH208
    assert opened < 200


def test_another_archive_at_the_same_place(tmp_path: Path) -> None:
    """What a process keeps open is not taken for what came later."""
    for data in (b"first", b"other"):
        source = open_source(write_zip(tmp_path / "raw.zip", {"1.txt": data}))
        assert source.read("1.txt") == data
        shutil.rmtree(tmp_path / "scratch", ignore_errors=True)
        nested = open_source(
            write_zip(tmp_path / "all.zip", {"a.zip": packed("zip", {"1.txt": data})}), tmp_path / "scratch"
        )
        assert nested.read("a.zip/1.txt") == data


def test_scratch_is_shared_by_two_sources(tmp_path: Path) -> None:
    both = [
        open_source(
            write_zip(tmp_path / f"{name}.zip", {"a.zip": packed("zip", {"1.txt": name.encode()})}), tmp_path / "s"
        )
        for name in ("one", "two")
    ]
    assert [source.read("a.zip/1.txt") for source in both] == [b"one", b"two"]


# What is wrong with them --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outer", ["folder", "zip", "tar.gz"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_damaged_archive_is_named(tmp_path: Path, outer: str, kind: str, damage: str) -> None:
    data = packed(kind, TRAIN)
    bad = {
        "cut": data.rstrip(b"\0")[: len(data.rstrip(b"\0")) // 2],
        "text": b"<html>please log in</html>",
        "empty": b"",
    }[damage]
    files = {f"sub/train.{kind}": bad} | TABLE
    path = tmp_path / "raw"
    if outer == "folder":
        write_folder(path, files)
    else:
        path = tmp_path / f"raw.{outer}"
        path.write_bytes(packed(outer, files))
    told = refusal(path, tmp_path / "scratch")
    assert f"{path}/sub/train.{kind} is damaged or not complete" in told
    assert "download it again" in told


def test_archive_that_is_damaged_where_another_lies_in_it(tmp_path: Path) -> None:
    inner = packed("zip", {"1.png": png()})
    path = write_zip(tmp_path / "raw.zip", {"train.zip": inner})
    path.write_bytes(path.read_bytes().replace(inner, inner[:-1] + b"#"))
    told = refusal(path, tmp_path / "scratch")
    assert f"{path}/train.zip: the archive is damaged there" in told


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_tar_that_is_cut_after_it_was_listed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"raw.{kind}"
    path.write_bytes(packed(kind, TRAIN))
    source = open_source(path)
    os.truncate(path, 600 if kind == "tar" else 60)
    with pytest.raises(UnreadableError, match="the archive is damaged there"):
        source.read("train/b.png")


def test_file_that_is_gone(tmp_path: Path) -> None:
    source = open_source(write_folder(tmp_path, TRAIN))
    (tmp_path / "train/a.png").unlink()
    with pytest.raises(UnreadableError, match="cannot be read"):
        source.read("train/a.png")


def test_password(tmp_path: Path) -> None:
    seven = pytest.importorskip("py7zr")
    for header in (False, True):
        path = tmp_path / "raw" / "train.7z"
        path.parent.mkdir(exist_ok=True)
        with seven.SevenZipFile(path, "w", password="x", header_encryption=header) as archive:
            archive.writestr(b"x", "1.png")
        told = refusal(tmp_path / "raw", tmp_path / "scratch")
        assert f"{path} is protected by a password; unpack it" in told
    path.unlink()
    data = bytearray(packed("zip", {"1.png": b"x"}))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "raw/train.zip").write_bytes(data)
    assert "train.zip is protected by a password; unpack it" in refusal(tmp_path / "raw")


def test_7z_without_py7zr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_folder(tmp_path / "raw", {"train.7z": packed("7z", TRAIN)})
    monkeypatch.setitem(sys.modules, "py7zr", None)
    told = refusal(root, tmp_path / "scratch")
    assert "train.7z is a .7z" in told
    assert told.endswith("; pip install -e '.[7z]'")


def test_7z_without_scratch(tmp_path: Path) -> None:
    told = refusal(write_folder(tmp_path, {"train.7z": packed("7z", TRAIN)}))
    assert "train.7z can only be read once it is unpacked; unpack it and set data.root" in told


@pytest.mark.parametrize("kind", ["7z", "zip"])
def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """What does not fit is refused before the first byte is unpacked."""
    path = tmp_path / "raw.zip"
    path.write_bytes(packed("zip", {f"train.{kind}": packed(kind, TRAIN)}))
    if kind == "7z":
        path = write_folder(tmp_path / "raw", {"train.7z": packed(kind, TRAIN)})
    usage: Callable[[Any], Any] = lambda place: shutil._ntuple_diskusage(10**9, 10**9, 100)  # type: ignore[attr-defined]  # noqa: E731
    monkeypatch.setattr(sources.shutil, "disk_usage", usage)
    told = refusal(path, tmp_path / "scratch")
    assert f"{path}/train.{kind} takes" in told
    assert str(tmp_path / "scratch") in told
    assert "make room" in told
    assert [place for place in (tmp_path / "scratch").rglob("*") if place.is_file()] == []


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("kind", KINDS)
def test_foreign_names(tmp_path: Path, kind: str, form: str) -> None:
    """An archive's own name and those in it have one Unicode form."""
    files = {"Prüfung/写 真 é.png": png()}
    written = {unicodedata.normalize(form, name): data for name, data in files.items()}
    name = unicodedata.normalize(form, f"Übung.{kind}")
    source = open_source(write_folder(tmp_path / "raw", {name: packed(kind, written)}), tmp_path / "scratch")
    assert read_all(source) == below(f"Übung.{kind}", files)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' names are Unicode")
def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    """Names in the old code page of Western Europe can be written into tables too."""
    name = os.fsdecode("é.png".encode("latin-1"))
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / name).write_bytes(b"folder")
    (tmp_path / "raw" / "a.tar").write_bytes(packed("tar", {name: b"tar"}))
    assert read_all(open_source(tmp_path / "raw")) == {"a.tar/é.png": b"tar", "é.png": b"folder"}


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_dots_in_names(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"raw.{kind}"
    path.write_bytes(packed(kind, {"./train/1.png": b"1", "train//2.png": b"2"}))
    assert read_all(open_source(path)) == {"train/1.png": b"1", "train/2.png": b"2"}


def test_junk_in_archives(tmp_path: Path) -> None:
    """What file managers leave behind is not opened, be it called like an archive."""
    junk = {"__MACOSX/._train.zip": b"junk", "._train.zip": b"junk", ".cache/x.tar": b"junk"}
    source = open_source(write_folder(tmp_path, {**junk, "train.zip": packed("zip", junk | TRAIN)}))
    assert source.files == tuple(below("train.zip", TRAIN))
    assert source.left_out == ()


def test_images_are_told_by_their_names(tmp_path: Path) -> None:
    """Those that OpenCV decodes."""
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    files = {}
    assert {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".pbm", ".jp2"} <= set(sources.IMAGES)
    for ending in sources.IMAGES:
        encoder = {".jfif": ".jpg"}.get(ending, ending)
        data = cv2.imencode(encoder, image[..., 0] if ending in (".pbm", ".pgm") else image)[1].tobytes()
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (64, 64, 3)
        files |= {f"a{ending}": data, f"B{ending.upper()}": data}
    source = open_source(write_folder(tmp_path, files | {"c.txt": b"", "jpg": b""}))
    assert list_images(source) == sorted(files)


def test_links_in_a_folder(tmp_path: Path) -> None:
    """They are followed wherever they lead; a folder shows under its own name, else that of the first link to it."""
    elsewhere = write_folder(tmp_path / "disk", {"1.png": b"1", "2.png": b"2", "t.zip": packed("zip", {"3.png": b"3"})})
    root = write_folder(tmp_path / "raw", {"train/a.png": b"a"})
    (root / "one.png").symlink_to(elsewhere / "1.png")
    (root / "b.zip").symlink_to(elsewhere / "t.zip")
    for name in ("again", "train-again"):
        (root / name).symlink_to(root / "train")
    for number in reversed(range(10)):
        (root / f"disk-{number}").symlink_to(elsewhere)
    (root / "round").symlink_to(root)
    source = open_source(root)
    assert source.files == (
        "b.zip/3.png", "disk-0/1.png", "disk-0/2.png", "disk-0/t.zip/3.png", "one.png", "train/a.png",
    )  # fmt: skip
    assert source.folders == ("b.zip", "disk-0", "disk-0/t.zip", "train")
    assert source.read("one.png") == b"1"
    assert source.left_out == ()


@pytest.mark.parametrize("kind", KINDS)
def test_paths_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Root and scratch may be given from the folder the command runs in, as params.yaml and the stages give them."""
    monkeypatch.chdir(tmp_path)
    inner = packed(kind, TRAIN)
    write_folder(tmp_path / "raw", {f"train.{kind}": inner, "more.zip": packed("zip", {f"again.{kind}": inner})})
    source = open_source(Path("raw"), Path("scratch"))
    for name in TRAIN:
        assert source.read(f"train.{kind}/{name}") == TRAIN[name]
        assert source.read(f"more.zip/again.{kind}/{name}") == TRAIN[name]
