"""Find the image that an id means."""

import functools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

import pandas as pd

from competition.raw.labels import COUNTERS
from competition.raw.sources import ARCHIVES, IMAGES, normal, parents

PROBE = 1000  # rows that decide what a column holds; more would only take longer
CLOSE = 0.9  # of the most hits: what else is known decides, for a few images may be missing
# What folders and columns are called whose images only go with others.
ASIDE = re.compile(r"(?<![a-z])(masks?|labels?|segs?|segmentations?|segmented|annots?|annotations?)(?![a-z])")
PICTURE = re.compile(r"(?<![a-z])(images?|imgs?|file|paths?(?![a-z])|photo|picture)")
# How folders of a split are called: with what follows the word at once, and with which words beside it.
FORMS = {"train": "train(ing)?", "test": "test(s|ing)?"}
OF_FILES = (r"sets?|data(sets?)?|images?|imgs?|photos?|pictures?|pics?|files?|folders?|splits?|jpe?gs?|pngs?|tiffs?|"
            r"tif|val")  # fmt: skip
BESIDE = (rf"{OF_FILES}|stg|stage|part|batch|round|phase|public|private|hidden|final|full|new|old|extra|additional|"
          r"small|large|original|resized|cropped|raw|copy|[a-z]")  # fmt: skip


@dataclass(frozen=True)
class Match:
    """Ids and their files.

    Attributes:
        folder: the folder that holds the images of these ids; "" is the top.
        files: id -> the files it may mean there: one when all is well, none or several when not.
        rivals: other folders that hold images of as many of these ids, and nothing tells which are meant.
    """

    folder: str
    files: dict[str, list[str]]
    rivals: tuple[str, ...] = ()

    @property
    def hits(self) -> int:
        return sum(1 for files in self.files.values() if files)


class ImageIndex:
    """Look up images by what competitions call them: a path, its end, a file name, with or without extension."""

    def __init__(self, images: Iterable[str]) -> None:
        self.images = tuple(images)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_loose_name: dict[str, list[str]] = defaultdict(list)
        self._folder_names: set[str] = set()
        folders = {image.rpartition("/")[0] for image in self.images}
        self._apart = any(split_of(folder, apart=True) == "test" for folder in folders)
        for image in self.images:
            path = PurePosixPath(normal(image))
            self._folder_names.update(path.parts[:-1])
            for name in {path.name, path.stem}:
                self._by_name[name].append(image)
            for name in {_loose(path.name), _loose(path.stem)}:
                self._by_loose_name[name].append(image)

    def find(self, sample_id: str) -> list[str]:
        """List the images an id may mean anywhere in the source.

        A name that no image has exactly is looked up again without its case, leading zeros and blanks around it.
        """
        wanted = normal(sample_id).replace("\\", "/").strip("/")
        name = wanted.rsplit("/", 1)[-1]
        if not name:
            return []
        candidates = self._by_name.get(name) or self._by_loose_name.get(_loose(name), [])
        if "/" not in wanted:
            return candidates
        while "/" in wanted:  # a table may write folders above those that were downloaded
            found = [image for image in candidates if _ends_with(normal(image), wanted)]
            if found:
                return found
            above, _, wanted = wanted.partition("/")
            if above in self._folder_names:  # it names another image
                break
        return []

    def match(self, ids: Iterable[str], split: str, folder: str | None = None) -> Match:
        """Match ids to images, in the one folder that fits them best.

        Competitions number their train and test images alike (``train/1.jpg``, ``test/1.jpg``), and give the same
        images again in another folder or archive, so an id means something in a folder only. The folder that holds the
        most ids is taken; among equals the one with the fewest other images, then one with the split's name in it, then
        one outside any archive, then the deepest. One called masks or labels is not taken where another holds nearly
        as many.

        Args:
            ids: the ids.
            split: ``train`` or ``test``.
            folder: look here only, if given. Files of the other split count there, unless both splits use a name.
        """
        found = {sample_id: self.find(sample_id) for sample_id in dict.fromkeys(ids)}
        if folder is not None:
            found = _inside(found, folder)
        own = {sample_id: [file for file in files if self._split(file) in (split, "")]
               for sample_id, files in found.items()}  # fmt: skip
        both = any(0 < len(own[sample_id]) < len(files) for sample_id, files in found.items())
        if both or (folder is None and any(own.values())):
            found = own
        rivals: tuple[str, ...] = ()
        if folder is None:
            folder, rivals = self._folder(found, split)
        return Match(folder, _inside(found, folder), rivals)

    def _split(self, file: str) -> str:
        return split_of(file.rpartition("/")[0], self._apart)

    def _folder(self, found: dict[str, list[str]], split: str) -> tuple[str, tuple[str, ...]]:
        """Return the folder that holds the most, and those beside it that do no less well but for depth and name."""
        hits: Counter[str] = Counter()
        for files in found.values():
            hits.update({folder for file in files for folder in ("", *parents(file))})
        sizes = Counter(folder for image in self.images for folder in ("", *parents(image)))

        def rank(name: str) -> tuple[object, ...]:
            return hits[name], -sizes[name], split in name.lower(), -_archives(name), name.count("/"), name

        best = max(hits, key=rank, default="")
        plain = [name for name in hits if _asides(name) < _asides(best) and not is_in(best, name)
                 and hits[name] >= CLOSE * hits[best]]  # fmt: skip
        chosen = max(plain, key=rank, default=best)
        equal = [name for name in hits if rank(name)[:4] == rank(chosen)[:4] and _asides(name) == _asides(chosen)
                 and name != chosen and not is_in(name, chosen) and not is_in(chosen, name)]  # fmt: skip
        return chosen, tuple(sorted(set(equal) - {above for name in equal for above in parents(name)}))

    def share(self, values: pd.Series) -> float:
        """Return the share of the first values that name an image.

        Of distinct ones: a few labels that are names of images too do not make a column of ids.
        """
        values = values.head(PROBE)
        return sum(1 for value in values.unique() if value and self.find(value)) / max(len(values), 1)

    def file_column(self, table: pd.DataFrame, like: str = "") -> str | None:
        """Name the column most of whose values are images, or None.

        Row numbers name images too where these are numbered. So of columns with nearly as many images, one that writes
        extensions is taken, then one that is not called like a row number, then the one with the most; of equals that
        called ``like``, then by name and what does not count up, then the first.
        """
        return next(iter(self.file_columns(table, like)), None)

    def file_columns(self, table: pd.DataFrame, like: str = "") -> list[str]:
        """Name the column of the images first, as `file_column` chooses it, then those that only their share of images
        or their place puts behind it."""
        share = {column: self.share(table[column]) for column in table.columns}
        most = max(share.values(), default=0)
        close = [column for column in share if share[column] >= CLOSE * most > 0]
        if len(close) < 2:
            return close

        def rank(column: str) -> tuple[object, ...]:
            name, cells = column.lower(), table[column].head(PROBE)
            named = bool(like) and name == like.lower()
            whole = bool(cells.str.lower().str.endswith(IMAGES).mean() > 0.5)
            counter = name in COUNTERS and not named
            return not says_aside(column), whole, not counter, share[column], named, _standing(column, cells)

        ranks = {column: rank(column) for column in close}
        best = max(close, key=ranks.__getitem__)
        known = ranks[best][:3] + ranks[best][4:]
        return [best, *(other for other in close if other != best and ranks[other][:3] + ranks[other][4:] == known)]

    def names(self, cell: str) -> bool:
        """Tell whether a cell of a table is the whole name of an image, extension included."""
        return "." in cell and any(normal(image).endswith(cell.strip("/")) for image in self.find(cell))


