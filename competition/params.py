"""The sections of ``params.yaml``: typed, strict, frozen, no defaults.

What each value means stands on its line in ``params.yaml``, nowhere else.
"""

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from competition.fields import Count, CountOrNone, Fraction, Positive, Scalar, Section, Text
from competition.scores import find_metric

FEW = 100  # values of a range that are checked one by one


def _metric(value: str) -> str:
    find_metric(value)
    return value


class DataParams(Section):
    root: Text
    metric: Annotated[Text, AfterValidator(_metric)]
    task: Literal["auto", "multiclass", "multilabel", "ordinal", "regression"]
    train_table: Text | Annotated[tuple[Text, ...], Field(min_length=1)]
    test_table: Text
    sample_submission: Text
    train_folder: Text
    test_folder: Text
    id_column: str  # a column without a name is called ""
    file_column: str
    label_column: Text | Annotated[tuple[Text, ...], Field(min_length=2)]
    label_separator: Text
    merge_classes: dict[Text, tuple[Text, ...]]
    positive_class: Text
    group_column: Text
    fold_column: Text
    weight_column: Text
    submission: Literal["auto", "class", "index", "probability", "columns", "flags", "tags", "ranking", "value"]


Choice = Literal["keep", "drop", "fail"]


class PrepareParams(Section):
    image_size_px: tuple[Count, Count]
    channels: Literal[1, 3]
    resize: Literal["squash", "crop", "pad"]
    folds: Annotated[int, Field(ge=2)]
    bad_samples: Literal["fail", "drop"]
    duplicates: Choice
    conflicts: Choice
    leaks: Choice
    constant: Choice
    alike_bits: Annotated[int, Field(ge=0, le=16)]


Op = dict[str, Any]  # {"op": name, argument: value, ...}; policies.check knows the names and arguments


class AugmentParams(Section):
    views: CountOrNone
    policy: tuple[Op, ...]

    @model_validator(mode="after")
    def _views_need_a_policy(self) -> "AugmentParams":
        if self.views and not self.policy:
            raise ValueError(f"views is {self.views} but policy is empty, so all views would be the same; set views: 0")
        return self


class Range(Section):
    """One value of the search space; the only section with optional keys."""

    choice: Annotated[tuple[Scalar, ...], Field(min_length=1)] | None = None
    integer: tuple[int, int] | None = Field(default=None, alias="int")  # named so as not to hide the types
    real: tuple[float, float] | None = Field(default=None, alias="float")
    step: Annotated[float, Field(gt=0)] | None = None
    sampling: Literal["linear", "log"] = "linear"
    when: dict[str, Annotated[tuple[Scalar, ...], Field(min_length=1)]] = Field(default={})

    @model_validator(mode="after")
    def _one_kind(self) -> "Range":
        kinds = {"choice": self.choice, "int": self.integer, "float": self.real}
        given = [kind for kind, ends in kinds.items() if ends is not None]
        if len(given) != 1:
            raise ValueError(f"has {' and '.join(given) or 'none'} of choice, int and float; exactly one is wanted")
        if self.choice is not None:
            if len({type(value) for value in self.choice}) > 1:
                raise ValueError(f"choice mixes types: {list(self.choice)}; write them all alike (1.0, not 1)")
            if len(set(self.choice)) < len(self.choice):
                raise ValueError(f"choice names a value twice: {list(self.choice)}")
            if self.step is not None or self.sampling == "log":
                raise ValueError("step and sampling belong to int and float, not to choice")
            return self
        low, high = self.integer or self.real or (0, 0)
        if low >= high:
            raise ValueError(f"the range [{low}, {high}] is empty; the lower end comes first")
        if self.sampling == "log" and (low <= 0 or self.step is not None):
            raise ValueError("sampling: log needs a lower end above 0 and no step")
        if self.integer is not None and self.step is not None and self.step != round(self.step):
            raise ValueError(f"step is {self.step}; a whole number is wanted beside int")
        return self

    @property
    def ends(self) -> tuple[Scalar, ...]:
        """The values whose validity stands for the whole range: all of them if they are few, else both ends."""
        if self.integer:
            (low, high), step = self.integer, int(self.step or 1)
            return tuple(range(low, high + 1, step)) if (high - low) // step < FEW else self.integer
        ends = self.choice or self.real
        assert ends is not None
        return ends

    def holds(self, value: Scalar) -> bool:
        """Tell whether the range may take this value."""
        if self.choice is not None:
            return any(type(value) is type(choice) and value == choice for choice in self.choice)
        low, high = self.integer or self.real or (0, 0)
        if isinstance(value, bool | str) or not low <= value <= high:
            return False
        step = self.step or (1 if self.integer else 0)
        steps = (value - low) / step if step else 0.0
        return math.isclose(steps, round(steps), abs_tol=1e-6)


class TuneParams(Section):
    tuner: Literal["random", "grid", "bayesian", "hyperband", "tpe"]
    max_trials: CountOrNone
    minutes: CountOrNone
    epochs: Count
    fraction: Annotated[float, Field(gt=0, le=1)]
    fold: CountOrNone
    prune: bool
    finalists: Count
    workers: Count
    space: dict[str, Range]

    @property
    def repeats(self) -> int:
        """How many trials are trained again, at most: a single finalist needs no final."""
        return self.finalists if self.finalists > 1 else 0

    @model_validator(mode="after")
    def _trials_need_a_space(self) -> "TuneParams":
        if self.max_trials and not self.space:
            raise ValueError(f"max_trials is {self.max_trials} but space is empty; set max_trials: 0")
        return self

    @model_validator(mode="after")
    def _a_grid_has_steps(self) -> "TuneParams":
        for path, span in self.space.items() if self.tuner == "grid" else ():
            if span.real is not None and span.step is None:
                mend = "a choice of values" if span.sampling == "log" else "one, or a choice of values"
                raise ValueError(f"tuner is grid, and space.{path} has no step; give it {mend}")
        return self


class TrainParams(Section):
    epochs: Count
    batch_size: Count
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop", "lion", "muon"]
    momentum: Fraction
    learning_rate: Positive
    schedule: Literal["constant", "cosine", "triangular"]
    warmup_epochs: Annotated[float, Field(ge=0)]
    schedule_by: Literal["step", "epoch"]
    start_size: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    norm_bias_rate: Positive
    label_smoothing: Fraction
    mixup: Annotated[float, Field(ge=0)]
    cutmix: Annotated[float, Field(ge=0)]
    class_weights: Literal["none", "balanced"]
    sampling: Literal["natural", "balanced"]
    clip_norm: Annotated[float, Field(ge=0)]
    accumulate_batches: Count
    average_decay: Fraction
    lookahead: Fraction
    alternating_flip: bool
    precision: Literal["auto", "float32", "bfloat16", "float16"]
    deterministic: bool
    patience_epochs: CountOrNone
    folds: Count
    seeds: Count
    refit: bool

    @model_validator(mode="after")
    def _warmup_ends(self) -> "TrainParams":
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs is {self.warmup_epochs}; expected fewer than epochs, which is {self.epochs}"
            )
        return self


class PredictParams(Section):
    views: Count
    mirror: bool
    policy: tuple[Op, ...]

    @model_validator(mode="after")
    def _views_need_a_policy(self) -> "PredictParams":
        if self.views > 1 and not self.policy:
            raise ValueError(f"views is {self.views} but policy is empty, so all views would be the same; set views: 1")
        return self
