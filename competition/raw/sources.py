"""Read files from a folder or an archive, and from the archives in it, unpacking no more than must be.

Whatever an archive says of itself is taken as a claim. Nothing is written or read under a name that an archive gives,
and nothing is read into memory or unpacked before its declared size has been looked at.
"""

import errno
import functools
import gzip
import io
import lzma
import os
import re
import shutil
import stat
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Protocol

from competition.errors import SHOWN_SAMPLES, CompetitionError, UnreadableError

if TYPE_CHECKING:
    from py7zr import SevenZipFile

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z")
UNPACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)  # what Python unpacks
IMAGES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".ppm", ".pgm", ".pbm",
          ".jp2")  # fmt: skip
JUNK = ("__MACOSX", ".")  # what file managers leave behind: names that begin like this

MAX_FILE_BYTES = 1 << 30  # of one file read into memory, by each worker; OpenCV takes no more pixels than that either
MAX_RATIO = 200  # of unpacked to packed, above MAX_FILE_BYTES; images together shrink by 20, a bomb by 1,000 or more
MAX_FILES = 10_000_000  # their names take 3 GB, in a zip 7; the largest competitions have 5 million images
MAX_DEPTH = 3  # archives inside each other; an archive can hold itself
MAX_HEADER_BYTES = 1 << 20  # of a name or an attribute in a tar, which is read in one piece; longest path: 4,096
PIECE_BYTES = 1 << 20  # copied at a time
SMALL_PIECE_BYTES = 64  # of bzip2 and LZMA in a zip: zipfile unpacks whole what it takes at once, bzip2 to 1 MB a byte

# What the modules raise where an archive is damaged, or, as NotImplementedError, packed in a way zipfile does not know.
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError,
          NotImplementedError, ValueError, OverflowError, RecursionError)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """The files of a folder or an archive. Picklable, so that worker processes can read from it too.

    An archive in it shows as a folder: ``train.zip`` with ``cat/1.jpg`` in it gives the file ``train.zip/cat/1.jpg``.

    Attributes:
        path: the folder or archive.
        files: names with ``/`` between their parts, in the order in which reading is fastest, which is that of an
            archive, and alphabetical in a folder.
        folders: names of the folders and opened archives, also the empty ones.
        read: gives the bytes of one of ``files``, at most MAX_FILE_BYTES; raises UnreadableError where an archive is
            damaged or the file is too big.
        left_out: what cannot be trusted or read, a line each: links in archives, names that lead out of them, devices.
    """

    path: Path
    files: tuple[str, ...]
    folders: tuple[str, ...]
    read: Callable[[str], bytes]
    left_out: tuple[str, ...] = ()


def open_source(path: Path, scratch: Path | None = None) -> Source:
    """List the files of a folder or archive, and of the archives in it.

    Args:
        path: the folder or archive.
        scratch: takes what cannot be read at its place, archives in archives and the files of a .7z, under numbers; the
            caller deletes it when the source is no longer read. None: archives in archives stay closed files.

    Raises:
        CompetitionError: something is missing, damaged, too big for the disk, or no archive of a known kind.
    """
    if not path.exists():
        home = " ('~' stands for no folder there: write it out)" if str(path).startswith("~") else ""
        raise CompetitionError(
            f"{path} is missing; put the competition's files there, or set data.root in params.yaml to where they "
            f"are{home}"
        )
    opening = _Opening(path, scratch)
    opening.add(path, "", 0)
    return opening.source()


def list_images(source: Source) -> list[str]:
    """List the files of a source that are called like images, in reading order."""
    return [name for name in source.files if name.lower().endswith(IMAGES)]


def normal(name: str) -> str:
    """Bring a name to one Unicode form: macOS writes accents apart from their letters, tables do not."""
    return unicodedata.normalize("NFC", name)


# Opening ----------------------------------------------------------------------------------------------------------


class _Shelf(Protocol):
    """What a folder or an archive gives its files from. Picklable."""

    def place(self, name: str) -> Path | None:
        """Return where a file lies by itself on the disk, if it does."""

    def size(self, name: str) -> tuple[int, int]:
        """Return the bytes of a file, unpacked and packed, as declared."""

    def pieces(self, name: str, piece_bytes: int) -> Iterator[bytes]:
        """Give a file's bytes in order, as many as declared and never more."""


