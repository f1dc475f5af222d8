"""``tune.space`` as KerasTuner's hyperparameters."""

from contextlib import ExitStack

import keras_tuner

from competition.params import Range


def hyperparameters(space: dict[str, Range]) -> keras_tuner.HyperParameters:
    """Register every value of the space under its dotted path, each inside the conditions of its ``when``."""
    hp = keras_tuner.HyperParameters()
    for path, span in space.items():
        with ExitStack() as scopes:
            _enter(scopes, hp, space, span)
            _register(hp, path, span)
    return hp


def _enter(scopes: ExitStack, hp: keras_tuner.HyperParameters, space: dict[str, Range], span: Range) -> None:
    for other, values in span.when.items():
        _enter(scopes, hp, space, space[other])  # KerasTuner finds a value only inside its own conditions
        scopes.enter_context(hp.conditional_scope(other, list(values)))


def _register(hp: keras_tuner.HyperParameters, path: str, span: Range) -> None:
    if span.choice is not None:
        hp.Choice(path, list(span.choice))
    elif span.integer is not None:
        hp.Int(path, *span.integer, step=int(span.step) if span.step else None, sampling=span.sampling)
    elif span.real is not None:
        hp.Float(path, *span.real, step=span.step, sampling=span.sampling)
