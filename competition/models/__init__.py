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
the learning rate by their name; a share of 0 freezes.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import Field, create_model

from competition.fields import Section

BESIDE = ("check", "adapt", "rates")


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
    module = importlib.import_module(f"competition.models.{name}")
    function = getattr(module, name)
    keys = list(inspect.signature(function, eval_str=True).parameters.values())[2:]
    fields: dict[str, Any] = {"family": (Literal[name], ...), **{key.name: (key.annotation, ...) for key in keys}}
    schema = create_model(f"{name.capitalize()}Params", __base__=Section, **fields)
    return Family(name, function, schema, **{beside: getattr(module, beside, None) for beside in BESIDE})


FAMILIES = {module.name: _family(module.name) for module in pkgutil.iter_modules(__path__)}

# The model section: that of the family it names.
if TYPE_CHECKING:
    ModelParams = Any
else:
    schemas = tuple(family.schema for family in FAMILIES.values())
    ModelParams = Annotated[Union[schemas], Field(discriminator="family")]  # noqa: UP007
