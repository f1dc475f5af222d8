"""The test samples: those of the sample submission, of a test table, or of a folder."""

from collections.abc import Callable
from pathlib import PurePosixPath

import pandas as pd

from competition.console import counted
from competition.errors import CompetitionError
from competition.raw import folders
from competition.raw.forms import Shown
from competition.raw.found import Found, Surety
from competition.raw.matching import is_in
from competition.raw.roles import told_split
from competition.raw.rows import MISSING, Reader, Rows, files_of, tell_folder
from competition.raw.tables import UNNAMED


def read_test(
    reader: Reader, sample: Rows | None, shown: Shown | None, listed: Rows | None, label_names: list[str]
) -> tuple[pd.DataFrame, Shown]:
    """Return the test samples, and the sample submission or what stands in for it."""
    rows = sample or listed
    if rows is None:
        id_column = str(reader.findings.chosen["id_column"].value) if "id_column" in reader.findings.chosen else "id"
        reader.findings.chosen.setdefault("id_column", Found("auto", "sure", "the names of the test images"))
        return _read_test_folder(reader), _stand_in(reader, id_column, label_names)
    reader.findings.chosen.setdefault("id_column", Found(rows.id_column, "sure", f"of {rows.name}"))
    if shown is None:
        shown = _stand_in(reader, rows.id_column, label_names)
    elif listed is not None:
        assert sample is not None
        rows = _complete(reader, sample, listed)
    ids = rows.table[rows.id_column]
    if len(repeated := ids[ids.duplicated()]):
        raise CompetitionError(
            f"{rows.name}: {counted(len(repeated), 'id stands', 'ids stand')} there twice, first {repeated.iloc[0]!r}"
        )
    match = reader.index.match(rows.files, "test", folders.given_folder(reader.source, reader.params, "test"))
    tell_folder(reader, "test", match)
    problems = reader.findings.test_problems
    test = pd.DataFrame({"sample_id": ids, "file": files_of(ids, rows.files, match, rows.name, problems)})
    test["problem"] = test["file"].map(lambda file: "" if file else MISSING)
    return test, shown


def _stand_in(reader: Reader, id_column: str, label_names: list[str]) -> Shown:
    if id_column.startswith(UNNAMED):
        called = ", ".join(map(repr, [id_column, *label_names]))
        reader.findings.notes.append(
            f"the submission's columns are called {called}, for the tables have no header: if it wants others, write a "
            "sample submission that has them"
        )
    return Shown((id_column, *label_names), id_column, None, "", pd.DataFrame(columns=label_names, dtype=str))


def _complete(reader: Reader, sample: Rows, listed: Rows) -> Rows:
    """Take the rows of the test table where the sample submission only shows a few of them."""

    def images(rows: Rows) -> set[str]:  # the two tables may write their ids differently
        folder = folders.given_folder(reader.source, reader.params, "test")
        match = reader.index.match(rows.files, "test", folder)
        return {file for files in match.files.values() for file in files}

    shown, wanted = images(sample), images(listed)
    if wanted <= shown:
        return sample
    if shown < wanted:
        reader.findings.notes.append(f"the rows of the submission are those of {listed.name}")
        return _as_shown(reader, sample, listed)
    raise CompetitionError(
        f"{sample.name} lists {counted(len(shown), 'image')} and {listed.name} {len(wanted)}, not the same; set "
        "data.test_table to none if the sample submission is right, or data.sample_submission to none if the test "
        "table is"
    )


def _as_shown(reader: Reader, sample: Rows, listed: Rows) -> Rows:
    """Write the ids of the test table as the sample submission writes those it shows."""
    ids, shown = listed.table[listed.id_column], set(sample.table[sample.id_column])
    ways: dict[str, Callable[[str], str]] = {
        "as they are": lambda name: name,
        "without extension": lambda name: str(PurePosixPath(name).with_suffix("")),
        "without folder": lambda name: PurePosixPath(name).name,
        "without folder and extension": lambda name: PurePosixPath(name).stem,
    }
    for how, way in ways.items():
        written = ids.map(way)
        if shown <= set(written):
            table = listed.table.assign(**{listed.id_column: written})
            if how != "as they are":
                reader.findings.notes.append(f"the ids of {listed.name} are written {how}, as in {sample.name}")
            return Rows(listed.name, table, listed.id_column, listed.file_column, listed.files, listed.linked)
    raise CompetitionError(
        f"{sample.name} shows {counted(len(shown), 'id')}, as {min(shown)!r}, and {listed.name} writes them in another "
        f"way, as {ids.iloc[0]!r}; set data.test_table to none, or mend one of the two"
    )


def _read_test_folder(reader: Reader) -> pd.DataFrame:
    folder = folders.test_folder(reader.source, reader.params, reader.index.images)
    files = sorted(image for image in reader.index.images if folder is not None and is_in(image, folder))
    if not files:
        raise CompetitionError(
            f"{reader.source.path} has no test images: neither a sample submission, nor a table with test in its name, "
            "nor a folder called test; set data.test_table or data.test_folder in params.yaml"
            f"{told_split(reader.tables)}"
        )
    why = f"holds {counted(len(files), 'image')}"
    surety: Surety = "likely"
    if reader.params.test_folder != "auto":
        surety = "given"
    elif rivals := folders.test_folders(reader.source, reader.index.images)[1:]:
        why, surety = f"{why}; {' and '.join(rivals)} could be it as well", "guess"
    reader.findings.choose("test_folder", folder, surety, why)
    return pd.DataFrame(
        {"sample_id": [file.removeprefix(f"{folder}/") for file in files], "file": files, "problem": ""}
    )
