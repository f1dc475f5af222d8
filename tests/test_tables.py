"""Tables as programs write them: every cell comes out exactly as it went in."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from competition.errors import CompetitionError
from competition.raw import metadata, tables
from competition.raw.metadata import flatten
from competition.raw.sources import open_source
from competition.raw.tables import parse_table, read_table, table_names
from tests.conftest import write_folder


def parse(text: str, **named: Any) -> dict[str, list[str]]:
    """Return the cells by column."""
    return parse_table(text.encode(), "the table", **named).to_dict("list")  # type: ignore[return-value]


def refusal(data: str | bytes, **named: Any) -> str:
    with pytest.raises(CompetitionError) as caught:
        parse_table(data.encode() if isinstance(data, str) else data, "the table", **named)
    assert str(caught.value).startswith("the table ") or str(caught.value).startswith("the table:")
    return str(caught.value)


# Files ------------------------------------------------------------------------------------------------------------


def test_tables_are_told_by_their_names(tmp_path: Path) -> None:
    names = ["a.csv", "B.CSV", "c.tsv", "d.Tab", "e.json", "f.txt", "csv"]
    source = open_source(write_folder(tmp_path, dict.fromkeys(names, b"id\n1\n")))
    assert table_names(source) == sorted(names[:5])


def test_read_table(tmp_path: Path) -> None:
    files = {"a.CSV": b"a.png,1\n", "b.tsv": b"x\ty\n1,5\t2\n", "c.JSON": b'{"a.png": "1"}'}
    source = open_source(write_folder(tmp_path, files))
    assert read_table(source, "a.CSV", has_header=False).to_dict("list") == {"column 1": ["a.png"], "column 2": ["1"]}
    assert read_table(source, "a.CSV").to_dict("list") == {"a.png": [], "1": []}
    assert read_table(source, "b.tsv").to_dict("list") == {"x": ["1,5"], "y": ["2"]}
    assert read_table(source, "c.JSON").to_dict("list") == {"key": ["a.png"], "value": ["1"]}
    with pytest.raises(CompetitionError, match=r"holds no d\.csv; it holds a\.CSV, b\.tsv, c\.JSON"):
        read_table(source, "d.csv")


def test_a_cell_may_be_long() -> None:
    """As a mask written in a cell is, of a column that nobody needs."""
    table = parse_table(b'id,label,mask\n1,a,"' + b"1 2 " * 50_000 + b'"\n', "t.csv")
    assert len(table["mask"][0]) == 200_000


# Delimiters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
def test_delimiter(delimiter: str) -> None:
    lines = ["id,label;note|more\tx".replace(delimiter, ""), *["a", "b"]]
    header = delimiter.join(['"' + lines[0] + '"', "second", "third"])
    found = parse(f'{header}\n{delimiter.join(["1", "2", "3"])}\n"{delimiter}",x y,\n'.replace(",", delimiter))
    assert list(found)[1:] == ["second", "third"]
    assert [column[0] for column in found.values()] == ["1", "2", "3"]
    assert [column[1] for column in found.values()] == [delimiter, "x y", ""]


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("id", ["id"]),
        ("id,a;b", ["id", "a;b"]),  # a tie
        ("a;b|c", ["a;b|c"]),
        ("id,a,b;c", ["id", "a", "b;c"]),
        ('"x;y;z",b', ["x;y;z", "b"]),
        ('"x ""y;z"";",b', ['x "y;z";', "b"]),
        ("a;b;c,d", ["a", "b", "c,d"]),
    ],
)
def test_delimiter_of_a_header(header: str, columns: list[str]) -> None:
    assert list(parse(header + "\n")) == columns


def test_delimiter_is_that_of_the_first_line_that_holds_something() -> None:
    assert parse("\r\n\n\nid;label\n1;a,b,c\n") == {"id": ["1"], "label": ["a,b,c"]}


# Header -----------------------------------------------------------------------------------------------------------


def test_quotes_after_blanks_open_a_cell() -> None:
    """As some write them by hand. In a table whose first line has none, a cell begins with its blanks."""
    assert parse('"id", "label"\n"1",  "a, b"\n2, c\n') == {"id": ["1", "2"], "label": ["a, b", "c"]}
    assert parse('id,label\n1,"c, ""d"""\n2, "e" or so\n') == {"id": ["1", "2"], "label": ['c, "d"', ' "e" or so']}


def test_no_header() -> None:
    """Without one the first row is a row."""
    expected = {"column 1": ["cat", "dog"], "column 2": ["1.png", "2.png"], "column 3": ["", "x"]}
    assert parse("cat,1.png,\ndog,2.png,x\n", has_header=False) == expected
    assert list(parse("cat,1.png,x\n")) == ["cat", "1.png", "x"]
    assert parse("id,label\n1.png,x\n", has_header=True) == {"id": ["1.png"], "label": ["x"]}
    assert parse("1.png\n", has_header=False) == {"column 1": ["1.png"]}


