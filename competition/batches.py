"""The training set as the stages before left it, and the batches of one epoch of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from competition.arrays import open_array
from competition.artifacts import fingerprint, read_json, read_samples, require
from competition.errors import CompetitionError
from competition.layout import CONTRACT, POLICY, pixels, view
from competition.policies import Policy, view_seed
from competition.seeds import derive
from competition.tasks import Target


@dataclass(frozen=True)
class TrainingSet:
    """All training samples, in the order of samples.csv; nothing of the images is in memory until it is asked for.

    Attributes:
        contract: what prepare fixed.
        target: the task of that contract.
        sample_ids: (n,) strings.
        truth: (n, ...), what is to be predicted, as `Target.truth` gives it.
        weights: float32 (n,), how much each sample counts in training; None where all count alike.
        folds: int64 (n,).
        rows: int64 (n,), row of each sample in the arrays.
        images: uint8 (rows, h, w, c), mapped.
        views: one array like ``images`` for each view; empty if views are rendered anew.
        policy: renders the views that are not on disk.
        seed: of the views.
    """

    contract: dict[str, Any]
    target: Target
    sample_ids: np.ndarray
    truth: np.ndarray
    weights: np.ndarray | None
    folds: np.ndarray
    rows: np.ndarray
    images: np.ndarray
    views: Sequence[np.ndarray]
    policy: Policy
    seed: int

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.images.shape[1:]

    def augmented(self, samples: np.ndarray, epoch: int) -> np.ndarray:
        """Return the images that an epoch trains on: uint8 (b, h, w, c) for samples (b,) by their position."""
        if self.views:
            return self.views[epoch % len(self.views)][self.rows[samples]]
        images = self.images[self.rows[samples]]
        if not self.policy.ops:
            return images
        seeds = [view_seed(self.seed, "augment", epoch, self.sample_ids[sample]) for sample in samples]
        return np.stack([self.policy.render(image, seed) for image, seed in zip(images, seeds, strict=True)])


def read_training_set(prepared: Path, augmented: Path) -> TrainingSet:
    """Open what prepare and augment wrote.

    Raises:
        CompetitionError: one of them is missing, or they do not belong together.
    """
    contract = read_json(require(prepared / CONTRACT, "compete prepare"))
    policy = read_json(require(augmented / POLICY, "compete augment"))
    samples = read_samples(prepared)
    train = samples[samples["split"] == "train"]
    images = open_array(require(prepared / pixels("train"), "compete prepare"))
    if policy.get("prepared") != fingerprint(prepared, images):
        raise CompetitionError(f"{augmented} was made from another {prepared}; run 'compete augment' again")
    target = Target.of(contract)
    weighted = (train["weight"] != "").any()
    return TrainingSet(
        contract=contract,
        target=target,
        sample_ids=train["sample_id"].to_numpy(object),
        truth=target.truth(list(train["label"])),
        weights=train["weight"].to_numpy(np.float32) if weighted else None,
        folds=train["fold"].to_numpy(np.int64),
        rows=train["row"].to_numpy(np.int64),
        images=images,
        views=[open_array(require(augmented / view(number), "compete augment")) for number in range(policy["views"])],
        policy=Policy(policy["policy"], images.shape[1:]),
        seed=policy["seed"],
    )


class EpochBatches:
    """The batches of one epoch: every sample at most once, in an order that is a function of seed and epoch.

    What does not fill a last batch is left out; the next epoch's order leaves out others. A batch of a few samples
    would upset batch normalisation.

    Args:
        training_set: where images and truth come from.
        samples: int64 (n,), positions of the samples to train on.
        batch_size: samples in a batch; a smaller set makes one batch.
        seed: of the order.
        flip: whether every image is mirrored in every second epoch, half of them in the even ones. Source: airbench,
            as in models/speednet.py; chance would show many an image the same way several times in a row.
    """

    def __init__(
        self, training_set: TrainingSet, samples: np.ndarray, batch_size: int, seed: int, flip: bool = False
    ) -> None:
        self._set = training_set
        self._samples = samples
        self._batch_size = min(batch_size, len(samples))
        self._seed = seed
        self._epoch, self._order = 0, samples  # until `begin`
        first = np.random.default_rng(derive(seed, "flip")).integers(0, 2, len(training_set.rows))
        self._flipped = first if flip else None

    def begin(self, epoch: int) -> None:
        """Turn to an epoch."""
        order = np.random.default_rng(derive(self._seed, "order", epoch)).permutation(len(self._samples))
        self._epoch, self._order = epoch, self._samples[order]

    def __len__(self) -> int:
        return len(self._samples) // self._batch_size

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return images uint8 (b, h, w, c), targets float32 (b, outputs) and weights float32 (b,), if there are any."""
        samples = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        weights = None if self._set.weights is None else self._set.weights[samples]
        images = self._set.augmented(samples, self._epoch)
        if self._flipped is not None:
            flipped = (self._flipped[samples] + self._epoch) % 2 == 1
            images[flipped] = images[flipped, :, ::-1]
        return images, self._set.target.encode(self._set.truth[samples]), weights