def _standing(column: str, cells: pd.Series) -> int:
    """Rate a column of images: by a name that says so, and down where it merely counts up and is not called an id."""
    if PICTURE.search(_spaced(column)):
        return 2
    return int(re.search(r"(?<![a-z])id$", _spaced(column)) is not None or not _counts_up(cells))


def _counts_up(cells: pd.Series) -> bool:
    if len(cells) < 2 or not all(cell.isdecimal() and len(cell) < 10 for cell in cells):
        return False
    first = int(cells.iloc[0])
    return cells.map(int).tolist() == list(range(first, first + len(cells)))


def _spaced(name: str) -> str:
    """Write a name in small letters, with a space between words that only capitals part."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def _loose(name: str) -> str:
    return name.strip().casefold().lstrip("0") or "0"


def _archives(folder: str) -> int:
    return sum(part.lower().endswith(ARCHIVES) for part in folder.split("/"))


def _asides(folder: str) -> int:
    return sum(map(says_aside, folder.split("/")))


def says_aside(name: str) -> bool:
    """Tell whether a folder or column is called as those are whose images only go with others."""
    return ASIDE.search(_spaced(name)) is not None


def says(split: str, folder: str) -> bool:
    """Tell whether a folder's own name has the split as a word: ``Test Images`` has, ``latest`` and ``Testudines`` have
    not."""
    name = _spaced(PurePosixPath(folder).name)
    return re.search(rf"(?<![^\W\d_]){FORMS[split]}({OF_FILES})?(?![^\W\d_])", name) is not None


def only_says(split: str, folder: str) -> bool:
    """Tell whether a folder's own name says the split and nothing that a class could be called: not ``test bench``."""
    name = _spaced(PurePosixPath(folder).name)
    name = next((name.removesuffix(ending) for ending in ARCHIVES if name.endswith(ending)), name)
    words = re.findall(r"[^\W\d_]+", name)
    return says(split, folder) and all(re.fullmatch(rf"{FORMS[split]}({OF_FILES})?|{BESIDE}", word) for word in words)


@functools.cache
def split_of(folder: str, apart: bool = False) -> str:
    """Name the split that a folder, or else the nearest one above it, says it is of; "" where none or both.

    Args:
        folder: its path.
        apart: whether the test images lie outside all that says train: then nothing in there is of test.
    """
    if not folder:
        return ""
    above = split_of(folder.rpartition("/")[0], apart)
    said = [split for split in FORMS if says(split, folder)]
    if not said or (apart and above == "train"):
        return above
    return said[0] if len(said) == 1 else ""


def is_in(file: str, folder: str) -> bool:
    return not folder or file.startswith(folder + "/")


def _inside(found: dict[str, list[str]], folder: str) -> dict[str, list[str]]:
    return {sample_id: [file for file in files if is_in(file, folder)] for sample_id, files in found.items()}


def _ends_with(path: str, wanted: str) -> bool:
    without_extension = path[: -len(PurePosixPath(path).suffix) or None]
    return any(name == wanted or name.endswith("/" + wanted) for name in (path, without_extension))