@dataclass
class _Listing:
    """What a folder or an archive holds; ``called`` names it in errors."""

    called: str
    files: dict[str, None] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    more_left_out: int = 0

    def takes(self, written: str, name: str) -> bool:
        """Tell whether a member is one to list, by its name as written and as it will be listed."""
        if written.startswith("/") or "\\" in written or ".." in written.split("/") or re.match("[A-Za-z]:", written):
            self.leave_out(written, "leads out of the archive")
            return False
        return name != "." and _wanted(name)

    def leave_out(self, name: str, why: str) -> None:
        if len(self.left_out) < SHOWN_SAMPLES:
            self.left_out.append(f"{self.called}: {name[:200]!r} {why}")
        else:
            self.more_left_out += 1

    def told(self) -> list[str]:
        more = [f"{self.called}: {self.more_left_out:,} more"] if self.more_left_out else []
        return self.left_out + more


class _Opening:
    """A source while it is being opened, archive after archive."""

    def __init__(self, root: Path, scratch: Path | None) -> None:
        self.root, self.scratch = root, None if scratch is None else _Scratch(scratch)
        self.shelves: dict[str, _Shelf] = {}
        self.files: list[str] = []
        self.folders: set[str] = set()
        self.left_out: list[str] = []

    def source(self) -> Source:
        folders = self.folders | {name.rpartition("/")[0] for name in self.files}
        folders |= {parent for name in folders for parent in parents(name)}
        read = functools.partial(_read, self.shelves)
        return Source(self.root, tuple(self.files), tuple(sorted(folders - {""})), read, tuple(self.left_out))

    def add(self, path: Path, top: str, depth: int) -> None:
        """List the folder or archive at ``path``, whose files are below ``top`` in the source."""
        listing, self.shelves[top] = _list(path, str(self.root / top), self.scratch)
        before = f"{top}/" if top else ""
        self.folders.update([top, *(before + name for name in listing.folders)])
        inner = {name: place for name in listing.files if name.lower().endswith(ARCHIVES)
                 and (place := self._place(self.shelves[top], listing, name, before + name, depth))}  # fmt: skip
        for name in listing.files:
            if name in inner:
                self.add(inner[name], before + name, depth + 1)
            elif inner and any(folder in inner for folder in parents(name)):
                listing.leave_out(name, "is called as if it were in an archive beside it")
            else:
                self.files.append(before + name)
        self.left_out += listing.told()
        if len(self.files) > MAX_FILES:
            raise CompetitionError(_too_many(str(self.root)))

    def _place(self, shelf: _Shelf, listing: _Listing, name: str, full: str, depth: int) -> Path | None:
        """Return where an archive in a shelf can be opened; None if it stays closed."""
        if depth == MAX_DEPTH:
            listing.leave_out(name, f"stays closed: archives are opened {MAX_DEPTH} deep")
            return None
        place, called = shelf.place(name), str(self.root / full)
        if place or self.scratch is None:
            return place
        size, packed = shelf.size(name)
        _check_ratio(size, packed, called)
        self.scratch.room(size, called)
        place = self.scratch.new()
        try:
            with place.open("wb") as file:
                for piece in _pieces(shelf, name, PIECE_BYTES):
                    file.write(piece)
        except UnreadableError as error:
            raise CompetitionError(f"{called}: {error}; download it again") from None
        return place


class _Scratch:
    """Gives numbered files in a folder of its own within ``top``, which need not exist yet."""

    def __init__(self, top: Path) -> None:
        self.top, self.given = top.resolve(), 0  # py7zr gives absolute paths back
        self.folder: Path | None = None

    def room(self, size: int, called: str) -> Path:
        """Return the folder, once it is certain that ``size`` bytes fit into it."""
        if self.folder is None:
            self.top.mkdir(parents=True, exist_ok=True)
            self.folder = Path(tempfile.mkdtemp(dir=self.top))
        free = shutil.disk_usage(self.folder).free
        if size > free:
            raise CompetitionError(
                f"{called} takes {size / 1e6:,.1f} MB unpacked, and {self.top} has {free / 1e6:,.1f} MB free; make "
                "room, or unpack it elsewhere and set data.root to the folder"
            )
        return self.folder

    def new(self) -> Path:
        """Return a file in the folder that was not given before."""
        assert self.folder is not None
        self.given += 1
        return self.folder / f"{self.given - 1:06d}"