def test_no_header_and_a_comma_at_the_end_of_every_line() -> None:
    assert parse("1.png,x,\n2.png,y,\n", has_header=False) == {"column 1": ["1.png", "2.png"], "column 2": ["x", "y"]}


@pytest.mark.parametrize("header", ["id,label", "id,label,", "id,label,,"])
@pytest.mark.parametrize("row", ["1,x", "1,x,", "1,x,,,"])
def test_a_comma_at_the_end_of_a_line(header: str, row: str) -> None:
    assert parse(f"{header}\n{row}\n") == {"id": ["1"], "label": ["x"]}


def test_column_without_a_name() -> None:
    """As pandas writes its index."""
    assert parse(",image,label\n0,a,x\n") == {"": ["0"], "image": ["a"], "label": ["x"]}
    assert "'' more than once" in refusal(",,label\n1,2,3\n")


def test_repeated_name() -> None:
    told = refusal("id,label,id\n1,2,3\n")
    assert "['id', 'label', 'id'], 'id' more than once; expected each name once" in told


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff", ",,\n", '""\n'])
def test_empty(text: str) -> None:
    assert "is empty" in refusal(text)


def test_rows_without_header_cells() -> None:
    assert "line 3 has more cells than the header ['a', 'b']" in refusal("a,b\n1,2\n1,2,3\n")
    assert "line 4 has fewer cells than the header ['a', 'b']" in refusal('a,b\n"1\n",2\n1\n')
    wide = ",".join(f"c{number}" for number in range(5000))
    assert len(refusal(f"{wide}\n1,2\n")) < 1000


# Cells ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_and_line_ends(end: str, encoding: str) -> None:
    mark = "\ufeff" if encoding.endswith("e") else ""
    text = mark + end.join(["Bild,Klasse", "写 真.png,Käse", '"a, ""b""",c', "", "d,e", ""])
    found = parse_table(text.encode(encoding), "the table").to_dict("list")
    assert found == {"Bild": ["写 真.png", 'a, "b"', "d"], "Klasse": ["Käse", "c", "e"]}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            "id,label\n1,Käse\n".encode("latin-1"),
            "is not UTF-8 (invalid continuation byte in line 2); save it as UTF-8",
        ),
        (b"id,label\n" + b"1,x\n" * 10_000 + b"\xff,x\n", "in line 10,002)"),
        (b"\xff\xfea", "is marked as UTF-16 and is not"),
        (b"id,label\n1,\0\n", "there is a zero at byte 11"),
        ("id,label\n1,\0\n".encode("utf-16"), "there is a zero"),
        ("id,label\n1,x\n".encode("utf-32"), "there is a zero"),
        ("id,label\n1,x\n".encode("utf-16-le"), "there is a zero"),
        (b'id,label\n1,"x\n2,y\n', "cannot be read as a CSV file"),
    ],
)
def test_no_text(data: bytes, words: str) -> None:
    assert words in refusal(data)


@pytest.mark.parametrize(
    "cell",
    ["007", "1e5", "1.0", "NA", "nan", "None", "true", "", " x ", "=cmd()|' /C calc'!A0", "@SUM(1)", "+1", "-1",
     "../../etc/passwd", "'", "\\N", "#"],
)  # fmt: skip
def test_cells_come_out_as_they_went_in(cell: str) -> None:
    table = parse_table(f"id,label,end\n{cell},{cell},x\n".encode(), "the table")
    assert table.to_dict("list") == {"id": [cell], "label": [cell], "end": ["x"]}
    assert all(table.dtypes == "str")


@pytest.mark.parametrize("rows", [0, 1, 999, 1000, 50_001])
def test_rows_of_many_chunks(rows: int) -> None:
    """As many as there are, in order."""
    table = parse_table(("id,label\n" + "".join(f"{n},{n % 7},\n" for n in range(rows))).encode(), "the table")
    assert list(table["id"]) == [str(n) for n in range(rows)]
    assert list(table["label"]) == [str(n % 7) for n in range(rows)]
    assert list(table.dtypes) == ["str", "str"]


# Limits -----------------------------------------------------------------------------------------------------------


def test_columns_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "MAX_COLUMNS", 3)
    assert len(parse("a,b,c\n1,2,3\n")) == 3
    assert "has 4 columns; expected at most 3" in refusal("a,b,c,d\n1\n")
    with pytest.raises(CompetitionError, match="has 4 columns; expected at most 3"):
        flatten(b'[{"a": 1, "b": 2}, {"c": 3, "d": 4}]', "the table")


