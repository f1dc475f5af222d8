"""Model families. A family is one file here, with one function of the file's name.

The function takes Keras's layers, the pixels and the keys of the ``model`` section, and returns the features that the
layer of the classes stands on (a batch of anything: it is flattened)::

    # competition/models/tiny.py
    def tiny(layers, pixels, *, filters: Count):
        '''One convolution.'''
        x = layers.Rescaling(1 / 255)(pixels)
        x = layers.Conv2D(filters, 3, activation="relu")(x)
        return layers.GlobalAveragePooling2D()(x)

Its annotations are the schema of the section: ``model: {family: tiny, filters: 16}`` is all there is to do. The layers
are an argument so that the same function is also walked without Keras, for its shapes (`competition.shapes`).

Beside it a file may have ``check(params, shape)``, which tells why a model cannot be built for images of a shape, where
that does not show when the function is walked, else None; ``adapt(model, images)``, which sets weights of the built
model from some training images, uint8 (n, h, w, c); and ``rates(model, epoch, params)``, which gives layers a share of
the learning rate by their name; a share of 0 freezes. A file whose name begins with _ is no family.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import Field, TypeAdapter, create_model

from competition.errors import CompetitionError
from competition.fields import Section

BESIDE = ("check", "adapt", "rates")
MEND = "mend it, or let the file's name begin with _ if it is no family"


@dataclass(frozen=True)
class Family:
    """What a file of this package holds: the function of its name, and what it may have beside."""

    name: str
    features: Callable[..., Any]
    schema: type[Section]
    check: Callable[..., str | None] | None = None
    adapt: Callable[..., None] | None = None
    rates: Callable[..., dict[str, float]] | None = None

    def __call__(self, layers: Any, pixels: Any, params: Section) -> Any:
        """Build the features on the pixels, uint8 (b, h, w, c).

        Raises:
            CompetitionError: these parameters do not fit the images, or each other.
        """
        keys = {key: getattr(params, key) for key in type(params).model_fields if key != "family"}
        return self.features(layers, pixels, **keys)


def _family(name: str) -> Family:
    """Read a family from its file.

    Raises:
        CompetitionError: the file is none of a family.
    """
    file = f"competition/models/{name}.py"
    try:
        module = importlib.import_module(f"competition.models.{name}")
        function = getattr(module, name, None)
        keys = list(inspect.signature(function, eval_str=True).parameters.values())[2:] if function else []
    except Exception as error:  # whatever is written there
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise CompetitionError(f"{file}{line} ends in {type(error).__name__}: {error}; {MEND}") from error
    if function is None:
        raise CompetitionError(f"{file} has no function {name}, which would be its family; {MEND}")
    for key in keys:
        if found := _wrong(key):
            raise CompetitionError(
                f"{file}: the key {key.name} has {found}; expected an annotation alone, as filters: Count (of "
                f"competition.fields), for its value stands in params.yaml; {MEND}"
            )
    fields: dict[str, Any] = {"family": (Literal[name], ...), **{key.name: (key.annotation, ...) for key in keys}}
    schema = create_model(f"{name.capitalize()}Params", __base__=Section, **fields)
    return Family(name, function, schema, **{beside: getattr(module, beside, None) for beside in BESIDE})


def _wrong(key: inspect.Parameter) -> str:
    """Say what is wrong with a key; nothing if it can stand in params.yaml."""
    if key.name == "family" or key.name.startswith("_"):
        return "a name that the section cannot hold"
    if key.annotation is key.empty:
        return "no annotation"
    if key.default is not key.empty:
        return "a default"
    try:
        TypeAdapter(key.annotation)
    except Exception:  # pydantic raises several that have nothing in common
        return f"the annotation {key.annotation!r}, whose values it cannot hold"
    return ""


_names = [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
FAMILIES = {name: _family(name) for name in _names}

# The model section: that of the family it names.
if TYPE_CHECKING:
    ModelParams = Any
else:
    schemas = tuple(family.schema for family in FAMILIES.values())
    ModelParams = Annotated[Union[schemas], Field(discriminator="family")]  # noqa: UP007