def _list(path: Path, called: str, scratch: _Scratch | None) -> tuple[_Listing, _Shelf]:
    kind = called.lower()
    listing = _Listing(called)
    if path.is_dir():
        return listing, _list_folder(path, listing)
    try:
        if kind.endswith(".zip"):
            return listing, _list_zip(path, listing)
        if kind.endswith(".7z"):
            return listing, _list_7z(path, listing, scratch)
        if kind.endswith(ARCHIVES):
            return listing, _list_tar(path, listing)
    except DAMAGE as error:
        raise _damaged(called, error) from None
    raise CompetitionError(f"{called} is neither a folder nor an archive; expected one of {', '.join(ARCHIVES)}")


def _wanted(name: str) -> bool:
    return not any(part.startswith(JUNK) for part in name.split("/"))


def parents(name: str) -> Iterator[str]:
    """Yield the folders that a file or folder is in, the deepest first, without the top."""
    while name := name.rpartition("/")[0]:
        yield name


def _utf8(name: str) -> str:
    """Mend a name whose bytes are not UTF-8, which no table could hold."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return normal(os.fsencode(name).decode("latin-1"))
    return normal(name)


def _check_ratio(size: int, packed: int, called: str) -> None:
    if size > max(MAX_FILE_BYTES, MAX_RATIO * packed):
        raise CompetitionError(
            f"{called} would unpack {packed:,} bytes to {size:,} or more; expected at most {MAX_RATIO} times as many; "
            "if you trust it all the same, unpack it and set data.root to the folder"
        )


def _damaged(called: str, error: Exception) -> CompetitionError:
    reason = str(error) or type(error).__name__
    return CompetitionError(f"{called} is damaged or not complete ({reason}); download it again")


def _protected(called: str) -> str:
    return f"{called} is protected by a password; unpack it and set data.root to the folder"


def _too_many(called: str) -> str:
    return f"{called} holds more than {MAX_FILES:,} files; set data.root to a folder with fewer"


# Reading ----------------------------------------------------------------------------------------------------------


def _read(shelves: dict[str, _Shelf], name: str) -> bytes:
    top = next((folder for folder in parents(name) if folder in shelves), "")
    shelf, name = shelves[top], name[len(top) + 1 :] if top else name
    size, _ = shelf.size(name)
    if size > MAX_FILE_BYTES:
        raise UnreadableError(f"the file has {size:,} bytes; expected at most {MAX_FILE_BYTES:,}")
    return b"".join(_pieces(shelf, name, max(size, 1)))


def _pieces(shelf: _Shelf, name: str, piece_bytes: int) -> Iterator[bytes]:
    try:
        yield from shelf.pieces(name, piece_bytes)
    except (*DAMAGE, OSError) as error:
        raise UnreadableError(f"the archive is damaged there ({error})") from None


def _take(stream: BinaryIO, size: int, piece_bytes: int) -> Iterator[bytes]:
    while size > 0:
        piece = stream.read(min(size, piece_bytes))
        if not piece:
            raise EOFError(f"{size:,} bytes are missing")
        size -= len(piece)
        yield piece


Stamp = tuple[int, int, int]  # tells a file from a later one at the same place, for what a process keeps open


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


# Folders ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Folder:
    path: Path
    called: dict[str, str]  # name -> name on the disk, where they differ

    def place(self, name: str) -> Path:
        return self.path / self.called.get(name, name)

    def size(self, name: str) -> tuple[int, int]:
        try:
            size = self.place(name).stat().st_size
        except OSError as error:
            raise UnreadableError(f"the file cannot be read ({error.strerror})") from None
        return size, size

    def pieces(self, name: str, piece_bytes: int) -> Iterator[bytes]:
        try:
            with self.place(name).open("rb") as file:
                yield from _take(file, os.fstat(file.fileno()).st_size, piece_bytes)
        except OSError as error:
            raise UnreadableError(f"the file cannot be read ({error.strerror})") from None


def _list_folder(top: Path, listing: _Listing) -> _Folder:
    """List files and folders below a folder, through links too, each folder once."""
    files, folders, seen, waiting = [], [], set(), deque([""])
    while waiting:
        below = waiting.pop()
        try:
            status = (top / below).stat()
            entries = sorted(os.scandir(top / below), key=lambda entry: entry.name)
        except OSError as error:
            listing.leave_out(below, f"cannot be read ({error.strerror})")
            continue
        if (status.st_dev, status.st_ino) in seen:  # a link to a folder above it
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.append(below)
        for entry in entries:
            name = f"{below}/{entry.name}" if below else entry.name
            if not _wanted(entry.name):
                continue
            kind = _kind(entry)
            if kind == stat.S_IFDIR and entry.is_symlink():
                waiting.appendleft(name)  # taken last, so that a folder shows under its own name
            elif kind == stat.S_IFDIR:
                waiting.append(name)
            elif kind == stat.S_IFREG:
                files.append(name)
            else:  # opening a pipe would wait for ever
                listing.leave_out(name, "is neither a file nor a folder" if kind else "is a link to nothing")
    listing.files = dict.fromkeys(_utf8(name) for name in sorted(files))
    listing.folders = [_utf8(name) for name in folders if name]
    return _Folder(top, {_utf8(name): name for name in files if _utf8(name) != name})


def _kind(entry: os.DirEntry[str]) -> int:
    """Return the type of what an entry is or links to; 0 where a link leads nowhere."""
    try:
        if entry.is_file():
            return stat.S_IFREG
        return stat.S_IFDIR if entry.is_dir() else stat.S_IFMT(entry.stat().st_mode)
    except OSError:
        return 0


# Zip --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Zip:
    path: Path
    stamp: Stamp

    def place(self, name: str) -> None:
        return None

    def size(self, name: str) -> tuple[int, int]:
        info = _zip(self.path, self.stamp)[1][name]
        return info.file_size, info.compress_size

    def pieces(self, name: str, piece_bytes: int) -> Iterator[bytes]:
        archive, members = _zip(self.path, self.stamp)
        info = members[name]
        if info.compress_type in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
            piece_bytes = min(piece_bytes, SMALL_PIECE_BYTES)
        with archive.open(info) as file:
            if piece_bytes == SMALL_PIECE_BYTES:
                file.MIN_READ_SIZE = piece_bytes  # type: ignore[attr-defined]
            yield from _take(file, info.file_size, piece_bytes)  # type: ignore[arg-type]


@functools.lru_cache(maxsize=8)  # files are read archive by archive, and a competition can have a thousand
def _zip(path: Path, stamp: Stamp) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    archive = zipfile.ZipFile(path)
    return archive, {str(PurePosixPath(_zip_name(info))): info for info in archive.infolist()}


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Mend the name of a file whose archive holds UTF-8 without saying so, as macOS writes it."""
    if info.flag_bits & 0x800:  # says UTF-8
        return normal(info.filename)
    try:
        return normal(info.filename.encode("cp437").decode("utf-8"))
    except UnicodeError:
        return normal(info.filename)