def test_cells_are_limited_while_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "MAX_CELLS", 300)
    monkeypatch.setattr(tables, "CHUNK_ROWS", 10)
    assert len(parse("a,b,c\n" + 100 * "1,2,3\n")["a"]) == 100
    told = refusal("a,b,c\n" + 110 * "1,2,3\n" + "a row that does not fit\n")
    assert "3 columns and 110 rows or more; expected at most 300 cells" in told
    with pytest.raises(CompetitionError, match="expected at most 300 cells"):
        flatten(json.dumps([{"a": 1, "b": 2}] * 151).encode(), "the table")
    images = [{"id": number} for number in range(100)]
    with pytest.raises(CompetitionError, match="expected at most 300 cells"):
        flatten(json.dumps({"images": images, "annotations": [{"image_id": 1, "x": 2}]}).encode(), "the table")


def test_bytes_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "MAX_TABLE_BYTES", 10)
    assert parse("id\n1\n") == {"id": ["1"]}
    assert "expected a table of at most 10" in refusal("id\n123456789\n")
    with pytest.raises(CompetitionError, match="at most 10"):
        flatten(b'{"a": "bcdef"}', "the table")


def test_values_are_limited_before_they_are_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "MAX_VALUES", 9)
    assert flatten(b"[[],[],[],[]]", "the table").shape == (0, 0)
    for data in (b"[[],[],[],[],[]", b"{" * 10, b"[" + 9 * b"1,"):
        with pytest.raises(CompetitionError, match="the table holds more than 9 values"):
            flatten(data, "the table")


