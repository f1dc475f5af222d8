"""Small replicas of the downloads of image-classification competitions, each with a grader of what is handed in.

The layouts are those of the public competitions: file names, columns, forms of ids, contents of the sample submission,
and the files that only get in the way. Images are tiny, made of a seeded texture in the tint of their class, and no two
are near duplicates. The graders know the competitions' rules and nothing of this project.

A download that holds a ``description.md`` names its metric there. Where it holds none, nothing in the files tells the
metric, and the user says it: ``Replica.metric``.
"""

import csv
import hashlib
import io
import json
import math
import re
import tarfile
import uuid
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

Files = dict[str, bytes]
Tint = int | float | tuple[int, ...]  # a class; a value, 0 to 1; the classes of an image that shows several or none
Check = Callable[[list[str]], str]  # the cells of a row but its id -> what is wrong with them, or ""
Grader = Callable[[bytes], list[str]]


@dataclass(frozen=True)
class Replica:
    """A competition's download in small, and its grader.

    Attributes:
        name: the competition's.
        layout: its files in a few words.
        task: multiclass, multilabel or regression.
        metric: the competition's own, in the project's words.
        form: how predictions are written into the submission.
        write: writes the download into an existing empty folder and returns what a user gives to ``compete init``.
        mistakes: lists what the grader would refuse in the bytes of a submission. A line begins with ``header:``,
            ``ids:`` or ``row``.
        edits: lines of params.yaml, by dotted path, that a user has to correct because no reader of the files can know.
    """

    name: str
    layout: str
    task: str
    metric: str
    form: str
    write: Callable[[Path], Path]
    mistakes: Grader
    edits: dict[str, Any] = field(default_factory=dict)


# Names and labels --------------------------------------------------------------------------------------------------


def generator(key: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(key.encode()))


def hexes(key: str, count: int, digits: int) -> list[str]:
    """Make up hexadecimal ids; some look like numbers, as they do out there."""
    return [hashlib.sha256(f"{key} {number}".encode()).hexdigest()[:digits] for number in range(count)]


def uuids(key: str, count: int) -> list[str]:
    return [str(uuid.UUID(name)) for name in hexes(key, count, 32)]


def dealt(key: str, classes: Sequence[Any], count: int) -> list[Any]:
    """Deal classes out evenly, in random order."""
    order = generator(key).permutation(count)
    return [classes[place % len(classes)] for place in order]


def places(classes: Sequence[Any], labels: Iterable[Any]) -> list[int]:
    return [list(classes).index(label) for label in labels]


# Images ------------------------------------------------------------------------------------------------------------


def shape(name: str, size: tuple[int, int] | None = None) -> tuple[int, int]:
    """Return an image's height and width, which differ from image to image unless given."""
    low, high = (12, 10), (20, 24)
    return size or tuple(int(side) for side in generator(name).integers(low, high, endpoint=True))  # type: ignore[return-value]


def image(name: str, tint: Tint, size: tuple[int, int] | None = None, gray: bool = False) -> bytes:
    """Encode an image in the format its name ends in: a texture of its own, in the colours of its classes.

    Args:
        name: seeds the texture.
        tint: several classes stand side by side as bands; a value is a step from dark blue to light yellow.
        size: height and width, pixels.
        gray: one channel.
    """
    height, width = shape(name, size)
    picture = np.full((height, width, 3), 128, np.float32)
    if isinstance(tint, float):
        picture[:] = np.array([130, 40, 30]) * (1 - tint) + np.array([60, 220, 230]) * tint
    else:
        labels = (tint,) if isinstance(tint, int) else tint
        for band, label in zip(np.array_split(np.arange(width), max(len(labels), 1)), labels, strict=False):
            picture[:, band] = _colour(label, gray)
    texture = generator(f"{name} texture").uniform(-55, 55, (6, 6, 3)).astype(np.float32)
    picture += cv2.resize(texture, (width, height), interpolation=cv2.INTER_CUBIC)
    pixels = np.clip(picture, 0, 255).astype(np.uint8)
    return cv2.imencode(PurePosixPath(name).suffix, pixels[..., 0] if gray else pixels)[1].tobytes()


def _colour(label: int, gray: bool) -> np.ndarray:
    if gray:
        return np.full(3, 45 + (label * 73) % 180)
    hue = label * 69 % 180  # neighbours far apart
    colour = np.array([[[hue, 210, 120 + 60 * (label % 3)]]], np.uint8)
    return np.asarray(cv2.cvtColor(colour, cv2.COLOR_HSV2BGR))[0, 0]


def images(
    names: Iterable[str], tints: Iterable[Tint], size: tuple[int, int] | None = None, gray: bool = False
) -> Files:
    return {name: image(name, tint, size, gray) for name, tint in zip(names, tints, strict=True)}


# Files -------------------------------------------------------------------------------------------------------------


def table(header: Sequence[str], rows: Iterable[Sequence[object]], separator: str = ",") -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerows([header] if header else [])
    writer.writerows(rows)
    return text.getvalue().encode()


def blob(content: Any) -> bytes:
    return json.dumps(content, indent=1).encode()


def noise(name: str, head: bytes = b"") -> bytes:
    """Return the bytes of a file that is no image to OpenCV."""
    return head + generator(name).bytes(200)


def page(title: str, evaluation: str, example: bytes, more: str = "") -> bytes:
    """Write a competition's page: how it is scored, the first lines of a submission, and what else it says."""
    lines = b"\n".join(example.splitlines()[:4]).decode()
    parts = [f"# {title}", "## Evaluation", evaluation, "## Submission file", f"```\n{lines}\n```", more]
    return "\n\n".join(filter(None, parts)).encode() + b"\n"


def zipped(files: Files) -> bytes:
    """Pack files, and an entry for each of their folders, into a zip whose bytes do not depend on the day."""
    folders = {f"{parent}/" for name in files for parent in PurePosixPath(name).parents if parent.name}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in [*((folder, b"") for folder in sorted(folders)), *files.items()]:
            info = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_STORED if name.endswith("/") else zipfile.ZIP_DEFLATED
            info.external_attr = 0o40755 << 16 | 0x10 if name.endswith("/") else 0o100644 << 16
            archive.writestr(info, data)
    return packed.getvalue()