def _list_zip(path: Path, listing: _Listing) -> _Zip:
    shelf = _Zip(path, _stamp(path))
    members = _zip(path, shelf.stamp)[1]
    if any(info.flag_bits & 1 for info in members.values()):
        raise CompetitionError(_protected(listing.called))
    if any(info.compress_type not in UNPACKED for info in members.values()):
        raise CompetitionError(
            f"{listing.called} is packed in a way that Python cannot unpack; unpack it and set data.root to the folder"
        )
    for name, info in members.items():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if not listing.takes(_zip_name(info), name):
            continue
        if info.is_dir():
            listing.folders.append(name)
        elif kind in (0, stat.S_IFREG):
            listing.files[name] = None
        else:
            listing.leave_out(name, "is a link" if stat.S_ISLNK(kind) else "is neither a file nor a folder")
    return shelf


# Tar --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tar:
    path: Path
    stamp: Stamp
    places: dict[str, tuple[int, int]]  # name -> offset and size in the unpacked stream

    def place(self, name: str) -> None:
        return None

    def size(self, name: str) -> tuple[int, int]:
        size = self.places[name][1]
        return size, size

    def pieces(self, name: str, piece_bytes: int) -> Iterator[bytes]:
        # A compressed stream only runs forward, so reading in the order of `files` passes through it once.
        offset, size = self.places[name]
        stream = _tar(self.path, self.stamp)
        stream.seek(offset)
        yield from _take(stream, size, piece_bytes)


@functools.lru_cache(maxsize=8)
def _tar(path: Path, stamp: Stamp) -> BinaryIO:
    return _open_tar(path)


def _open_tar(path: Path) -> BinaryIO:
    return gzip.open(path) if _is_gzip(path) else path.open("rb")  # type: ignore[return-value]


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


class _Bounded(io.RawIOBase):
    """A tar's stream for tarfile, which by itself would read whatever a header asks for."""

    def __init__(self, stream: BinaryIO, packed: int | None, called: str) -> None:
        self.stream, self.packed, self.called = stream, packed, called

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self.stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        if self.packed:
            _check_ratio(offset, self.packed, self.called)
        return self.stream.seek(offset)

    def tell(self) -> int:
        return self.stream.tell()


