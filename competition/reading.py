"""Read ``params.yaml``, and tell every mistake in it at once: its dotted path, what was found, what was expected."""

import difflib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from competition.console import counted
from competition.errors import CompetitionError, MistakesError
from competition.fields import Scalar, Section
from competition.models import FAMILIES
from competition.params import Range
from competition.recipes import Params, Recipe

Validated = TypeVar("Validated", bound=BaseModel)

# What pydantic expects, in the words of YAML.
WORDS = {
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid boolean": "true or false",
    "a valid string": "text",
    "a valid array": "a list",
    "an object": "names with values",
    "String should have at least 1 character": "text that is not empty",
}

# A check of the values that a type cannot make: the file as read -> lines that begin with a dotted path.
Check = Callable[[dict[str, Any]], list[str]]


def load(path: Path, checks: tuple[Check, ...] = ()) -> Params:
    """Read and check ``params.yaml``.

    Args:
        path: the file.
        checks: further checks, run on the file as read, whose mistakes are told with the others.

    Raises:
        MistakesError: every mistake, a line each, with its dotted path.
        CompetitionError: the file is missing or not YAML.
    """
    mistakes: list[str] = []
    raw = _named(read_yaml(path, YAML(typ="safe")), mistakes)
    params, wrong = _validate(Params, raw)
    mistakes += wrong + _across(raw) + _space_mistakes(raw)
    for check in checks:
        mistakes += check(raw)
    if mistakes or params is None:
        raise MistakesError(f"{path} has {len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}:", mistakes)
    return params


def overlay(recipe: Recipe, values: dict[str, Scalar]) -> Recipe:
    """Lay values over the ones they name by dotted path.

    Raises:
        MistakesError: a path or value that ``params.yaml`` could not hold either.
    """
    raw = recipe.model_dump(mode="json")
    for dotted, value in values.items():
        raw = _laid(raw, dotted, value)
    laid, mistakes = _validate(Recipe, raw)
    if mistakes or laid is None:
        raise MistakesError("the hyperparameters do not fit params.yaml; run 'compete tune' again:", mistakes)
    return laid


def _laid(raw: dict[str, Any], dotted: str, value: Scalar | None) -> dict[str, Any]:
    """Return a copy with one value set; a number in its path is a place in a list."""
    copied = json.loads(json.dumps(raw, default=str))
    *parents, last = [int(part) if part.isdecimal() else part for part in dotted.split(".")]
    inner = copied
    try:
        for part in parents:
            inner = inner[part]
        if isinstance(inner, list) and last not in range(len(inner)):
            raise IndexError
        inner[last] = value
    except (KeyError, IndexError, TypeError):
        raise MistakesError("a value has no place to be laid:", [f"{dotted}: params.yaml has no such value"]) from None
    return copied


def read_yaml(path: Path, yaml: YAML) -> dict[Any, Any]:
    """Read a file of sections by a parser of YAML 1.2, as DVC does: PyYAML would read 1e-05 as text and `no` as false.

    Raises:
        CompetitionError: the file is missing, not YAML or holds no sections.
    """
    try:
        raw = yaml.load(path.read_text(encoding="utf-8-sig"))
        json.dumps(raw, default=str, skipkeys=True)  # fails where an alias names what it stands in
    except FileNotFoundError:
        raise CompetitionError(
            f"{path} is missing; run the command in the project's folder, or pass --params"
        ) from None
    except (YAMLError, ValueError, RecursionError) as error:  # ValueError: a date 2024-13-45, 5,000 digits, no UTF-8
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).partition("; use sys.")[0].splitlines()[0]
        if isinstance(error, RecursionError) or problem == "Circular reference detected":
            problem = "it is nested too deep, or an alias names what it stands in"
        raise CompetitionError(f"{path} is not valid YAML{where}: {problem}") from None
    if not isinstance(raw, dict):
        raise CompetitionError(f"{path} holds no sections; expected {', '.join(Params.model_fields)}")
    return raw


def _named(raw: Any, mistakes: list[str], path: str = "") -> Any:
    """Return the values with text for names, as JSON wants them, and add a mistake for every name that is no text."""
    if isinstance(raw, list):
        return [_named(value, mistakes, f"{path}.{place}") for place, value in enumerate(raw)]
    if not isinstance(raw, dict):
        return raw
    named = {}
    for key, value in raw.items():
        inner = f"{path}.{key}" if path else str(key)
        if not isinstance(key, str):
            mistakes.append(f"{inner}: the name is read as {key!r} and not as text; write it in quotes")
        named[str(key)] = _named(value, mistakes, inner)
    return named


