"""Read files from a folder or an archive without unpacking it."""

import functools
import gzip
import lzma
import os
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from competition.errors import CompetitionError, UnreadableError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
UNPACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)  # what Python unpacks
IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".ppm", ".pgm")
JUNK = ("__MACOSX", ".")  # what file managers leave behind: names that begin like this


@dataclass(frozen=True)
class Source:
    """The files of a folder or an archive. Picklable, so that worker processes can read from it too.

    Attributes:
        path: the folder or archive.
        files: names with ``/`` between their parts, in the order in which reading is fastest, which is that of an
            archive, and alphabetical in a folder.
        folders: names of the folders, also the empty ones.
        read: gives the bytes of one of ``files``; raises UnreadableError where an archive is damaged.
    """

    path: Path
    files: tuple[str, ...]
    folders: tuple[str, ...]
    read: Callable[[str], bytes]


def open_source(
    path: Path, advice: str = "put the competition's files there, or set data.root in params.yaml to where they are"
) -> Source:
    """List the files of a folder or archive; ``advice`` says what to do if it is not there.

    Raises:
        CompetitionError: it is missing, damaged, or neither a folder nor an archive of a known kind.
    """
    if not path.exists():
        raise CompetitionError(f"{path} is missing; {advice}")
    if path.is_dir():
        return _open_folder(path)
    try:
        if path.name.lower().endswith(".zip"):
            return _open_zip(path)
        if path.name.lower().endswith(ARCHIVES):
            return _open_tar(path)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, gzip.BadGzipFile) as error:
        raise CompetitionError(f"{path} is damaged or not complete ({error}); download it again") from None
    raise CompetitionError(f"{path} is neither a folder nor an archive; expected one of {', '.join(ARCHIVES)}")


def list_images(source: Source) -> list[str]:
    """List the files of a source that are called like images, in reading order."""
    return [name for name in source.files if name.lower().endswith(IMAGES)]


def _wanted(name: str) -> bool:
    return not any(part.startswith(JUNK) for part in PurePosixPath(name).parts)


def _with_parents(files: list[str], folders: list[str]) -> tuple[str, ...]:
    parents = {str(parent) for name in files + folders for parent in PurePosixPath(name).parents}
    return tuple(sorted((parents | set(folders)) - {"."}))


def _open_folder(path: Path) -> Source:
    names, folders = _walk(path)
    files = tuple(normal(name) for name in names if _wanted(name))
    called = {normal(name): name for name in names if normal(name) != name}
    wanted = tuple(normal(folder) for folder in folders if _wanted(folder))
    return Source(path, files, wanted, functools.partial(_read_file, path, called))


def _walk(top: Path) -> tuple[list[str], list[str]]:
    """List files and folders below a folder, through links to folders too, each folder once."""
    names, folders, seen = [], [], set()
    for path, below, files in os.walk(top, followlinks=True):
        real = os.path.realpath(path)
        if real in seen:  # a link to a folder above it
            below.clear()
            continue
        seen.add(real)
        here = Path(path).relative_to(top)
        names += [(here / name).as_posix() for name in files]
        folders += [(here / name).as_posix() for name in below]
    return sorted(names), sorted(folders)


def _read_file(folder: Path, called: dict[str, str], name: str) -> bytes:
    return (folder / called.get(name, name)).read_bytes()


def _open_zip(path: Path) -> Source:
    members = {_zip_name(info): info for info in _zip(path).infolist()}
    if any(info.flag_bits & 1 for info in members.values()):
        raise CompetitionError(f"{path} is protected by a password; unpack it and set data.root to the folder")
    if any(info.compress_type not in UNPACKED for info in members.values()):
        raise CompetitionError(
            f"{path} is packed in a way that Python cannot unpack; unpack it and set data.root to the folder"
        )
    files = [name for name, info in members.items() if not info.is_dir() and _wanted(name)]
    folders = [name for name, info in members.items() if info.is_dir() and _wanted(name)]
    return Source(path, tuple(files), _with_parents(files, folders), functools.partial(_read_zip, path))


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Mend the name of a file whose archive holds UTF-8 without saying so, as macOS writes it."""
    name = info.filename.rstrip("/")
    if info.flag_bits & 0x800:  # says UTF-8
        return normal(name)
    try:
        return normal(name.encode("cp437").decode("utf-8"))
    except UnicodeError:
        return normal(name)


@functools.cache
def _zip(path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


@functools.cache
def _zip_members(path: Path) -> dict[str, zipfile.ZipInfo]:
    return {_zip_name(info): info for info in _zip(path).infolist()}


def _read_zip(path: Path, name: str) -> bytes:
    try:
        return _zip(path).read(_zip_members(path)[name])
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        raise UnreadableError(f"the archive is damaged there ({error})") from None


def _open_tar(path: Path) -> Source:
    places: dict[str, tuple[int, int]] = {}
    folders = []
    with tarfile.open(path) as archive:
        for member in archive:
            name = normal(str(PurePosixPath(member.name)))
            if not _wanted(name):
                continue
            if member.isdir():
                folders.append(name)
            elif member.isreg():
                places[name] = (member.offset_data, member.size)
        # tarfile takes a damaged header for the end.
        assert archive.fileobj is not None
        archive.fileobj.seek(archive.offset)
        if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError(f"no file and no end at byte {archive.offset:,}")
    files = list(places)
    return Source(path, tuple(files), _with_parents(files, folders), functools.partial(_read_tar, path, places))


@functools.cache
def _tar(path: Path) -> BinaryIO | gzip.GzipFile:
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if compressed else path.open("rb")


def _read_tar(path: Path, places: dict[str, tuple[int, int]], name: str) -> bytes:
    # A compressed stream only runs forward, so reading in the order of `files` passes through it once.
    offset, size = places[name]
    stream = _tar(path)
    stream.seek(offset)
    return stream.read(size)


def normal(name: str) -> str:
    """Bring a name to one Unicode form: macOS writes accents apart from their letters, tables do not."""
    return unicodedata.normalize("NFC", name)