def tarred(files: Files) -> bytes:
    """Pack files into a .tar.gz."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return _gzip(packed.getvalue())


def _gzip(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)  # 31: with a gzip header, which zlib writes without a time
    return packer.compress(data) + packer.flush()


def seven_zipped(files: Files) -> bytes:
    """Pack files into a .7z, as 7-Zip does: all in one stream."""
    from py7zr import FILTER_LZMA2, SevenZipFile
    from py7zr.helpers import ArchiveTimestamp

    packed = io.BytesIO()
    with SevenZipFile(packed, "w", filters=[{"id": FILTER_LZMA2, "preset": 6}]) as archive:
        for name, data in files.items():
            archive.writestr(data, name)
        for entry in archive.header.files_info.files:
            entry |= dict.fromkeys(
                ("creationtime", "lastwritetime", "lastaccesstime"), ArchiveTimestamp.from_datetime(1.5e9)
            )
    return packed.getvalue()


def writer(files: Callable[[], Files], given: str = "") -> Callable[[Path], Path]:
    """Return a function that writes files into a folder, and returns the folder or the file ``given`` of it."""

    def write(folder: Path) -> Path:
        for name, data in files().items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder / given

    return write


# Graders -----------------------------------------------------------------------------------------------------------


def grader(header: Sequence[str], ids: Iterable[object], check: Check, id_place: int = 0) -> Grader:
    """Return a grader that wants this header, each id once, and the other cells of each row to pass ``check``."""
    wanted = [str(sample_id) for sample_id in ids]

    def mistakes(data: bytes) -> list[str]:
        try:
            first, *rows = csv.reader(io.StringIO(data.decode("utf-8"), newline=""), strict=True)
        except (ValueError, csv.Error) as error:
            return [f"header: not a table in UTF-8, or an empty one ({error})"]
        if first != list(header):
            return [f"header: {first}, expected {list(header)}"]
        ragged = [f"row {number}: {len(row)} cells" for number, row in enumerate(rows, 1) if len(row) != len(header)]
        if ragged:
            return ragged
        found = Counter(row[id_place] for row in rows)
        missing = [sample_id for sample_id in wanted if sample_id not in found]
        foreign = [sample_id for sample_id in found if sample_id not in wanted]
        twice = [sample_id for sample_id, count in found.items() if count > 1]
        told = {"missing": missing, "not of the competition": foreign, "more than once": twice}
        complaints = [f"ids: {len(which)} {what}, first {which[0]!r}" for what, which in told.items() if which]
        for row in rows:
            if complaint := check(row[:id_place] + row[id_place + 1 :]):
                complaints.append(f"row {row[id_place]}: {complaint}")
        return complaints

    return mistakes


def one_of(classes: Iterable[object]) -> Check:
    known = {str(name) for name in classes}
    return lambda cells: "" if cells[0] in known else f"{cells[0]!r} is none of the classes"


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text) is not None and math.isfinite(float(text))


def numbers(cells: list[str]) -> str:
    return next((f"{cell!r} is no number" for cell in cells if not _is_number(cell)), "")


def probabilities(cells: list[str]) -> str:
    outside = (f"{cell} is not between 0 and 1" for cell in cells if not 0 <= float(cell) <= 1)
    return numbers(cells) or next(outside, "")


def distribution(cells: list[str]) -> str:
    if complaint := probabilities(cells):
        return complaint
    total = sum(float(cell) for cell in cells)
    return "" if abs(total - 1) <= 1e-5 else f"the sum is {total}"


def flags(cells: list[str]) -> str:
    return next((f"{cell!r} is neither 0 nor 1" for cell in cells if cell not in ("0", "1")), "")


def tags(classes: Iterable[object], most: int | None = None) -> Check:
    """Want one class or more, none of them twice, with single spaces between them."""
    known = {str(name) for name in classes}

    def check(cells: list[str]) -> str:
        given = cells[0].split(" ")
        if unknown := [name for name in given if name not in known]:
            return f"{unknown[0]!r} is none of the classes"
        if len(set(given)) < len(given):
            return f"{cells[0]!r} names a class twice"
        return f"{len(given)} classes, at most {most}" if most and len(given) > most else ""

    return check


# Class per id ------------------------------------------------------------------------------------------------------


def gala() -> Replica:
    classes = ("Attire", "Decorationandsignage", "Food", "misc")
    ids = [f"image{4021 + 37 * number}.jpg" for number in range(46)]
    train, test = ids[:36], ids[36:]
    labels = dealt("gala", classes, 36)

    def files() -> Files:
        inner = {
            "dataset/train.csv": table(("Image", "Class"), zip(train, labels, strict=True)),
            "dataset/test.csv": table(("Image",), ([name] for name in test)),
            **images((f"dataset/Train Images/{name}" for name in train), places(classes, labels)),
            **images((f"dataset/Test Images/{name}" for name in test), dealt("gala test", range(4), 10)),
        }
        return {"dataset.zip": zipped(inner)}

    return Replica(
        name="hackerearth-gala",
        layout="one zip with a folder of photos a split and a CSV of each, no sample submission",
        task="multiclass",
        metric="f1_weighted",
        form="class per id",
        write=writer(files, "dataset.zip"),
        mistakes=grader(("Image", "Class"), test, one_of(classes)),
    )


def aptos() -> Replica:
    train, test = hexes("aptos", 40, 12), hexes("aptos test", 10, 12)
    labels = dealt("aptos", range(5), 40)

    def files() -> Files:
        sample = table(("id_code", "diagnosis"), ((name, 0) for name in test))
        return {
            "description.md": page(
                "Diabetic retinopathy in photos of the retina",
                "Submissions are scored based on the quadratic weighted kappa, which compares the grades given by a "
                "clinician, 0 to 4, with the predicted ones and punishes a mistake by the square of its distance.",
                sample,
            ),
            "train.csv": table(("id_code", "diagnosis"), zip(train, labels, strict=True)),
            "test.csv": table(("id_code",), ([name] for name in test)),
            "sample_submission.csv": sample,
            **images((f"train_images/{name}.png" for name in train), labels),
            **images((f"test_images/{name}.png" for name in test), dealt("aptos test", range(5), 10)),
        }

    return Replica(
        name="aptos2019-blindness-detection",
        layout="CSVs beside one folder a split",
        task="multiclass",
        metric="quadratic_kappa",
        form="class per id",
        write=writer(files),
        mistakes=grader(("id_code", "diagnosis"), test, one_of(range(5))),
    )


def cassava() -> Replica:
    names = ("Bacterial Blight (CBB)", "Brown Streak Disease (CBSD)", "Green Mottle (CGM)", "Mosaic Disease (CMD)")
    diseases = [*(f"Cassava {name}" for name in names), "Healthy"]
    ids = [f"{1000015157 + 7919081 * number}.jpg" for number in range(50)]
    train, test = ids[:40], ids[40:]
    labels = dealt("cassava", range(5), 40)

    def files() -> Files:
        return {
            "train.csv": table(("image_id", "label"), zip(train, labels, strict=True)),
            "sample_submission.csv": table(("image_id", "label"), ((name, 4) for name in test)),
            "label_num_to_disease_map.json": blob({str(number): name for number, name in enumerate(diseases)}),
            "train_tfrecords/ld_train00-1338.tfrec": noise("ld_train00"),
            "train_tfrecords/ld_train01-1338.tfrec": noise("ld_train01"),
            "test_tfrecords/ld_test00-1338.tfrec": noise("ld_test00"),
            **images((f"train_images/{name}" for name in train), labels),
            **images((f"test_images/{name}" for name in test), dealt("cassava test", range(5), 10)),
        }

    return Replica(
        name="cassava-leaf-disease-classification",
        layout="CSV beside one folder a split, the same images again as TFRecords",
        task="multiclass",
        metric="accuracy",
        form="class per id",
        write=writer(files),
        mistakes=grader(("image_id", "label"), test, one_of(range(5))),
    )


def coco(files: Sequence[str], ids: Sequence[object], below: str = "") -> list[dict[str, Any]]:
    """List images as COCO does; ``below`` is where ``file_name`` starts."""
    listed = []
    for file, image_id in zip(files, ids, strict=True):
        height, width = shape(file)
        name = file.removeprefix(below)
        listed.append({"file_name": name, "height": height, "id": image_id, "license": 1, "width": width})
    return listed


def numbered(category: int) -> str:
    return f"{category // 100:03d}/{category % 100:02d}"


HERBARIUM_PAGE = (
    "Submissions are scored by the macro F1 score: F1 is computed for each species on its own, and the mean over all "
    "species counts. Predict the category_id of each image."
)
HERBARIUM_INFO = {
    "info": {"year": 2020, "version": "1", "url": "", "description": "", "contributor": "", "date_created": "2020"},
    "licenses": [{"id": 1, "name": "CC BY-NC", "url": ""}],
}


def herbarium_2020() -> Replica:
    categories = {0: "Aa hartwegii", 1: "Isoëtes lacustris", 37: "Abies durangensis", 15672: "Ilex paraguariensis"}
    ids = [3, 8, 11, *(437000 + 19 * number for number in range(37))]  # also ids of the test split
    labels = dealt("herbarium 2020", list(categories), 40)
    top = "nybg2020/train/"
    train = [f"{top}images/{numbered(c)}/{name}.jpg" for name, c in zip(ids, labels, strict=True)]
    test = [f"nybg2020/test/images/000/{number}.jpg" for number in range(12)]

    def files() -> Files:
        sample = table(("Id", "Predicted"), ((number, 0) for number in range(12)))
        metadata = {
            "annotations": [
                {"category_id": c, "id": name, "image_id": name, "region_id": name % 3}
                for name, c in zip(ids, labels, strict=True)
            ],
            "categories": [
                {"family": "Fabaceae", "genus": name.split()[0], "id": number, "name": name}
                for number, name in categories.items()
            ],
            "images": coco(train, ids, top),
            "regions": [{"id": number, "name": f"region {number}"} for number in range(3)],
            **HERBARIUM_INFO,
        }
        return {
            "description.md": page("Herbarium 2020", HERBARIUM_PAGE, sample),
            # The real one is Latin-1 too, and no UTF-8.
            top + "metadata.json": json.dumps(metadata, ensure_ascii=False).encode("latin-1"),
            "nybg2020/test/metadata.json": blob({"images": coco(test, range(12), "nybg2020/test/"), **HERBARIUM_INFO}),
            "sample_submission.csv": sample,
            **images(train, places(list(categories), labels)),
            **images(test, dealt("herbarium 2020 test", range(4), 12)),
        }

    return Replica(
        name="herbarium-2020-fgvc7",
        layout="COCO metadata.json in Latin-1 and nested folders a split, below a folder; ids repeat across splits",
        task="multiclass",
        metric="f1_macro",
        form="class per id",
        write=writer(files),
        mistakes=grader(("Id", "Predicted"), range(12), one_of(categories)),
    )


def herbarium_2021() -> Replica:
    categories = {0: "Aaronsohnia pubescens", 3: "Abarema abbottii", 604: "Acaena caesiiglauca", 60492: "Vitex lucens"}
    ids = [604650 + 733 * number for number in range(40)]
    labels = dealt("herbarium 2021", list(categories), 40)
    train = [f"train/images/{numbered(c)}/{name}.jpg" for name, c in zip(ids, labels, strict=True)]
    test = [f"test/images/000/{number}.jpg" for number in range(12)]

    def files() -> Files:
        sample = table(("Id", "Predicted"), ((number, 0) for number in range(12)))
        metadata = {
            "annotations": [
                {"category_id": c, "id": name, "image_id": name, "institution_id": name % 5}
                for name, c in zip(ids, labels, strict=True)
            ],
            "categories": [
                {"family": "Asteraceae", "id": number, "name": name, "order": "Asterales"}
                for number, name in categories.items()
            ],
            "images": coco(train, ids, "train/"),
            "institutions": [{"id": number, "name": name} for number, name in enumerate(("NY", "BPBM", "NL", "BRI"))],
            **HERBARIUM_INFO,
        }
        test_images = coco(test, [str(number) for number in range(12)], "test/")
        return {
            "description.md": page("Herbarium 2021", HERBARIUM_PAGE, sample),
            "train/metadata.json": blob(metadata),
            "test/metadata.json": blob({"images": test_images, **HERBARIUM_INFO}),
            "sample_submission.csv": sample,
            **images(train, places(list(categories), labels)),
            **images(test, dealt("herbarium 2021 test", range(4), 12)),
        }

    return Replica(
        name="herbarium-2021-fgvc8",
        layout="COCO metadata.json and nested folders a split; test ids are strings there",
        task="multiclass",
        metric="f1_macro",
        form="class per id",
        write=writer(files),
        mistakes=grader(("Id", "Predicted"), range(12), one_of(categories)),
    )


def herbarium_2022() -> Replica:
    categories = {0: "Abies amabilis", 2: "Abies balsamea", 42: "Acalypha rhomboidea", 15504: "Zizia aptera"}
    labels = sorted(dealt("herbarium 2022", list(categories), 40))
    ids = [f"{c:05d}__{labels[:place].count(c) + 1:03d}" for place, c in enumerate(labels)]
    train = [f"{numbered(c)}/{name}.jpg" for name, c in zip(ids, labels, strict=True)]
    test = [f"000/test-{number:06d}.jpg" for number in range(12)]

    def files() -> Files:
        sample = table(("Id", "Predicted"), ((number, 42) for number in range(12)))
        genera = sorted({name.split()[0] for name in categories.values()})
        genus_of = {number: genera.index(name.split()[0]) for number, name in categories.items()}
        metadata = {
            "annotations": [
                {"genus_id": genus_of[c], "institution_id": 15, "category_id": c, "image_id": name}
                for name, c in zip(ids, labels, strict=True)
            ],
            "images": [
                {"image_id": name, "file_name": file, "license": 0} for name, file in zip(ids, train, strict=True)
            ],
            "categories": [
                {
                    "category_id": number,
                    "scientificName": f"{name} (L.) Mill.",
                    "family": "Pinaceae",
                    "genus": name.split()[0],
                    "species": name.split()[1],
                    "authors": "(L.) Mill.",
                }
                for number, name in categories.items()
            ],
            "genera": [{"genus_id": number, "genus": name} for number, name in enumerate(genera)],
            "institutions": [{"institution_id": 15, "collectionCode": "uconn"}],
            "distances": [{"genus_id_x": 0, "genus_id_y": 1, "distance": 187.4}],
            "license": [{"id": 0, "name": "CC BY-NC-SA", "url": ""}],
        }
        listed = [{"image_id": number, "file_name": file, "license": 0} for number, file in enumerate(test)]
        return {
            "description.md": page("Herbarium 2022", HERBARIUM_PAGE, sample),
            "train_metadata.json": blob(metadata),
            "test_metadata.json": blob(listed),
            "sample_submission.csv": sample,
            **images((f"train_images/{name}" for name in train), places(list(categories), labels)),
            **images((f"test_images/{name}" for name in test), dealt("herbarium 2022 test", range(4), 12)),
        }

    return Replica(
        name="herbarium-2022-fgvc9",
        layout="train_metadata.json with keys of its own, test_metadata.json a list; test file names are not the ids",
        task="multiclass",
        metric="f1_macro",
        form="class per id",
        write=writer(files),
        mistakes=grader(("Id", "Predicted"), range(12), one_of(categories)),
    )


def inaturalist() -> Replica:
    kingdoms = {7: "Insects", 202: "Birds", 654: "Plants", 981: "Plants"}
    labels = dealt("inaturalist", list(kingdoms), 44)
    names = hexes("inaturalist", 44, 32)
    files_of = [f"train_val2019/{kingdoms[c]}/{c}/{name}.jpg" for name, c in zip(names, labels, strict=True)]
    test = [f"test2019/{name}.jpg" for name in hexes("inaturalist test", 12, 32)]
    test_ids = range(268243, 268255)

    def listing(part: slice) -> bytes:
        ids = list(range(44))[part]
        return blob(
            {
                "info": {"year": 2019, "version": "2019", "description": "", "contributor": "", "url": ""},
                "images": [{**entry, "rights_holder": "somebody"} for entry in coco(files_of[part], ids)],
                "licenses": [{"id": 1, "name": "CC BY-NC", "url": ""}],
                "annotations": [
                    {"id": number, "image_id": number, "category_id": c}
                    for number, c in zip(ids, labels[part], strict=True)
                ],
                "categories": [
                    {"id": c, "name": f"species {c}", "kingdom": kingdom, "class": kingdom, "genus": "g"}
                    for c, kingdom in kingdoms.items()
                ],
            }
        )

    def files() -> Files:
        test_listing = {"info": {"year": 2019}, "images": coco(test, test_ids), "licenses": []}
        return {
            "train2019.json": listing(slice(0, 36)),
            "val2019.json": listing(slice(36, 44)),
            "test2019.json": blob(test_listing),
            "kaggle_sample_submission.csv": table(("id", "predicted"), ((number, 654) for number in test_ids)),
            "train_val2019.tar.gz": tarred(images(files_of, places(list(kingdoms), labels))),
            "test2019.tar.gz": tarred(images(test, dealt("inaturalist test", range(4), 12))),
        }

    return Replica(
        name="inaturalist-2019-fgvc6",
        layout="COCO JSON for train, validation and test beside two .tar.gz",
        task="multiclass",
        metric="top1_error",
        form="class per id",
        write=writer(files),
        mistakes=grader(("id", "predicted"), test_ids, one_of(kingdoms)),
    )


def iwildcam_2019() -> Replica:
    train, test = uuids("iwildcam 2019", 40), uuids("iwildcam 2019 test", 12)
    classes = (0, 1, 11, 13, 16)
    labels = [classes[number // 2 % 5] for number in range(40)]  # two frames to a sequence, one place and animal in it

    def rows(ids: list[str], locations: Sequence[int]) -> list[list[object]]:
        found = []
        for number, name in enumerate(ids):
            height, width = shape(f"{name}.jpg")
            location = locations[number // 2 % len(locations)]
            when = f"2011-05-{1 + number // 2:02d} 23:43:1{number % 2}"
            sequence = f"6f084ccc-5567-11e8-bc84-dca9047ef{number // 2:03d}"
            found.append(
                [when, f"{name}.jpg", 1 + number % 2, name, location, "justin brown", sequence, 2, width, height]
            )
        return found

    def files() -> Files:
        header = (
            *("date_captured", "file_name", "frame_num", "id", "location", "rights_holder", "seq_id"),
            *("seq_num_frames", "width", "height"),
        )
        known = [
            [label, *row] for label, row in zip(labels, rows(train, (3, 10, 22, 46, 51, 96, 115, 125)), strict=True)
        ]
        sample = table(("Id", "Category"), ((name, 0) for name in test))
        return {
            "description.md": page(
                "Animals in camera traps of 2019",
                "Submissions are scored by their macro F1 score: the mean of the F1 of all classes, each counting the "
                "same, the one without an animal included.",
                sample,
                "Category is a whole number from 0, no animal, to 22. Some classes occur in no training image.",
            ),
            "train.csv": table(("category_id", *header), known),
            "test.csv": table(header, rows(test, (1, 5, 7))),
            "sample_submission.csv": sample,
            "train_images.zip": zipped(images((f"{name}.jpg" for name in train), places(classes, labels))),
            "test_images.zip": zipped(
                images((f"{name}.jpg" for name in test), dealt("iwildcam 2019 test", range(5), 12))
            ),
        }

    return Replica(
        name="iwildcam-2019-fgvc6",
        layout="CSVs full of metadata, label column first, beside a flat zip a split",
        task="multiclass",
        metric="f1_macro",
        form="class per id",
        write=writer(files),
        mistakes=grader(("Id", "Category"), test, one_of(range(23))),
    )


def iwildcam_2020() -> Replica:
    train, test = uuids("iwildcam 2020", 40), uuids("iwildcam 2020 test", 12)
    categories = {0: "empty", 2: "tayassu pecari", 96: "puma concolor", 256: "loxodonta africana", 374: "bos taurus"}
    used = (0, 2, 96, 256)
    labels = [used[number // 2 % 4] for number in range(40)]

    def listed(ids: list[str], folder: str, locations: Sequence[int]) -> list[dict[str, Any]]:
        found = []
        for number, name in enumerate(ids):
            height, width = shape(f"{folder}/{name}.jpg")
            found.append(
                {
                    "seq_num_frames": 2,
                    "location": locations[number // 2 % len(locations)],
                    "datetime": f"2013-06-{1 + number // 2:02d} 05:44:1{number % 2}.000",
                    "frame_num": number % 2,
                    "seq_id": f"30048d32-7d42-11eb-8fb5-0242ac1c{number // 2:04d}",
                    "width": width,
                    "height": height,
                    "file_name": f"{name}.jpg",
                    "id": name,
                }
            )
        return found

    def files() -> Files:
        kinds = [{"id": number, "name": name, "count": 10} for number, name in categories.items()]
        info = {"year": 2020, "version": 1.0, "description": "", "contributor": "", "date_created": "2020-01-01"}
        boxes = [
            {
                "detections": [{"category": "1", "bbox": [0.6529, 0.5425, 0.2, 0.1], "conf": 0.986}],
                "id": name,
                "max_detection_conf": 0.986,
            }
            for name in train + test
        ]
        random = generator("iwildcam 2020 sample").integers(0, 676, 12)
        sample = table(("Id", "Category"), zip(test, random, strict=True))
        return {
            "description.md": page(
                "Animals in camera traps of 2020",
                "Submissions are scored on their categorization accuracy, the share of images put into the right "
                "category.",
                sample,
            ),
            "iwildcam2020_train_annotations.json": blob(
                {
                    "annotations": [
                        {"count": 1, "image_id": name, "id": note, "category_id": c}
                        for name, note, c in zip(train, uuids("iwildcam 2020 notes", 40), labels, strict=True)
                    ],
                    "images": listed(train, "train", (8, 13, 67, 120, 267, 301, 403)),
                    "categories": kinds,
                    "info": info,
                }
            ),
            "iwildcam2020_test_information.json": blob(
                {"images": listed(test, "test", (20, 31)), "categories": kinds, "info": info}
            ),
            "iwildcam2020_megadetector_results.json": blob(
                {"images": boxes, "detection_categories": {"1": "animal"}, "info": {"detector": "megadetector"}}
            ),
            "sample_submission.csv": sample,
            **images((f"train/{name}.jpg" for name in train), places(used, labels)),
            **images((f"test/{name}.jpg" for name in test), dealt("iwildcam 2020 test", range(4), 12)),
        }

    return Replica(
        name="iwildcam-2020-fgvc7",
        layout="COCO JSON a split and of detections, one folder a split, categories that no image has",
        task="multiclass",
        metric="accuracy",
        form="class per id",
        write=writer(files),
        mistakes=grader(("Id", "Category"), test, one_of(categories)),
    )


def paddy() -> Replica:
    classes = ("bacterial_leaf_blight", "blast", "dead_heart", "hispa", "normal")
    train = [f"{100330 + 13 * number}.jpg" for number in range(40)]
    test = [f"{200001 + number}.jpg" for number in range(10)]
    labels = dealt("paddy", classes, 40)

    def files() -> Files:
        varieties, ages = dealt("paddy variety", ("ADT45", "Ponni", "KarnatakaPonni"), 40), range(45, 85)
        return {
            "train.csv": table(
                ("image_id", "label", "variety", "age"), zip(train, labels, varieties, ages, strict=True)
            ),
            "sample_submission.csv": table(("image_id", "label"), ((name, "") for name in test)),
            **images(
                (f"train_images/{label}/{name}" for name, label in zip(train, labels, strict=True)),
                places(classes, labels),
                (20, 15),
            ),
            **images((f"test_images/{name}" for name in test), dealt("paddy test", range(5), 10), (20, 15)),
        }

    return Replica(
        name="paddy-disease-classification",
        layout="CSV with more columns beside class folders; the sample submission's labels are empty",
        task="multiclass",
        metric="accuracy",
        form="class per id",
        write=writer(files),
        mistakes=grader(("image_id", "label"), test, one_of(classes)),
    )


def plant_seedlings() -> Replica:
    classes = ("Black-grass", "Charlock", "Common Chickweed", "Fat Hen", "Sugar beet")
    train, test = hexes("seedlings", 40, 9), [f"{name}.png" for name in hexes("seedlings test", 10, 9)]
    labels = dealt("seedlings", classes, 40)

    def files() -> Files:
        sample = table(("file", "species"), ((name, "Sugar beet") for name in test))
        return {
            "description.md": page(
                "Seedlings of crops and weeds",
                "Submissions are scored on the micro-averaged F1-score: true and false positives are counted over all "
                "species together.",
                sample,
            ),
            "sample_submission.csv": sample,
            **images(
                (f"train/{label}/{name}.png" for name, label in zip(train, labels, strict=True)),
                places(classes, labels),
            ),
            **images((f"test/{name}" for name in test), dealt("seedlings test", range(5), 10)),
        }

    return Replica(
        name="plant-seedlings-classification",
        layout="class folders with spaces in their names, a flat test folder",
        task="multiclass",
        metric="f1_micro",
        form="class per id",
        write=writer(files),
        mistakes=grader(("file", "species"), test, one_of(classes)),
    )


def valid_folders() -> Replica:
    classes = ("daisy", "poppy", "rose", "tulip")
    test = [f"{number:04d}.jpg" for number in range(1, 13)]

    def files() -> Files:
        known = [
            (f"{split}/{c}/{n:03d}.jpg", c)
            for split, m in (("train", 9), ("valid", 2))
            for c in classes
            for n in range(1, m + 1)
        ]
        return {
            "description.md": page(
                "Four flowers",
                "Submissions are scored by their accuracy. Hand in a CSV with the header id,label, where id is the "
                "name of a file in the folder test, and label that of a folder in train.",
                b"id,label\n0001.jpg,daisy",
            ),
            **images((name for name, _ in known), places(classes, (label for _, label in known))),
            **images((f"test/{name}" for name in test), dealt("flowers test", range(4), 12)),
        }

    return Replica(
        name="flower-folders",
        layout="class folders in train and valid with the same file names in each, a flat test folder, no CSV",
        task="multiclass",
        metric="accuracy",
        form="class per id",
        write=writer(files),
        mistakes=grader(("id", "label"), test, one_of(classes)),
    )


def nested_archives() -> Replica:
    classes = ("birch", "oak", "pine", "spruce")
    train, test = [f"tr_{n:04d}" for n in range(36)], [f"te_{n:04d}" for n in range(10)]
    labels = dealt("trees", classes, 36)

    def files() -> Files:
        inner = {
            "train.zip": zipped(images((f"train/{name}.png" for name in train), places(classes, labels))),
            "test.zip": zipped(images((f"test/{name}.png" for name in test), dealt("trees test", range(4), 10))),
            "train.tsv": table((), zip(train, labels, strict=True), "\t"),
            "sample_submission.csv": table(("id", "label"), ((name, "birch") for name in test)),
        }
        return {"download.zip": zipped(inner)}

    return Replica(
        name="trees-in-archives",
        layout="one zip with a zip a split in it, and a TSV without a header",
        task="multiclass",
        metric="accuracy",
        form="class per id",
        write=writer(files, "download.zip"),
        mistakes=grader(("id", "label"), test, one_of(classes)),
    )


def unnamed_index() -> Replica:
    classes = ("a", "b", "c")
    train, test = [[f"{name}.png" for name in hexes(key, n, 8)] for key, n in (("letters", 36), ("letters test", 10))]
    labels = dealt("letters", classes, 36)
    header = ("", "image", "label")
    grade = grader(header, test, lambda cells: one_of(classes)(cells[1:]), id_place=1)

    def mistakes(data: bytes) -> list[str]:
        if found := grade(data):
            return found
        rows = list(csv.reader(io.StringIO(data.decode(), newline="")))[1:]
        return [f"row {name}: index {index!r}" for index, name, _ in rows if index != str(test.index(name))]

    def files() -> Files:
        return {
            "train.csv": table(header, ([n, *row] for n, row in enumerate(zip(train, labels, strict=True)))),
            "sample_submission.csv": table(header, ((n, name, "a") for n, name in enumerate(test))),
            **images((f"train/{name}" for name in train), places(classes, labels)),
            **images((f"test/{name}" for name in test), dealt("letters test", range(3), 10)),
        }

    return Replica(
        name="letters-with-an-index",
        layout="CSVs that begin with a column of row numbers without a name",
        task="multiclass",
        metric="accuracy",
        form="class per id",
        write=writer(files),
        mistakes=mistakes,
    )


def two_level_folders() -> Replica:
    folders = (
        "apple/apple_rust",
        "apple/apple_scab",
        "corn/corn_blight",
        "grape/grape_black_rot",
        "grape/grape_healthy",
    )
    classes = [folder.partition("/")[2] for folder in folders]
    test = [f"{name}.jpg" for name in hexes("plants test", 10, 10)]

    def files() -> Files:
        labels = dealt("plants", range(5), 40)
        names = [f"train/{folders[c]}/{name}.jpg" for c, name in zip(labels, hexes("plants", 40, 10), strict=True)]
        return {
            "sample_submission.csv": table(("image", "label"), ((name, "apple_rust") for name in test)),
            **images(names, labels),
            **images((f"test/{name}" for name in test), dealt("plants test", range(5), 10)),
        }

    return Replica(
        name="diseases-of-three-plants",
        layout="class folders on two levels, the deeper ones are the classes",
        task="multiclass",
        metric="accuracy",
        form="class per id",
        write=writer(files),
        mistakes=grader(("image", "label"), test, one_of(classes)),
    )


def class_index() -> Replica:
    classes = ("glass", "metal", "paper", "plastic")
    train, test = [[f"{name}.jpg" for name in hexes(key, n, 8)] for key, n in (("waste", 36), ("waste test", 10))]
    labels = dealt("waste", classes, 36)

    def files() -> Files:
        sample = table(("image", "label"), ((name, 0) for name in test))
        return {
            "description.md": page(
                "Waste",
                "Submissions are scored by the weighted F1 score. The label of an image is the index of its class, "
                "counted from 0 in alphabetical order.",
                sample,
            ),
            "train.csv": table(("image", "class"), zip(train, labels, strict=True)),
            "sample_submission.csv": sample,
            **images((f"train/{name}" for name in train), places(classes, labels)),
            **images((f"test/{name}" for name in test), dealt("waste test", range(4), 10)),
        }

    return Replica(
        name="waste-by-index",
        layout="CSV of class names beside one folder a split; the sample submission holds whole numbers",
        task="multiclass",
        metric="f1_weighted",
        form="class index per id",
        write=writer(files),
        mistakes=grader(("image", "label"), test, one_of(range(4))),
    )


# Probability per id ------------------------------------------------------------------------------------------------


def aerial_cactus() -> Replica:
    train, test = [[f"{name}.jpg" for name in hexes(key, n, 32)] for key, n in (("cactus", 36), ("cactus test", 10))]
    labels = dealt("cactus", (1, 1, 1, 0), 36)

    def files() -> Files:
        size = (16, 16)
        return {
            "train.csv": table(("id", "has_cactus"), zip(train, labels, strict=True)),
            "sample_submission.csv": table(("id", "has_cactus"), ((name, 0.5) for name in test)),
            "train.zip": zipped(images((f"train/{name}" for name in train), labels, size)),
            "test.zip": zipped(images((f"test/{name}" for name in test), dealt("cactus test", (1, 0), 10), size)),
        }

    return Replica(
        name="aerial-cactus-identification",
        layout="CSV beside a zip a split",
        task="multiclass",
        metric="roc_auc",
        form="probability per id",
        write=writer(files),
        mistakes=grader(("id", "has_cactus"), test, probabilities),
    )


def dogs_vs_cats() -> Replica:
    train = [f"train/{animal}.{number}.jpg" for animal in ("cat", "dog") for number in range(18)]
    test = range(1, 13)

    def files() -> Files:
        sample = table(("id", "label"), ((number, 0.5) for number in test))
        return {
            "description.md": page(
                "Dogs and cats",
                "Submissions are scored on the log loss. The label you hand in for an image is the probability that it "
                "shows a dog (1 = dog, 0 = cat).",
                sample,
            ),
            "sample_submission.csv": sample,
            "train.zip": zipped(images(train, [0] * 18 + [1] * 18)),
            "test.zip": zipped(images((f"test/{number}.jpg" for number in test), dealt("dogs test", (0, 1), 12))),
        }

    return Replica(
        name="dogs-vs-cats-redux-kernels-edition",
        layout="a zip a split, the class is the beginning of the file name",
        task="multiclass",
        metric="log_loss",
        form="probability per id",
        write=writer(files),
        mistakes=grader(("id", "label"), test, probabilities),
    )


def histopathologic() -> Replica:
    train, test = hexes("histopathologic", 40, 40), hexes("histopathologic test", 10, 40)
    labels = dealt("histopathologic", (0, 0, 0, 1, 1), 40)

    def files() -> Files:
        size = (20, 20)
        return {
            "train_labels.csv": table(("id", "label"), zip(train, labels, strict=True)),
            "sample_submission.csv": table(("id", "label"), ((name, 0) for name in test)),
            **images((f"train/{name}.tif" for name in train), labels, size),
            **images((f"test/{name}.tif" for name in test), dealt("histopathologic test", (0, 1), 10), size),
        }

    return Replica(
        name="histopathologic-cancer-detection",
        layout="CSV beside one folder of TIFFs a split; the sample submission holds whole numbers",
        task="multiclass",
        metric="roc_auc",
        form="probability per id",
        write=writer(files),
        mistakes=grader(("id", "label"), test, probabilities),
    )


def invasive() -> Replica:
    train, test = range(1, 41), range(1, 13)
    labels = dealt("invasive", (1, 1, 0), 40)

    def files() -> Files:
        sample = table(("name", "invasive"), ((number, 0.5) for number in test))
        known = table(("name", "invasive"), zip(train, labels, strict=True))
        return {
            "description.md": page(
                "Invasive hydrangea in photos of forests",
                "Submissions are scored on the area under the ROC curve between the predicted probability and what the "
                "photo shows.",
                sample,
            ),
            "train_labels.csv.zip": zipped({"train_labels.csv": known}),
            "sample_submission.csv.zip": zipped({"sample_submission.csv": sample}),
            "train.7z": seven_zipped(images((f"train/{number}.jpg" for number in train), labels)),
            "test.7z": seven_zipped(
                images((f"test/{number}.jpg" for number in test), dealt("invasive test", (0, 1), 12))
            ),
        }

    return Replica(
        name="invasive-species-monitoring",
        layout="zipped CSVs beside a 7z a split; both splits are numbered from 1",
        task="multiclass",
        metric="roc_auc",
        form="probability per id",
        write=writer(files),
        mistakes=grader(("name", "invasive"), test, probabilities),
    )


def melanoma() -> Replica:
    train = [f"ISIC_{2637011 + 4103 * number:07d}" for number in range(42)]
    test = [f"ISIC_{52060 + 3301 * number:07d}" for number in range(12)]
    labels = dealt("melanoma", (0, 0, 0, 1), 42)

    def people(ids: list[str], first: int) -> list[list[object]]:
        """Tell patient, sex, age and site of each image; some cells are empty."""
        sites = ("torso", "lower extremity", "", "head/neck", "torso", "upper extremity", "palms/soles")
        rows: list[list[object]] = []
        for number, name in enumerate(ids):
            sex = "" if number == 7 else ("male", "female")[number // 2 % 2]
            age = "" if number == 7 else f"{30 + number // 2 % 10 * 5}.0"
            rows.append([name, f"IP_{first + number // 2:07d}", sex, age, sites[number % 7]])
        return rows

    def files() -> Files:
        header = ("image_name", "patient_id", "sex", "age_approx", "anatom_site_general_challenge")
        told = {0: ("unknown", "benign"), 1: ("melanoma", "malignant")}
        known = [[*row, *told[label], label] for row, label in zip(people(train, 2109605), labels, strict=True)]
        sample = table(("image_name", "target"), ((name, 0) for name in test))
        return {
            "description.md": page(
                "Melanoma among the lesions of a patient",
                "Submissions are scored on the area under the ROC curve between the predicted probability of a "
                "malignant lesion and the observed target.",
                sample,
            ),
            "train.csv": table((*header, "diagnosis", "benign_malignant", "target"), known),
            "test.csv": table(header, people(test, 7109605)),
            "sample_submission.csv": sample,
            "tfrecords/train00-2071.tfrec": noise("train00"),
            "tfrecords/test00-687.tfrec": noise("test00"),
            **{f"train/{name}.dcm": noise(name, bytes(128) + b"DICM") for name in train},
            **{f"test/{name}.dcm": noise(name, bytes(128) + b"DICM") for name in test},
            **images((f"jpeg/train/{name}.jpg" for name in train), labels),
            **images((f"jpeg/test/{name}.jpg" for name in test), dealt("melanoma test", (0, 1), 12)),
        }

    return Replica(
        name="siim-isic-melanoma-classification",
        layout="CSVs with patients and empty cells; JPEGs a folder down, beside DICOM files in train and test",
        task="multiclass",
        metric="roc_auc",
        form="probability per id",
        write=writer(files),
        mistakes=grader(("image_name", "target"), test, probabilities),
    )


def alaska() -> Replica:
    methods = ("JMiPOD", "JUNIWARD", "UERD")
    test = [f"{number:04d}.jpg" for number in range(1, 13)]

    def files() -> Files:
        size = (16, 16)
        names = [f"{folder}/{number:05d}.jpg" for folder in ("Cover", *methods) for number in range(1, 13)]
        sample = table(("Id", "Label"), ((name, 0) for name in test))
        return {
            "description.md": page(
                "Hidden messages in photos",
                "Submissions are scored on a weighted AUC: the area under the ROC curve, where the part below a true "
                "positive rate of 0.4 counts twice. Any number will do for Label; a higher one means that a hidden "
                "message is more likely.",
                sample,
            ),
            "sample_submission.csv": sample,
            **images(names, [0] * 12 + [1] * 36, size),
            **images((f"Test/{name}" for name in test), dealt("alaska test", (0, 1), 12), size),
        }

    return Replica(
        name="alaska2-image-steganalysis",
        layout="class folders with the same file names in each, three of which are one class",
        task="multiclass",
        metric="roc_auc",  # the official one weights two parts of the curve
        form="probability per id",
        write=writer(files),
        mistakes=grader(("Id", "Label"), test, numbers),
        edits={
            "data.merge_classes": {"stego": [*methods]},
            "data.metric": "roc_auc",
            "data.submission": "probability",
        },
    )


# Columns -----------------------------------------------------------------------------------------------------------


def dog_breed() -> Replica:
    classes = ("affenpinscher", "beagle", "boston_bull", "great_dane", "pug")
    train, test = hexes("dog breed", 40, 32), hexes("dog breed test", 10, 32)
    labels = dealt("dog breed", classes, 40)

    def files() -> Files:
        sample = table(("id", *classes), ([name, *[0.2] * 5] for name in test))
        return {
            "description.md": page(
                "Breeds of dogs",
                "Submissions are scored on the multi-class log loss between the predicted probabilities and the breed. "
                "Hand in a probability for each breed; they add up to 1.",
                sample,
            ),
            "labels.csv": table(("id", "breed"), zip(train, labels, strict=True)),
            "sample_submission.csv": sample,
            **images((f"train/{name}.jpg" for name in train), places(classes, labels)),
            **images((f"test/{name}.jpg" for name in test), dealt("dog breed test", range(5), 10)),
        }

    return Replica(
        name="dog-breed-identification",
        layout="labels.csv beside one folder a split",
        task="multiclass",
        metric="log_loss",
        form="column per class",
        write=writer(files),
        mistakes=grader(("id", *classes), test, distribution),
    )


def leaf() -> Replica:
    classes = ("Acer_Opalus", "Alnus_Rubra", "Betula_Pendula", "Quercus_Rubra", "Tilia_Tomentosa")
    ids = [int(number) for number in generator("leaf").permutation(50) + 1]
    train, test = sorted(ids[:40]), sorted(ids[40:])
    labels = dealt("leaf", classes, 40)

    def features(ids: list[int]) -> list[list[str]]:
        return [[f"{value:.6f}" for value in generator(f"leaf {number}").uniform(0, 0.1, 192)] for number in ids]

    def files() -> Files:
        measured = [f"{name}{number}" for name in ("margin", "shape", "texture") for number in range(1, 65)]
        known = ([n, label, *row] for n, label, row in zip(train, labels, features(train), strict=True))
        csvs = {
            "train.csv": table(("id", "species", *measured), known),
            "test.csv": table(("id", *measured), ([n, *row] for n, row in zip(test, features(test), strict=True))),
            "sample_submission.csv": table(("id", *classes), ([number, *[0.2] * 5] for number in test)),
        }
        shown = dict(zip(train, places(classes, labels), strict=True))
        shown |= dict(zip(test, dealt("leaf test", range(5), 10), strict=True))
        pictures = images((f"images/{n}.jpg" for n in sorted(ids)), (shown[n] for n in sorted(ids)), gray=True)
        return {**{f"{name}.zip": zipped({name: data}) for name, data in csvs.items()}, "images.zip": zipped(pictures)}

    return Replica(
        name="leaf-classification",
        layout="zipped CSVs with 192 measurements, one zip of gray images for both splits",
        task="multiclass",
        metric="log_loss",
        form="column per class",
        write=writer(files),
        mistakes=grader(("id", *classes), test, distribution),
    )


def plant_pathology_2020() -> Replica:
    classes = ("healthy", "multiple_diseases", "rust", "scab")
    train, test = [f"Train_{n}" for n in range(40)], [f"Test_{n}" for n in range(12)]
    labels = dealt("pathology 2020", range(4), 40)

    def files() -> Files:
        sample = table(("image_id", *classes), ([name, *[0.25] * 4] for name in test))
        return {
            "description.md": page(
                "Diseases of apple leaves, 2020",
                "Submissions are scored on the mean column-wise ROC AUC, the average of the areas under the ROC curves "
                "of the columns.",
                sample,
            ),
            "train.csv": table(
                ("image_id", *classes),
                (
                    [name, *(int(label == place) for place in range(4))]
                    for name, label in zip(train, labels, strict=True)
                ),
            ),
            "test.csv": table(("image_id",), ([name] for name in test)),
            "sample_submission.csv": sample,
            **images((f"images/{name}.jpg" for name in train), labels, (16, 24)),
            **images((f"images/{name}.jpg" for name in test), dealt("pathology 2020 test", range(4), 12), (16, 24)),
        }

    return Replica(
        name="plant-pathology-2020-fgvc7",
        layout="CSVs with a 0/1 column per class, one folder for both splits",
        task="multiclass",
        metric="roc_auc_macro",
        form="column per class",
        write=writer(files),
        mistakes=grader(("image_id", *classes), test, probabilities),
    )


def state_farm() -> Replica:
    classes = tuple(f"c{number}" for number in range(5))
    names = [f"img_{number}.jpg" for number in generator("state farm").permutation(102000)[:52]]
    train, test = names[:40], sorted(names[40:])
    labels = [number % 5 for number in range(40)]

    def files() -> Files:
        drivers = [f"p{2 + 10 * (number // 5):03d}" for number in range(40)]
        names = [f"imgs/train/c{label}/{name}" for label, name in zip(labels, train, strict=True)]
        tests = [f"imgs/test/{name}" for name in test]
        return {
            "driver_imgs_list.csv": table(
                ("subject", "classname", "img"),
                zip(drivers, (f"c{label}" for label in labels), train, strict=True),
            ),
            "sample_submission.csv": table(("img", *classes), ([name, *[0.2] * 5] for name in test)),
            "imgs.zip": zipped(
                {**images(names, labels, (15, 20)), **images(tests, dealt("state farm test", range(5), 12), (15, 20))}
            ),
        }

    return Replica(
        name="state-farm-distracted-driver-detection",
        layout="one zip with class folders and a test folder, a CSV of drivers",
        task="multiclass",
        metric="log_loss",
        form="column per class",
        write=writer(files),
        mistakes=grader(("img", *classes), test, distribution),
    )


def ranzcr() -> Replica:
    classes = (
        *("ETT - Abnormal", "ETT - Borderline", "ETT - Normal"),
        *("NGT - Abnormal", "NGT - Borderline", "NGT - Incompletely Imaged", "NGT - Normal"),
        *("CVC - Abnormal", "CVC - Borderline", "CVC - Normal", "Swan Ganz Catheter Present"),
    )
    root = "1.2.826.0.1.3680043.8.498."
    uids = [root + str(int(name, 16))[:38] for name in hexes("ranzcr", 56, 40)]
    train, test = uids[:44], uids[44:]
    shown = [tuple(sorted({number % 11, (3 * number + 5 + number // 11) % 11})) for number in range(56)]

    def files() -> Files:
        known = [
            [uid, *(int(place in present) for place in range(11)), f"{3000 + number // 2:08x}e"]
            for number, (uid, present) in enumerate(zip(train, shown, strict=False))
        ]
        drawn = [
            [uid, classes[place], f"[[{1000 + place}, {900 + place}], [{1010 + place}, {880 + place}]]"]
            for uid, present in zip(train[:20], shown, strict=False)
            for place in present
        ]
        sample = table(("StudyInstanceUID", *classes), ([uid, *[0] * 11] for uid in test))
        return {
            "description.md": page(
                "Catheters and tubes in chest X-rays",
                "Submissions are scored on the area under the ROC curve of each column, and the mean over the columns "
                "counts (mean column-wise ROC AUC).",
                sample,
            ),
            "train.csv": table(("StudyInstanceUID", *classes, "PatientID"), known),
            "train_annotations.csv": table(("StudyInstanceUID", "label", "data"), drawn),
            "sample_submission.csv": sample,
            "train_tfrecords/00-1881.tfrec": noise("ranzcr train"),
            "test_tfrecords/00-1764.tfrec": noise("ranzcr test"),
            **images((f"train/{uid}.jpg" for uid in train), shown[:44], gray=True),
            **images((f"test/{uid}.jpg" for uid in test), shown[44:], gray=True),
        }

    return Replica(
        name="ranzcr-clip-catheter-line-classification",
        layout="CSV with a 0/1 column per label and patients, a second CSV of drawings, ids with dots",
        task="multilabel",
        metric="roc_auc_macro",
        form="column per class",
        write=writer(files),
        mistakes=grader(("StudyInstanceUID", *classes), test, probabilities),
    )


def zero_one() -> Replica:
    classes = ("beach", "mountain", "people", "snow", "sunset")
    train, test = [f"scene_{n:03d}" for n in range(44)], [f"scene_{n:03d}" for n in range(44, 56)]
    pairs = [{n % 5} if n % 3 else {n % 5, (n // 5 + n + 1) % 5} for n in range(56)]
    shown = [tuple(sorted(pair)) for pair in pairs]

    def files() -> Files:
        known = [[name, *(int(c in present) for c in range(5))] for name, present in zip(train, shown, strict=False)]
        return {
            "README.md": b"# Scenes\n\nEach photo can show several of five things. Submissions are scored by macro F1, "
            b"the mean of the F1 of the five columns, and every value in them has to be 0 or 1.\n",
            "train.csv": table(("id", *classes), known),
            "sample_submission.csv": table(("id", *classes), ([name, *[0] * 5] for name in test)),
            **images((f"train/{name}.jpg" for name in train), shown[:44]),
            **images((f"test/{name}.jpg" for name in test), shown[44:]),
        }

    return Replica(
        name="scenes-in-zeros-and-ones",
        layout="CSV with a 0/1 column per label beside one folder a split",
        task="multilabel",
        metric="f1_macro",
        form="0/1 columns",
        write=writer(files),
        mistakes=grader(("id", *classes), test, flags),
    )


# Tags and rankings -------------------------------------------------------------------------------------------------


def plant_pathology_2021() -> Replica:
    classes = ("complex", "frog_eye_leaf_spot", "healthy", "powdery_mildew", "rust", "scab")
    sets = (
        *("healthy", "scab", "frog_eye_leaf_spot", "rust", "complex", "powdery_mildew"),
        *("scab frog_eye_leaf_spot", "frog_eye_leaf_spot complex"),
    )
    train, test = [[f"{name}.jpg" for name in hexes(key, n, 16)] for key, n in (("apple", 48), ("apple test", 12))]
    labels = dealt("apple", sets, 48)

    def files() -> Files:
        sample = table(("image", "labels"), ((name, "healthy") for name in test))
        tints = [tuple(places(classes, label.split())) for label in sets]
        return {
            "description.md": page(
                "Diseases of apple leaves, 2021",
                "Submissions are scored on the mean F1-Score: the F1 of the labels of each image, averaged over the "
                "images. Put a space between the labels of an image.",
                sample,
            ),
            "train.csv": table(("image", "labels"), zip(train, labels, strict=True)),
            "sample_submission.csv": sample,
            **images((f"train_images/{name}" for name in train), (tints[sets.index(label)] for label in labels)),
            **images((f"test_images/{name}" for name in test), dealt("apple test", tints, 12)),
        }

    return Replica(
        name="plant-pathology-2021-fgvc8",
        layout="CSV with several labels in a cell beside one folder a split",
        task="multilabel",
        metric="f1_samples",
        form="tags per id",
        write=writer(files),
        mistakes=grader(("image", "labels"), test, tags(classes)),
    )


def imet() -> Replica:
    names = {
        **{0: "country::afghanistan", 1: "country::alamania", 2: "country::algeria", 448: "culture::british"},
        **{782: "dimension::medium", 1046: "medium::silk", 2429: "tags::flowers"},
    }
    used = (0, 448, 782, 1046, 2429)
    train, test = hexes("imet", 45, 32), hexes("imet test", 12, 32)
    sets = ((1, 4), (0,), (2, 3, 4), (1, 2), (3,), (0, 4), (2,), (0, 1, 3), (4,))
    shown = dealt("imet", sets, 45)

    def files() -> Files:
        sample = table(("id", "attribute_ids"), ((name, "0 1 2") for name in test))
        known = ((name, " ".join(str(used[c]) for c in present)) for name, present in zip(train, shown, strict=True))
        return {
            "description.md": page(
                "Attributes of works of art",
                "Submissions are scored on their micro averaged F1 score.",
                sample,
                # The real page contradicts itself in just this way.
                "## Data\n\nThe attributes are noisy. F2 was chosen as the metric because it forgives that a little.",
            ),
            "train.csv": table(("id", "attribute_ids"), known),
            "labels.csv": table(("attribute_id", "attribute_name"), names.items()),
            "sample_submission.csv": sample,
            **images((f"train/{name}.png" for name in train), shown),
            **images((f"test/{name}.png" for name in test), dealt("imet test", sets, 12)),
        }

    return Replica(
        name="imet-2020-fgvc7",
        layout="CSV with several numbers in a cell, a second CSV of their names, some of which no image has",
        task="multilabel",
        metric="f1_micro",
        form="tags per id",
        write=writer(files),
        mistakes=grader(("id", "attribute_ids"), test, tags(names)),
    )


def planet() -> Replica:
    classes = ("agriculture", "clear", "haze", "primary", "road", "water")
    sets = (
        *("haze primary", "agriculture clear primary water", "clear primary", "clear primary road"),
        *("haze primary water", "agriculture clear primary road", "haze primary agriculture"),
    )
    train, test = [f"train_{n}" for n in range(42)], [f"test_{n}" for n in range(12)]
    labels = dealt("planet", sets, 42)

    def files() -> Files:
        header = ("image_name", "tags")
        sample = table(header, ((name, "primary clear agriculture road water") for name in test))
        tints = [tuple(places(classes, label.split())) for label in sets]
        size = (20, 20)
        return {
            "description.md": page(
                "The Amazon from space",
                "Submissions are scored on their mean F2 score, the F-beta score with beta = 2: computed for the tags "
                "of each image, with recall weighing more than precision, and averaged over the images.",
                sample,
            ),
            "train_v2.csv": table(header, zip(train, labels, strict=True)),
            "sample_submission_v2.csv": sample,
            **images((f"train-jpg/{name}.jpg" for name in train), (tints[sets.index(label)] for label in labels), size),
            **images((f"test-jpg/{name}.jpg" for name in test), dealt("planet test", tints, 12), size),
        }

    return Replica(
        name="planet-understanding-the-amazon-from-space",
        layout="CSV with several tags in a cell beside one folder a split",
        task="multilabel",
        metric="f2_samples",
        form="tags per id",
        write=writer(files),
        mistakes=grader(("image_name", "tags"), test, tags(classes)),
    )


def hotel_id() -> Replica:
    chain_of = {36363: 0, 53586: 4, 18807: 4, 64314: 87, 60181: 0, 24178: 87}
    hotels = tuple(chain_of)
    train, test = [[f"{name}.jpg" for name in hexes(key, n, 16)] for key, n in (("hotel", 42), ("hotel test", 12))]
    labels = dealt("hotel", hotels, 42)

    def files() -> Files:
        known = [
            (name, chain_of[hotel], hotel, f"2018-{1 + n % 12:02d}-{1 + n % 28:02d} 18:{n:02d}:36")
            for n, (name, hotel) in enumerate(zip(train, labels, strict=True))
        ]
        names = [f"train_images/{chain}/{name}" for name, chain, _, _ in known]
        guess = "36363 53586 18807 64314 60181"
        return {
            "train.csv": table(("image", "chain", "hotel_id", "timestamp"), known),
            "sample_submission.csv": table(("image", "hotel_id"), ((name, guess) for name in test)),
            **images(names, places(hotels, labels)),
            **images((f"test_images/{name}" for name in test), dealt("hotel test", range(6), 12)),
        }

    return Replica(
        name="hotel-id-2021-fgvc8",
        layout="CSV beside folders that are chains of hotels, not the classes; a flat test folder",
        task="multiclass",
        metric="map@5",
        form="ranked k per id",
        write=writer(files),
        mistakes=grader(("image", "hotel_id"), test, tags(hotels, most=5)),
    )


def whale() -> Replica:
    classes = ("new_whale", "w_1287fbc", "w_98baff9", "w_7554f44", "w_1eafe46", "w_fd3e556")
    train, test = [[f"{name}.jpg" for name in hexes(key, n, 8)] for key, n in (("whale", 42), ("whale test", 12))]
    labels = dealt("whale", classes, 42)

    def files() -> Files:
        return {
            "train.csv": table(("Image", "Id"), zip(train, labels, strict=True)),
            "sample_submission.csv": table(("Image", "Id"), ((name, " ".join(classes[:5])) for name in test)),
            **images((f"train/{name}" for name in train), places(classes, labels)),
            **images((f"test/{name}" for name in test), dealt("whale test", range(6), 12)),
        }

    return Replica(
        name="whale-categorization-playground",
        layout="CSV beside one folder a split; the column called Id is the class",
        task="multiclass",
        metric="map@5",
        form="ranked k per id",
        write=writer(files),
        mistakes=grader(("Image", "Id"), test, tags(classes, most=5)),
    )


# Value per id ------------------------------------------------------------------------------------------------------


def petfinder() -> Replica:
    train, test = hexes("petfinder", 60, 32), hexes("petfinder test", 12, 32)
    values = [int(value) for value in generator("petfinder").permutation(100)[:60] + 1]

    def marks(ids: list[str]) -> list[list[int]]:
        return [[int(mark) for mark in generator(name).integers(0, 2, 12)] for name in ids]

    def files() -> Files:
        header = (
            *("Id", "Subject Focus", "Eyes", "Face", "Near", "Action", "Accessory", "Group", "Collage", "Human"),
            *("Occlusion", "Info", "Blur"),
        )
        known = ([name, *row, value] for name, row, value in zip(train, marks(train), values, strict=True))
        random = generator("petfinder sample").uniform(0, 100, 12)
        guesses = [float(value) for value in generator("petfinder test").uniform(0, 1, 12)]
        return {
            "train.csv": table((*header, "Pawpularity"), known),
            "test.csv": table(header, ([name, *row] for name, row in zip(test, marks(test), strict=True))),
            "sample_submission.csv": table(
                ("Id", "Pawpularity"), ((name, f"{value:.2f}") for name, value in zip(test, random, strict=True))
            ),
            **images((f"train/{name}.jpg" for name in train), [value / 100 for value in values]),
            **images((f"test/{name}.jpg" for name in test), guesses),
        }

    return Replica(
        name="petfinder-pawpularity-score",
        layout="CSVs with 12 marks, one of them called Group, beside one folder a split",
        task="regression",
        metric="rmse",
        form="value per id",
        write=writer(files),
        mistakes=grader(("Id", "Pawpularity"), test, numbers),
    )


REPLICAS: tuple[Replica, ...] = (
    gala(),
    aerial_cactus(),
    aptos(),
    cassava(),
    dog_breed(),
    dogs_vs_cats(),
    herbarium_2020(),
    herbarium_2021(),
    herbarium_2022(),
    histopathologic(),
    hotel_id(),
    inaturalist(),
    invasive(),
    iwildcam_2019(),
    iwildcam_2020(),
    leaf(),
    paddy(),
    petfinder(),
    plant_pathology_2020(),
    plant_pathology_2021(),
    plant_seedlings(),
    ranzcr(),
    melanoma(),
    state_farm(),
    whale(),
    imet(),
    planet(),
    alaska(),
    valid_folders(),
    nested_archives(),
    unnamed_index(),
    two_level_folders(),
    class_index(),
    zero_one(),
)
