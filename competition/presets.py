"""Presets: values that go together, written into ``params.yaml`` by ``compete preset NAME``.

A preset is a file of the folder ``competition/presets``. Its key ``preset`` tells what it is, where it comes from and
what to expect of it; all else is written as in ``params.yaml``, and takes the place of what stands there: the model
section as a whole, for every family has its own keys, and of the other sections the keys that the preset names. What is
replaced is text, a key with the comments on its line and below it, so that all others stay.
"""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode

from competition.errors import CompetitionError, MistakesError
from competition.models import FAMILIES
from competition.reading import Check, load

FOLDER = Path(__file__).with_name("presets")
ABOUT = "preset"  # the one key of a preset that is not written into params.yaml

Span = tuple[int, int]  # from this character of a text to before that one


@dataclass(frozen=True)
class Preset:
    """What a preset tells of itself; ``expected`` is the score that its source reports."""

    name: str
    title: str
    source: str
    expected: str


def list_presets() -> list[Preset]:
    """List all presets: first those of the model families, then the others, each by name."""
    yaml = YAML(typ="safe")
    presets = [Preset(path.stem, **yaml.load(path)[ABOUT]) for path in FOLDER.glob("*.yaml")]
    return sorted(presets, key=lambda preset: (preset.name not in FAMILIES, preset.name))


def apply(name: str, params: Path, checks: tuple[Check, ...] = ()) -> list[str]:
    """Write a preset into ``params.yaml``.

    Args:
        name: of the preset.
        params: the file. What the preset does not name, ``data`` and ``seed`` always, stays byte for byte.
        checks: further checks of the values, as `reading.load` takes them.

    Returns:
        The sections that were replaced, each with the keys in brackets unless it was all of them.

    Raises:
        CompetitionError: there is no such preset, or the file has no place to write it to.
        MistakesError: the preset does not fit the other values. In both cases the file is left as it was.
    """
    names = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    if name not in names:
        near = difflib.get_close_matches(name, names)
        hint = f"; did you mean {' or '.join(near)}?" if near else ";"
        raise CompetitionError(f"there is no preset {name!r}{hint} 'compete preset' lists them all")
    preset = _Text((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), f"the preset {name}")
    try:
        old = _Text(params.read_bytes().decode("utf-8"), str(params))  # read_text would change the ends of lines
    except FileNotFoundError:
        raise CompetitionError(
            f"{params} is missing; run the command in the project's folder, or pass --params"
        ) from None
    except UnicodeDecodeError as error:
        raise CompetitionError(f"{params} is not valid UTF-8 ({error.reason}); correct it first") from None
    edits: list[tuple[Span, str]] = []
    replaced = []
    for section in preset.sections:
        if section == "model":
            edits.append((old.section(section), preset.cut(preset.section(section))))
            replaced.append(section)
        elif section != ABOUT:
            old_keys, new_keys = old.keys(section), preset.keys(section)
            _, end = old.section(section)
            edits += [(old_keys.get(key, (end, end)), preset.cut(span)) for key, span in new_keys.items()]
            replaced.append(section if set(new_keys) >= set(old_keys) else f"{section} ({', '.join(new_keys)})")
    _write(old.edited(edits), params, name, checks)
    return replaced


class _Text:
    """The text of a file with sections, and where in it they and their keys stand.

    Args:
        text: what the file holds.
        where: names the file in messages.

    Raises:
        CompetitionError: it is not YAML, or holds no sections.
    """

    def __init__(self, text: str, where: str) -> None:
        self._text, self._where = text, where
        try:
            root = YAML(typ="safe", pure=True).compose(text)
        except YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            place = f" in line {mark.line + 1}" if mark else ""
            raise CompetitionError(f"{where} is not valid YAML{place}; correct it first") from None
        self._nodes = {key.value: value for key, value in self._block(root, where).value}
        self.sections = self._spans(root, len(text))

    def section(self, name: str) -> Span:
        """Return where a section stands, with all that is indented below its name."""
        if name not in self.sections:
            raise CompetitionError(f"{self._where} has no section {name}; take it from the project's own params.yaml")
        return self.sections[name]

    def keys(self, section: str) -> dict[str, Span]:
        """Return where each key of a section stands, with the comments below its line."""
        _, end = self.section(section)
        return self._spans(self._block(self._nodes[section], f"{self._where}: {section}"), end)

    def cut(self, span: Span) -> str:
        """Return a part of the text."""
        return self._text[slice(*span)]

    def edited(self, edits: list[tuple[Span, str]]) -> str:
        """Return the text with other lines in some places, their ends like those of this text."""
        newline = "\r\n" if "\r\n" in self._text else "\n"
        parts, done = [], 0
        for (start, end), lines in sorted(edits, key=lambda edit: edit[0]):
            parts += [self._text[done:start], lines.replace("\n", newline)]
            done = end
        return "".join([*parts, self._text[done:]])

    @staticmethod
    def _block(node: Any, where: str) -> MappingNode:
        if not isinstance(node, MappingNode) or node.flow_style:
            raise CompetitionError(f"{where} is not written with each key on a line of its own; write it so first")
        return node

    def _spans(self, node: MappingNode, end: int) -> dict[str, Span]:
        """Find the lines of every key of a mapping; comments before the next key belong to that, if not indented."""
        columns = [key.start_mark.column for key, _ in node.value]
        starts = [key.start_mark.index - key.start_mark.column for key, _ in node.value]
        spans = {}
        for (key, _), column, start, stop in zip(node.value, columns, starts, [*starts[1:], end], strict=True):
            lines = self._text[start:stop].splitlines(keepends=True)
            while not lines[-1].strip() or (lines[-1].lstrip().startswith("#") and lines[-1].find("#") <= column):
                lines.pop()
            spans[key.value] = (start, start + sum(map(len, lines)))
        return spans


def _write(text: str, params: Path, name: str, checks: tuple[Check, ...]) -> None:
    """Check the text of a params.yaml aside, then rename."""
    partial = params.with_name(f".{params.name}.partial")
    try:
        partial.write_bytes(text.encode("utf-8"))
        load(partial, checks)
        partial.replace(params)
    except MistakesError as error:
        heading = f"the preset {name} does not fit the other values of {params}, which is left as it was:"
        raise MistakesError(heading, error.mistakes) from None
    except CompetitionError as error:
        raise CompetitionError(str(error).replace(str(partial), str(params))) from None
    finally:
        partial.unlink(missing_ok=True)
