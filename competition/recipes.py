"""The sections that hold a model: what may be tuned, and the whole of ``params.yaml``."""

from pathlib import Path
from typing import Literal

from competition.fields import Count, CountOrNone, Section
from competition.models import ModelParams
from competition.params import AugmentParams, DataParams, PredictParams, PrepareParams, TrainParams, TuneParams


class Recipe(Section):
    """The two sections whose values may be tuned."""

    model: ModelParams
    train: TrainParams

    @property
    def files(self) -> list[Path]:
        """The files whose content the model begins with: that of ``model.weights``, where it names one."""
        named = Path(getattr(self.model, "weights", ""))
        return [named] if named.is_file() else []


class Params(Section):
    seed: CountOrNone
    threads: Literal["auto"] | Count
    data: DataParams
    prepare: PrepareParams
    augment: AugmentParams
    model: ModelParams
    tune: TuneParams
    train: TrainParams
    predict: PredictParams

    @property
    def recipe(self) -> Recipe:
        return Recipe(model=self.model, train=self.train)