def _validate(schema: type[Validated], raw: dict[str, Any]) -> tuple[Validated | None, list[str]]:
    try:
        # JSON mode: lists become tuples, and nothing else is converted.
        return schema.model_validate_json(json.dumps(raw, default=str)), []
    except ValidationError as error:
        lines = _lines(error, raw)
    # A list that is too short, or a range of the space, has no place where it could be laid.
    missing = [path for path, line in lines.items() if line == f"{path}: is missing" and path.count(".") < 2]
    for path in missing:
        raw = _laid(raw, path, None)
    try:
        schema.model_validate_json(json.dumps(raw, default=str))
    except ValidationError as error:  # of None it also tells what was expected
        told = {path: line.replace(": is None; ", ": is missing; ") for path, line in _lines(error, raw).items()}
        lines.update({path: told[path] for path in missing if "is missing" in told.get(path, "")})
    return None, list(lines.values())


def _lines(error: ValidationError, raw: dict[str, Any]) -> dict[str, str]:
    """Tell every mistake in a line, by its dotted path."""
    lines: dict[str, str] = {}
    for problem in error.errors(include_url=False):
        if problem["type"] == "too_short" and len(problem["input"]) >= problem["ctx"]["min_length"]:
            continue  # pydantic counts the valid ones, and each of the others is told
        path = _real_path(problem["loc"], raw, missing=problem["type"] == "missing")
        # The branches of a union each complain about the same value: one line tells them all.
        known = lines.get(path)
        line = _tell(problem, path, raw)
        lines[path] = line if known is None or known == line else f"{known} or {line.split('; expected ')[-1]}"
    return lines


def _real_path(location: tuple[int | str, ...], raw: Any, missing: bool) -> str:
    """Drop from a pydantic location what names a branch of a union and not a key of the file."""
    parts: list[str] = []
    value = raw
    for position, part in enumerate(location):
        in_dict = isinstance(value, dict) and part in value
        in_list = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if in_dict or in_list:
            value = value[part]
        elif not (missing and position == len(location) - 1):
            continue
        parts.append(str(part))
    return ".".join(parts)


def _tell(problem: Any, path: str, raw: dict[str, Any]) -> str:
    kind, value = problem["type"], problem["input"]
    if kind == "missing":
        return f"{path}: is missing"
    if kind == "extra_forbidden":
        nearest = difflib.get_close_matches(path, list(_known_paths(raw)), n=1, cutoff=0.75)
        of = f" of family {raw['model'].get('family')}" if path.startswith("model.") else ""
        return f"{path}: unknown key{of}" + (f"; did you mean {nearest[0]}?" if nearest else "")
    if kind == "union_tag_invalid":
        return f"{path}.family: is {value.get('family')!r}; expected one of {problem['ctx']['expected_tags']}"
    if kind == "union_tag_not_found":
        return f"{path}.family: is missing"
    if kind == "value_error":
        return f"{path}: {problem['ctx']['error']}"
    if kind in ("too_short", "too_long"):
        least, most = (problem["ctx"].get(key) for key in ("min_length", "max_length"))
        bound = f"{least} or more" if kind == "too_short" else f"at most {most}"
        return f"{path}: has {counted(len(value), 'value')}; expected {bound} in a list"
    message = problem["msg"].removeprefix("Input should be ")
    message = WORDS.get(message, message)
    if isinstance(value, dict | list):
        return f"{path}: expected {message}"
    return f"{path}: is {value!r}; expected {message}"


def _known_paths(raw: dict[str, Any]) -> Iterator[str]:
    """Every dotted path the file may hold, for the model family it names."""
    family = _family(raw)
    for name, field in Params.model_fields.items():
        yield name
        section = FAMILIES[family].schema if name == "model" and family else field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            for key in section.model_fields:
                yield f"{name}.{key}"
                written = _section(raw, name).get(key)
                yield from (f"{name}.{key}.{number}" for number in range(len(written) if type(written) is list else 0))
    for path in _section(_section(raw, "tune"), "space"):
        yield from (f"tune.space.{path}.{field.alias or key}" for key, field in Range.model_fields.items())


