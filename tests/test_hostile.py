"""Archives and tables made to do harm: refused or left out in words, within memory, and nothing written elsewhere."""

import bz2
import gzip
import io
import os
import random
import socket
import stat
import struct
import subprocess
import sys
import tarfile
import textwrap
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from competition.errors import CompetitionError, UnreadableError
from competition.raw import sources
from competition.raw.competition import read_competition
from competition.raw.metadata import flatten
from competition.raw.sources import open_source
from competition.raw.tables import parse_table
from tests.conftest import data_params, png, write_folder, write_zip

ASTRAY = ["../../etc/passwd", "/etc/passwd", "a/../../b.png", "C:/b.png", "c:b.png", "..\\b.png", "a\\b.png", ".."]
BLOCK = 1 << 24  # bytes of zeros that are packed once and repeated
GIGA = 1 << 30


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


# Names that lead out ------------------------------------------------------------------------------------------------


def zip_of(path: Path, names: list[str]) -> None:
    write_zip(path, dict.fromkeys(names, b"evil"))


def tar_of(path: Path, names: list[str]) -> None:
    with tarfile.open(path, "w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"evil"))


def seven_of(path: Path, names: list[str]) -> None:
    seven = pytest.importorskip("py7zr")
    with seven.SevenZipFile(path, "w") as archive:
        for number in range(len(names)):
            archive.writestr(b"evil", f"{number}")
        for entry, name in zip(archive.header.files_info.files, names, strict=True):
            entry["filename"] = name


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(("kind", "write"), [("zip", zip_of), ("tar", tar_of), ("7z", seven_of)])
def test_names_that_lead_out(tmp_path: Path, kind: str, write: Callable[[Path, list[str]], None], nested: bool) -> None:
    """They are listed nowhere, told, and nothing is written but under numbers."""
    path = tmp_path / "raw" / f"a.{kind}"
    path.parent.mkdir()
    astray = [name for name in ASTRAY if kind != "7z" or "\\" not in name]  # py7zr reads \ as /
    write(path, [*astray, "good.png"])
    if nested:
        data = path.read_bytes()
        path.unlink()
        path = write_zip(tmp_path / "raw" / "b.zip", {f"a.{kind}": data})
    before = everything(tmp_path)
    source = open_source(path, tmp_path / "scratch")
    good = f"a.{kind}/good.png" if nested else "good.png"
    assert source.files == (good,)
    assert source.folders == ((f"a.{kind}",) if nested else ())
    assert source.read(good) == b"evil"
    called = f"{path}/a.{kind}" if nested else path
    assert sorted(source.left_out) == sorted(f"{called}: {name!r} leads out of the archive" for name in astray)
    added = everything(tmp_path) - before
    assert all(Path(name).parts[0] == "scratch" for name in added)
    assert all(Path(name).name.isdigit() for name in added if (tmp_path / name).is_file())


def test_what_is_left_out_is_told_briefly(tmp_path: Path) -> None:
    zip_of(tmp_path / "a.zip", ["../" + "x" * 5000, *(f"../{number}" for number in range(1000))])
    told = open_source(tmp_path / "a.zip").left_out
    assert len(told) == 21
    assert told[-1] == f"{tmp_path / 'a.zip'}: 981 more"
    assert max(map(len, told)) < 500
    with pytest.raises(CompetitionError, match=r"no image among them; .* Left out were .*leads out of"):
        read_competition(open_source(tmp_path / "a.zip"), data_params(tmp_path / "a.zip"), guess=True)


def test_name_below_an_archive_beside_it(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("x/1.png", b"inner")
    files = {"a.zip/x/1.png": b"beside", "a.zip": inner.getvalue(), "a.zip/2.png": b"beside"}
    source = open_source(write_zip(tmp_path / "raw.zip", files), tmp_path / "scratch")
    assert source.files == ("a.zip/x/1.png",)
    assert source.read("a.zip/x/1.png") == b"inner"
    assert len(source.left_out) == 2


# Links and devices --------------------------------------------------------------------------------------------------


def test_links_and_devices_in_a_tar(tmp_path: Path) -> None:
    kinds = {"sym": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "char": tarfile.CHRTYPE, "block": tarfile.BLKTYPE,
             "pipe": tarfile.FIFOTYPE, "holes": tarfile.GNUTYPE_SPARSE}  # fmt: skip
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("1.png"))
        for name, kind in kinds.items():
            info = tarfile.TarInfo(f"{name}.png")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    source = open_source(tmp_path / "a.tar")
    assert source.files == ("1.png",)
    assert [line.removeprefix(f"{tmp_path / 'a.tar'}: ") for line in source.left_out] == [
        "'sym.png' is a link", "'hard.png' is a link", "'char.png' is neither a file nor a folder",
        "'block.png' is neither a file nor a folder", "'pipe.png' is neither a file nor a folder",
        "'holes.png' is a file with holes",
    ]  # fmt: skip


def test_links_and_devices_in_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, kind in {"1": stat.S_IFREG, "link": stat.S_IFLNK, "pipe": stat.S_IFIFO}.items():
            info = zipfile.ZipInfo(f"{name}.png")
            info.external_attr = (kind | 0o644) << 16
            archive.writestr(info, "/etc/passwd")
    source = open_source(tmp_path / "a.zip")
    assert source.files == ("1.png",)
    assert [line.rpartition(": ")[2] for line in source.left_out] == [
        "'link.png' is a link", "'pipe.png' is neither a file nor a folder",
    ]  # fmt: skip


def test_links_in_a_7z(tmp_path: Path) -> None:
    seven = pytest.importorskip("py7zr")
    write_folder(tmp_path / "made", {"1.png": b"x"})
    (tmp_path / "made" / "link.png").symlink_to("1.png")
    with seven.SevenZipFile(tmp_path / "a.7z", "w") as archive:
        archive.writeall(tmp_path / "made", "made")
    source = open_source(tmp_path / "a.7z", tmp_path / "scratch")
    assert source.files == ("made/1.png",)
    assert source.folders == ("made",)
    assert source.left_out == (f"{tmp_path / 'a.7z'}: 'made/link.png' is a link",)
    assert not any(path.is_symlink() for path in (tmp_path / "scratch").rglob("*"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_pipes_and_sockets_and_links_to_nothing_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a pipe would wait for ever."""
    root = write_folder(tmp_path / "raw", {"1.png": png()})
    os.mkfifo(root / "pipe.png")
    os.mkfifo(root / "pipe.zip")
    (root / "to-pipe.png").symlink_to(root / "pipe.png")
    (root / "device.png").symlink_to("/dev/zero")
    (root / "lost.png").symlink_to(root / "nonesuch")
    (root / "loop").symlink_to(root / "loop")
    monkeypatch.chdir(root)  # a socket's path has to be short
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket.png")
    source = open_source(root)
    assert source.files == ("1.png",)
    assert sorted(line.removeprefix(f"{root}: ") for line in source.left_out) == [
        "'device.png' is neither a file nor a folder", "'loop' is a link to nothing", "'lost.png' is a link to nothing",
        "'pipe.png' is neither a file nor a folder", "'pipe.zip' is neither a file nor a folder",
        "'socket.png' is neither a file nor a folder", "'to-pipe.png' is neither a file nor a folder",
    ]  # fmt: skip


# Sizes --------------------------------------------------------------------------------------------------------------


def deflated_zeros(size: int) -> bytes:
    """Deflate zeros, a multiple of BLOCK, as fast as their packed bytes can be repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(BLOCK)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * (size // BLOCK) + packer.flush()


def zip_with(path: Path, name: str, data: bytes, size: int, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write a zip whose one file claims to be of this size, and to be packed in this way."""
    write_zip(path, {name: data})
    written = bytearray(path.read_bytes())
    for start, method_at, size_at in ((0, 8, 22), (written.rindex(b"PK\x01\x02"), 10, 24)):
        struct.pack_into("<H", written, start + method_at, method)
        struct.pack_into("<L", written, start + size_at, size)
    path.write_bytes(written)
    return path


def within_memory(path: Path, code: str, scratch: Path | None = None) -> str:
    """Run code with a source ``opened`` in a process that may take 1.5 GB more, and return what it prints."""
    begin = f"""
        import resource
        from pathlib import Path
        from competition.errors import CompetitionError, UnreadableError
        from competition.raw.sources import open_source
        from competition.raw.tables import read_table
        limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + 1_500_000_000
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        try:
            opened = open_source(Path({str(path)!r}), {f"Path({str(scratch)!r})" if scratch else None})
    """
    end = """
        except (CompetitionError, UnreadableError) as error:
            print(type(error).__name__, error)
    """
    script = textwrap.dedent(begin) + f"    {code}\n" + textwrap.dedent(end)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as on Linux")


@linux
@pytest.mark.parametrize("name", ["1.png", "train.csv"])
@pytest.mark.parametrize("claimed", [2 * GIGA, 1000])
def test_zip_bomb(tmp_path: Path, name: str, claimed: int) -> None:
    """2 GB of zeros in 2 MB are refused by what they claim, or where they turn out to be more."""
    path = zip_with(tmp_path / "a.zip", name, deflated_zeros(2 * GIGA), claimed)
    assert path.stat().st_size < 3_000_000
    told = within_memory(path, "read_table(opened, 'train.csv')" if name == "train.csv" else "opened.read('1.png')")
    assert told.startswith("CompetitionError" if name == "train.csv" else "UnreadableError")
    expected = "the file has 2,147,483,648 bytes; expected at most 1,073,741,824"
    assert (expected if claimed > GIGA else "the archive is damaged there (Bad CRC-32") in told


def bzipped_zeros(size: int) -> bytes:
    """Pack zeros as bzip2, a block at a time; blocks need not begin at a byte."""
    block_bytes = 40_000_000
    packed = bz2.compress(bytes(block_bytes))
    bits = f"{int.from_bytes(packed, 'big'):0{8 * len(packed)}b}"
    end = bits.rindex(f"{0x177245385090:048b}")
    bits = bits[:32] + bits[32:end] * (size // block_bytes) + bits[end:]
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


@linux
def test_zip_bomb_of_bzip2(tmp_path: Path) -> None:
    """2 GB of zeros in 2 kB, which zipfile by itself would unpack whole before it looked at what was claimed."""
    path = zip_with(tmp_path / "a.zip", "1.png", bzipped_zeros(2 * GIGA), 900_000, zipfile.ZIP_BZIP2)
    assert path.stat().st_size < 3000
    assert "the archive is damaged there" in within_memory(path, "opened.read('1.png')")


def test_zip_of_other_methods(tmp_path: Path) -> None:
    data = random.Random(0).randbytes(100_000)
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(tmp_path / f"{method}.zip", "w", method) as archive:
            archive.writestr("1.png", data)
        assert open_source(tmp_path / f"{method}.zip").read("1.png") == data


@linux
def test_tar_bomb(tmp_path: Path) -> None:
    """A .tar.gz whose file unpacks to thousands of times its size."""
    info = tarfile.TarInfo("1.png")
    info.size = 256 * GIGA
    path = tmp_path / "a.tar.gz"
    zeros = gzip.compress(bytes(BLOCK))
    path.write_bytes(gzip.compress(info.tobuf()) + zeros * 100)
    told = within_memory(path, "")
    assert "would unpack" in told
    assert "expected at most 200 times as many" in told


def test_file_in_a_tar_that_is_too_big(tmp_path: Path) -> None:
    with (tmp_path / "a.tar").open("wb") as file:
        info = tarfile.TarInfo("1.png")
        info.size = 2 * GIGA
        file.write(info.tobuf())
        file.truncate(512 + 2 * GIGA + 1024)  # takes no room on the disk
    source = open_source(tmp_path / "a.tar")
    with pytest.raises(UnreadableError, match="the file has 2,147,483,648 bytes; expected at most"):
        source.read("1.png")


def test_file_in_a_folder_that_is_too_big(tmp_path: Path) -> None:
    (tmp_path / "1.png").touch()
    os.truncate(tmp_path / "1.png", 2 * GIGA)
    with pytest.raises(UnreadableError, match="the file has 2,147,483,648 bytes; expected at most"):
        open_source(tmp_path).read("1.png")


def test_archive_in_an_archive_that_is_a_bomb(tmp_path: Path) -> None:
    path = zip_with(tmp_path / "a.zip", "inner.zip", deflated_zeros(2 * GIGA), 2 * GIGA)
    with pytest.raises(CompetitionError, match=rf"{path}/inner\.zip would unpack .* to 2,147,483,648 or more"):
        open_source(path, tmp_path / "scratch")
    assert [place for place in (tmp_path / "scratch").rglob("*") if place.is_file()] == []


def test_archive_in_an_archive_that_lies(tmp_path: Path) -> None:
    """No more is unpacked than it claims."""
    path = zip_with(tmp_path / "a.zip", "inner.zip", deflated_zeros(1 << 26), 1000)
    with pytest.raises(CompetitionError, match=r"inner\.zip: the archive is damaged there"):
        open_source(path, tmp_path / "scratch")
    assert sum(place.stat().st_size for place in (tmp_path / "scratch").rglob("*") if place.is_file()) <= 1000


def test_7z_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seven = pytest.importorskip("py7zr")
    with seven.SevenZipFile(tmp_path / "a.7z", "w") as archive:
        archive.writestr(bytes(BLOCK), "1.png")
    open_source(tmp_path / "a.7z", tmp_path / "scratch")
    monkeypatch.setattr(sources, "MAX_FILE_BYTES", BLOCK - 1)
    with pytest.raises(CompetitionError, match="would unpack"):
        open_source(tmp_path / "a.7z", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a tar while it is listed, which holds them at a thousandth of a byte each; in all together."""
    tar_of(tmp_path / "a.tar", [f"{number}.png" for number in range(6)])
    zip_of(tmp_path / "b.zip", [f"{number}.png" for number in range(6)])
    monkeypatch.setattr(sources, "MAX_FILES", 12)
    assert len(open_source(tmp_path).files) == 12
    monkeypatch.setattr(sources, "MAX_FILES", 11)
    with pytest.raises(CompetitionError, match=f"^{tmp_path} holds more than 11 files"):
        open_source(tmp_path)
    monkeypatch.setattr(sources, "MAX_FILES", 5)
    with pytest.raises(CompetitionError, match=r"a\.tar holds more than 5 files"):
        open_source(tmp_path)
    with pytest.raises(CompetitionError, match=r"b\.zip holds more than 5 files"):
        open_source(tmp_path / "b.zip")


# Headers ------------------------------------------------------------------------------------------------------------


def header(name: str, size: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Write a tar's header with the bytes of its size field as they are."""
    info = tarfile.TarInfo(name)
    info.type = kind
    written = bytearray(info.tobuf())
    written[124:136] = size
    written[148:156] = b" " * 8
    written[148:156] = f"{sum(written):06o}\0 ".encode()
    return bytes(written)


def test_tar_that_goes_backwards(tmp_path: Path) -> None:
    """A negative size would lead to the same header for ever."""
    start, back = header("1.png", b"00000000000\0"), header("2.png", b"\xff" * 10 + b"\xfe\x00")
    (tmp_path / "a.tar").write_bytes(start + back + bytes(1024))
    with pytest.raises(CompetitionError, match=r"the file after byte 512 begins before it"):
        open_source(tmp_path / "a.tar")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
@pytest.mark.parametrize("size", [b"\x80" + bytes(6) + b"\x7f" + bytes(4), b"\xff" * 10 + b"\xf0\x00"])
def test_tar_whose_name_is_longer_than_memory(tmp_path: Path, kind: bytes, size: bytes) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(header("1.png", size, kind)) + gzip.compress(bytes(BLOCK)) * 10)
    with pytest.raises(CompetitionError, match=r"a\.tar\.gz is damaged or not complete \(a header of"):
        open_source(path)


def test_tar_of_headers_that_belong_to_headers(tmp_path: Path) -> None:
    one = header("x", b"00000000000\0", tarfile.XHDTYPE)
    (tmp_path / "a.tar").write_bytes(one * 100_000 + header("1.png", b"00000000000\0") + bytes(1024))
    with pytest.raises(CompetitionError, match=r"a\.tar is damaged or not complete"):
        open_source(tmp_path / "a.tar")


def test_zip_that_points_past_its_end(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"1.png": b"x"})
    data = bytearray(path.read_bytes())
    struct.pack_into("<L", data, data.index(b"PK\x01\x02") + 42, len(data) - 10)
    path.write_bytes(data)
    with pytest.raises(UnreadableError, match="the archive is damaged there"):
        open_source(path).read("1.png")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "7z"])
def test_random_damage(tmp_path: Path, kind: str) -> None:
    """Whatever bytes change, an archive opens or is refused, and its files are read or are unreadable."""
    dice = random.Random(kind)
    files = {f"train/{number}.png": dice.randbytes(200) for number in range(4)} | {"é" * 60: b"x"}
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        write_zip(path, files)
    elif kind == "7z":
        with pytest.importorskip("py7zr").SevenZipFile(path, "w") as archive:
            archive.set_encoded_header_mode(False)
            for name, data in files.items():
                archive.writestr(data, name)
    else:
        with tarfile.open(path, "w:gz" if kind == "tar.gz" else "w") as archive:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    good = path.read_bytes()
    refused = read = 0
    for _ in range(150):
        data = bytearray(good)
        for _ in range(dice.choice([1, 3, 20])):
            data[dice.randrange(len(data))] = dice.choice([0, 255, dice.randrange(256)])
        if kind == "7z":  # its sums are mended, else nothing else would ever be met
            start, size = struct.unpack("<QQ", data[12:28])
            start, size = (32 + start, size) if 32 + start + size <= len(data) else struct.unpack("<QQ", good[12:28])
            data[28:32] = struct.pack("<L", zlib.crc32(data[start : start + size]))
            data[8:12] = struct.pack("<L", zlib.crc32(data[12:32]))
        path.write_bytes(data)
        try:
            source = open_source(path, tmp_path / "scratch")
        except CompetitionError:
            refused += 1
            continue
        for name in source.files:
            try:
                source.read(name)
                read += 1
            except UnreadableError:
                pass
    assert refused
    assert read


# Tables -------------------------------------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize(
    ("row", "words"),
    [
        (b",", "a row of"),
        (b'"\n",', "a row of"),
        (b"x,\n", "cells"),
    ],
)
def test_table_that_unpacks_to_more_than_memory(tmp_path: Path, row: bytes, words: str) -> None:
    """Columns or cells without end, in a file that is not too big."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("train.csv", b"id,label\n" + row * (60_000_000 // len(row)))
    code = "from competition.raw import metadata; metadata.MAX_CELLS = 1_000_000; read_table(opened, 'train.csv')"
    told = within_memory(tmp_path / "a.zip", code)
    assert told.startswith(f"CompetitionError train.csv in {tmp_path / 'a.zip'} has")
    assert words in told


def test_million_columns() -> None:
    data = ",".join(f"c{number}" for number in range(1_000_000)).encode() + b"\n1,2\n"
    with pytest.raises(CompetitionError, match=r"the table has 1,000,000 columns; expected at most 100,000"):
        parse_table(data, "the table")


@pytest.mark.parametrize("data", [b"[" * 1_000_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000])
def test_json_nested_without_end(data: bytes) -> None:
    with pytest.raises(CompetitionError, match=r"cannot be read as JSON .*it is nested too deep"):
        flatten(data, "the table")


def test_dangerous_cells_are_text(tmp_path: Path) -> None:
    """Nobody opens an id as a path, or runs a cell."""
    cells = [
        "../../etc/passwd",
        "=cmd|' /C calc'!A0",
        "@SUM(1+1)*cmd|' /C calc'!A0",
        "${jndi:ldap://x}",
        "%s%n",
        "a\x1b[31m",
    ]
    table = parse_table("\n".join(["id", *cells, ""]).encode(), "the table")
    assert list(table["id"]) == cells