@pytest.mark.parametrize("row", ["1," * 40, '"\n",' * 40])
def test_row_that_does_not_end(row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On one line or on many."""
    monkeypatch.setattr(tables, "MAX_ROW_CHARS", 50)
    assert len(parse("id\n" + "1\n" * 1000)["id"]) == 1000
    assert "has a row of" in refusal(f"id,x\n{row}\n")
    assert "has a row of" in refusal(f"{row}\n")


def test_memory() -> None:
    """At its peak a table takes little more than its cells in the end, not rows beside columns beside text."""
    data = ("image,label\n" + "".join(f"{number:07d}.png,class {number}\n" for number in range(100_000))).encode()
    tracemalloc.start()
    table = parse_table(data, "the table")
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(table) == 100_000
    assert peak < 1.5 * held + 2_000_000


# JSON -------------------------------------------------------------------------------------------------------------


def flat(content: Any) -> pd.DataFrame:
    table = flatten(json.dumps(content).encode(), "the table")
    assert all(table.dtypes == "str")
    return table


def rows(content: Any) -> list[dict[str, str]]:
    return flat(content).to_dict("records")  # type: ignore[return-value]


IMAGES = [
    {"id": 1, "file_name": "a.jpg", "width": 8, "location": 3, "rights": None, "bbox": [1, 2]},
    {"id": 2, "file_name": "b.jpg", "width": 8, "location": 4, "rights": None, "bbox": [1, 2]},
    {"id": 3, "file_name": "c.jpg", "width": 8, "location": 4, "rights": None, "bbox": [1, 2]},
]
ANNOTATIONS = [
    {"id": 11, "image_id": 2, "category_id": 7, "location": 99, "count": 1, "seg": {"a": 1}},
    {"id": 12, "image_id": 1, "category_id": 8, "location": 99, "count": 2, "seg": {"a": 1}},
    {"id": 13, "image_id": 1, "category_id": 8, "location": 99, "count": 2, "seg": {"a": 2}},
    {"id": 14, "image_id": 1, "category_id": 7, "location": 99, "count": 1, "seg": {"a": 1}},
]
CATEGORIES = [{"id": 7, "name": "cat", "supercategory": "x"}, {"id": 8, "name": "dog", "supercategory": "x"}]
FIXED = {"width": "8", "rights": ""}


def test_coco() -> None:
    """A row for each annotation, the same one once; what both have is the image's."""
    found = rows({"info": {"year": 2020}, "images": IMAGES, "annotations": ANNOTATIONS, "categories": CATEGORIES})
    a = {"image_id": "1", "file_name": "a.jpg", "location": "3", **FIXED}
    b = {"image_id": "2", "file_name": "b.jpg", "location": "4", **FIXED}
    c = {"image_id": "3", "file_name": "c.jpg", "location": "4", **FIXED}
    assert found == [
        a | {"category_id": "8", "count": "2", "category_name": "dog"},
        a | {"category_id": "7", "count": "1", "category_name": "cat"},
        b | {"category_id": "7", "count": "1", "category_name": "cat"},
        c | {"category_id": "", "count": "", "category_name": ""},
    ]


@pytest.mark.parametrize("annotations", [{}, {"annotations": []}])
def test_coco_without_annotations(annotations: dict[str, Any]) -> None:
    found = flat({"images": IMAGES, "categories": CATEGORIES, **annotations})
    assert list(found.columns) == ["image_id", "file_name", "width", "location", "rights"]
    assert list(found["file_name"]) == ["a.jpg", "b.jpg", "c.jpg"]


def test_coco_annotation_of_no_image() -> None:
    """It is kept, so that it is told that its image is missing."""
    found = rows({"images": IMAGES[:1], "annotations": [{"image_id": 9, "category_id": 7}]})
    assert [(row["image_id"], row["file_name"], row["category_id"]) for row in found] == [
        ("1", "a.jpg", ""),
        ("9", "", "7"),
    ]


def test_coco_annotations_of_no_image_keep_their_order() -> None:
    ids = [40, 7, 31, 2, 18, 25, 9, 16]
    found = rows({"images": IMAGES[:1], "annotations": [{"image_id": each, "category_id": 7} for each in [*ids, 1, 7]]})
    assert [row["image_id"] for row in found] == ["1", *map(str, ids)]


def test_coco_with_the_class_in_the_images() -> None:
    found = rows({"images": [{"id": "x", "category_id": 8}], "categories": CATEGORIES})
    assert found == [{"image_id": "x", "category_id": "8", "category_name": "dog"}]


def test_herbarium() -> None:
    """Keys that are called after what they name."""
    found = rows({
        "annotations": [{"genus_id": 1, "category_id": 15504, "image_id": "00000__001"}],
        "images": [{"image_id": "00000__001", "file_name": "000/00/00000__001.jpg", "license": 0}],
        "categories": [{"category_id": 15504, "scientificName": "Abies amabilis", "family": "Pinaceae"}],
        "genera": [{"genus_id": 1, "genus": "Abies"}],
    })  # fmt: skip
    assert found == [
        {"image_id": "00000__001", "file_name": "000/00/00000__001.jpg", "license": "0", "genus_id": "1",
         "category_id": "15504", "category_name": "Abies amabilis"}
    ]  # fmt: skip


def test_list_of_objects() -> None:
    found = flat([{"id": "a", "n": 1, "box": [1]}, {"id": "b", "x": None, "yes": True}, {"id": "b", "yes": True}])
    assert list(found.columns) == ["id", "n", "x", "yes"]
    assert found.to_numpy().tolist() == [["a", "1", "", ""], ["b", "", "", "true"]]


def test_object_of_objects() -> None:
    assert rows({"a": {"label": "x", "id": "other"}, "b": {"label": "y"}}) == [
        {"id": "a", "label": "x"},
        {"id": "b", "label": "y"},
    ]


def test_object_of_scalars() -> None:
    assert rows({"0": "Cassava Bacterial Blight (CBB)", "4": "Healthy"}) == [
        {"key": "0", "value": "Cassava Bacterial Blight (CBB)"},
        {"key": "4", "value": "Healthy"},
    ]


@pytest.mark.parametrize("content", [[], {}, 1, "x", None, [1, 2], [{"a": 1}, 2], {"a": [1]}, {"a": 1, "b": {}},
                                     {"images": [1]}])  # fmt: skip
def test_no_table(content: Any) -> None:
    assert flat(content).shape == (0, 0)


def test_numbers_are_written_as_they_were() -> None:
    data = b'[{"a": 7, "b": 0.10, "c": 1e5, "d": -0, "e": 123456789012345678901, "f": false, "g": null, "h": NaN}]'
    assert flatten(data, "the table").to_numpy().tolist() == [
        ["7", "0.10", "1e5", "-0", "123456789012345678901", "false", "", "NaN"]
    ]


def test_encodings_of_json() -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert flatten('{"Käse": "写"}'.encode(encoding), "x").to_numpy().tolist() == [["Käse", "写"]]
    assert flatten(b'{"a": "\\ud83d", "b": "\\ud83d\\ude00"}', "x").to_numpy().tolist() == [["a", "?"], ["b", "😀"]]


@pytest.mark.parametrize("data", [b"", b"{", b"{'a': 1}", b"id,label\n", b'{"a": 1} x', "Käse".encode("latin-1"),
                                  b'["' + b"9" * 10_000])  # fmt: skip
def test_no_json(data: bytes) -> None:
    with pytest.raises(CompetitionError, match=r"^the table (cannot be read as JSON|is not UTF-8)"):
        flatten(data, "the table")


@pytest.mark.parametrize("data", [b'{"a": "\0"}', b'{"a": "\\u0000"}'])
def test_zero_in_json(data: bytes) -> None:
    with pytest.raises(CompetitionError, match="the table is no text: there is a zero at byte 7"):
        flatten(data, "the table")