def _family(raw: dict[str, Any]) -> str | None:
    """Return the model family that the file names; None where there is no such, which is told elsewhere."""
    family = _section(raw, "model").get("family")
    return family if isinstance(family, str) and family in FAMILIES else None


def _section(raw: dict[str, Any], name: str) -> dict[str, Any]:
    """Return what the file holds under a name; nothing where that is no section, which is told elsewhere."""
    found = raw.get(name)
    return found if isinstance(found, dict) else {}


def _across(raw: dict[str, Any]) -> list[str]:
    """Tell mistakes that lie between two sections: a fold that does not exist, a warm-up longer than a trial."""

    def number(section: str, key: str) -> Any:
        value = _section(raw, section).get(key)
        return value if isinstance(value, int | float) else None

    mistakes = []
    folds = number("prepare", "folds")
    if folds is not None and (fold := number("tune", "fold")) is not None and fold >= folds:
        mistakes.append(f"tune.fold: is {fold}; prepare.folds is {folds}, so the folds are 0 to {folds - 1}")
    if folds is not None and (trained := number("train", "folds")) is not None and trained > folds:
        mistakes.append(f"train.folds: is {trained}; prepare.folds is {folds}, expected at most that many")
    epochs, warmup = number("tune", "epochs"), number("train", "warmup_epochs")
    if number("tune", "max_trials") and epochs is not None and warmup is not None and warmup >= epochs:
        mistakes.append(f"train.warmup_epochs: is {warmup}; expected fewer than tune.epochs, which is {epochs}")
    return mistakes


def _space_mistakes(raw: dict[str, Any]) -> list[str]:
    if not all(isinstance(raw.get(name), dict) for name in ("model", "train")):
        return []  # already told
    space = _section(_section(raw, "tune"), "space")
    known = [path for path in _known_paths(raw) if path.startswith(("model.", "train."))]
    # another model; tune.epochs rules; the others change no trial
    fixed = {"model.family", "train.epochs", "train.folds", "train.seeds", "train.refit", "train.deterministic"}
    mistakes = []
    for dotted, written in space.items():
        where = f"tune.space.{dotted}"
        if not _family(raw) and dotted.startswith("model."):
            continue  # of no family, and that is told
        if dotted not in known or dotted in fixed:
            nearest = difflib.get_close_matches(str(dotted), sorted(set(known) - fixed), n=1, cutoff=0.75)
            hint = f"; did you mean {nearest[0]}?" if nearest and dotted not in fixed else ""
            reason = "cannot be tuned" if dotted in fixed else "is no value of the model or train section"
            mistakes.append(f"{where}: {dotted} {reason}{hint}")
        elif span := _range(written):
            mistakes += _range_mistakes(raw, dotted, span, where) + _condition_mistakes(space, dotted, span, where)
    return mistakes


def _range(written: Any) -> Range | None:
    try:
        return Range.model_validate_json(json.dumps(written, default=str))
    except ValidationError:
        return None  # already told


def _range_mistakes(raw: dict[str, Any], dotted: str, span: Range, where: str) -> list[str]:
    """Lay the values of a range over the file, and tell what would be wrong then and is not now."""
    before = {*_validate(Params, raw)[1], *_across(raw)}
    mistakes = []
    for value in span.ends:
        laid = _laid(raw, dotted, value)
        wrong = [line for line in _validate(Params, laid)[1] + _across(laid) if line not in before]
        for line in wrong:
            mistakes.append(line.replace(dotted, where, 1) if line.startswith(dotted) else f"{where}: then {line}")
        if wrong and span.choice is None:
            break  # the next value of an interval would be wrong in the same way
    return mistakes


def _condition_mistakes(space: dict[str, Any], dotted: str, span: Range, where: str) -> list[str]:
    mistakes = []
    for other, values in span.when.items():
        if other == dotted or other not in space:
            mistakes.append(f"{where}.when: {other} is not another value of the space")
        elif list(space).index(other) > list(space).index(dotted):
            mistakes.append(f"{where}.when: {other} stands below; write it above")
        elif (other_span := _range(space[other])) and other_span.real and not other_span.step:
            mistakes.append(f"{where}.when: {other} has no steps, so it is hardly ever {values[0]!r}; write a choice")
        elif other_span:
            never = [value for value in values if not other_span.holds(value)]
            mistakes += [f"{where}.when: {other} is never {value!r}" for value in never]
    return mistakes
