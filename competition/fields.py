"""The kinds of values that ``params.yaml`` holds."""

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

from competition.console import counted
from competition.errors import CompetitionError

Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Text = Annotated[str, Field(min_length=1)]
Scalar = bool | int | float | str


class Section(BaseModel):
    """A part of the file: strict, frozen, no defaults, no unknown key."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError(f"is {value}; expected an odd number, so that a kernel has a centre")
    return value


Odd = Annotated[Count, AfterValidator(_odd)]


def _one_or_each(value: Any) -> str:
    return "each" if isinstance(value, list | tuple) else "one"


Value = TypeVar("Value")
# One value for all layers, or a list with one for each.
Each = Annotated[
    Annotated[Value, Tag("one")] | Annotated[tuple[Value, ...], Field(min_length=1), Tag("each")],
    Discriminator(_one_or_each),
]


def nth(value: Any, number: int) -> Any:
    """Return what an `Each` holds for the layer of this number, counted from 0.

    Raises:
        CompetitionError: the list is shorter than that.
    """
    if not isinstance(value, tuple):
        return value
    if number >= len(value):
        raise CompetitionError(
            f"the list {list(value)} of the model section has {counted(len(value), 'value')} and the model has "
            "more layers of that kind; write one value for each, or one for all"
        )
    return value[number]
