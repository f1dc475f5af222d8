"""The smallest and the largest model of a search space."""

from itertools import islice

from competition.reading import overlay
from competition.recipes import Recipe
from competition.search.outcomes import Values
from competition.search.points import Space, corners, is_ordered
from competition.shapes import NEEDS_KERAS, Shape, activations
from competition.tasks import Target

MOST = 200  # combinations of choices that are looked at; a tenth of a second


def corner(recipe: Recipe, space: Space, shape: Shape, target: Target, *, high: bool) -> tuple[Values, Recipe]:
    """Return the point with every number at its highest, or its lowest, and the recipe with it.

    Of choices that are no numbers it has those by which the model has the most activations, or the fewest; a model that
    cannot be built has none. Where only Keras can tell, and of those that change no model, it has the first ones.
    """
    of_train = {path: span for path, span in space.items() if not (path.startswith("model.") or is_ordered(span))}
    first = {path: span.model_copy(update={"choice": (span.choice or ())[:1]}) for path, span in of_train.items()}
    points = islice(corners({**space, **first}, high=high), 1 if recipe.model.family in NEEDS_KERAS else MOST)
    laid = [(values, overlay(recipe, values)) for values in points]
    if len(laid) == 1:
        return laid[0]
    choose = max if high else min
    return choose(laid, key=lambda each: activations(each[1].model, shape, target))