def _list_tar(path: Path, listing: _Listing) -> _Tar:
    shelf = _Tar(path, _stamp(path), {})
    packed = path.stat().st_size if _is_gzip(path) else None
    with _open_tar(path) as stream:
        bounded = _Bounded(stream, packed, listing.called)
        archive, offset = tarfile.TarFile(fileobj=bounded), -1
        while member := archive.next():
            if archive.offset <= offset:
                raise tarfile.ReadError(f"the file after byte {offset:,} begins before it")
            offset = archive.offset
            _list_member(member, listing, shelf.places)
            archive.members.clear()  # type: ignore[attr-defined]  # a kilobyte each
        # tarfile takes a damaged header for the end.
        bounded.seek(archive.offset)
        if bounded.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError(f"no file and no end at byte {archive.offset:,}")
    listing.files = dict.fromkeys(shelf.places)
    return shelf


def _list_member(member: tarfile.TarInfo, listing: _Listing, places: dict[str, tuple[int, int]]) -> None:
    name = _utf8(str(PurePosixPath(member.name)))
    if not listing.takes(member.name, name):
        return
    if member.isdir():
        listing.folders.append(name)
    elif member.isreg() and not member.issparse():
        if len(places) == MAX_FILES:
            raise CompetitionError(_too_many(listing.called))
        places[name] = (member.offset_data, member.size)
    elif member.issym() or member.islnk():
        listing.leave_out(name, "is a link")
    else:
        listing.leave_out(name, "is a file with holes" if member.issparse() else "is neither a file nor a folder")


# 7z ---------------------------------------------------------------------------------------------------------------


def _list_7z(path: Path, listing: _Listing, scratch: _Scratch | None) -> _Folder:
    """Unpack a .7z, which can only be read from its start to its end."""
    if scratch is None:
        raise CompetitionError(
            f"{listing.called} can only be read once it is unpacked; unpack it and set data.root to the folder"
        )
    try:
        import py7zr
    except ImportError:
        raise CompetitionError(
            f"{listing.called} is a .7z, and py7zr, which unpacks it, is not installed; pip install -e '.[7z]'"
        ) from None
    try:
        with path.open("rb") as file, py7zr.SevenZipFile(file) as archive:
            if archive.needs_password():
                raise py7zr.PasswordRequired
            return _unpack(archive, path, listing, scratch)
    except py7zr.PasswordRequired:
        raise CompetitionError(_protected(listing.called)) from None
    except (CompetitionError, *DAMAGE):
        raise
    except Exception as error:  # py7zr meets damage with whatever Python raises where it stumbles
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # the disk's
            raise
        raise _damaged(listing.called, error) from None


def _unpack(archive: "SevenZipFile", path: Path, listing: _Listing, scratch: _Scratch) -> _Folder:
    members = {}
    for member in archive.files:
        name = _utf8(str(PurePosixPath(member.filename)))
        if not listing.takes(member.filename, name):
            continue
        if member.is_directory:
            listing.folders.append(name)
        elif member.is_symlink or member.is_junction:
            listing.leave_out(name, "is a link")
        elif member.st_fmt not in (None, 0, stat.S_IFREG):
            listing.leave_out(name, "is neither a file nor a folder")
        elif name not in listing.files:
            listing.files[name] = None
            members[name] = member
    _check_ratio(sum(member.uncompressed for member in archive.files), path.stat().st_size, listing.called)
    folder = scratch.room(sum(member.uncompressed for member in members.values()), listing.called)
    places = {name: scratch.new() for name in members}
    # py7zr would write to these paths; it gets files to write to instead.
    by_path = {(folder / member.filename).as_posix(): places[name] for name, member in members.items()}
    if members:
        wanted = [member.filename for member in members.values()]
        archive.extract(folder, wanted, factory=_Places(by_path))  # type: ignore[arg-type]
    for name, member in members.items():
        if not places[name].is_file() or places[name].stat().st_size != member.uncompressed:
            raise EOFError(f"{name!r} is not complete")
    return _Folder(folder, {name: place.name for name, place in places.items()})


class _Places:
    """Gives py7zr the file to write to where it would write to a path of its own making."""

    def __init__(self, by_path: dict[str, Path]) -> None:
        self.by_path = by_path

    def create(self, path: str) -> BinaryIO:
        return self.by_path.get(path, Path(os.devnull)).open("wb")
