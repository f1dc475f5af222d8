"""The training set as the stages before left it, and the batches of one epoch of it."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from competition.arrays import open_array
from competition.artifacts import fingerprint, read_json, read_samples, require
from competition.console import counted
from competition.errors import CompetitionError
from competition.layout import CONTRACT, POLICY, pixels, view
from competition.mixing import cutmix, mixup
from competition.params import TrainParams
from competition.policies import Policy, view_seed
from competition.seeds import derive
from competition.shapes import side_share, sized
from competition.tasks import Target


@dataclass(frozen=True)
class TrainingSet:
    """All training samples, in the order of samples.csv; nothing of the images is in memory until it is asked for.

    Attributes:
        contract: what prepare fixed.
        target: the task of that contract.
        sample_ids: (n,) strings.
        truth: (n, ...), what is to be predicted, as `Target.truth` gives it.
        weights: float32 (n,), how much each sample counts in training, beside the others; None where all count alike.
        folds: int64 (n,).
        rows: int64 (n,), row of each sample in the arrays.
        images: uint8 (rows, h, w, c), mapped.
        views: one array like ``images`` for each view; empty if views are rendered anew.
        policy: renders views anew; of no ops where they are on disk, so that nothing is imported for it.
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
    if policy.get("prepared") != fingerprint(prepared):
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
        policy=Policy([] if policy["views"] else policy["policy"], images.shape[1:]),
        seed=policy["seed"],
    )


class EpochBatches:
    """The batches of one epoch: every sample at most once, in an order that is a function of seed and epoch.

    What does not fill a last batch is left out; the next epoch's order leaves out others. A batch of a few samples
    would upset batch normalisation.

    Args:
        training_set: where images and truth come from.
        samples: int64 (n,), positions of the samples to train on.
        params: batch size, and what of mirroring, mixing, weighting and balanced sampling is asked for.
        seed: of the order and all else that is drawn.

    Raises:
        CompetitionError: classes are to be balanced and the task has none, or several for a sample; all samples have
            the weight 0; or more batches are to be accumulated than there are.
    """

    def __init__(self, training_set: TrainingSet, samples: np.ndarray, params: TrainParams, seed: int) -> None:
        self._set, self._samples, self._params, self._seed = training_set, samples, params, seed
        self.size = min(params.batch_size, len(samples))  # samples of a batch
        self._epoch, self._order = 0, samples  # until `begin`
        self._flipped = np.random.default_rng(derive(seed, "flip")).integers(0, 2, len(training_set.rows))
        self._weights, self._chances = None, None
        if training_set.weights is not None or params.class_weights == "balanced":
            self._weights = _weights(training_set, samples, params.class_weights == "balanced")
        if params.sampling == "balanced":
            self._chances = _balanced(training_set, samples)[samples] / len(samples)
        if params.accumulate_batches > len(self):
            raise CompetitionError(
                f"train.accumulate_batches is {params.accumulate_batches}, and an epoch has "
                f"{counted(len(self), 'batch', 'batches')} of {self.size} samples, so it may "
                "end without a step; expected no more than it has: lower train.accumulate_batches or train.batch_size"
            )

    def begin(self, epoch: int) -> None:
        """Turn to an epoch."""
        rng = np.random.default_rng(derive(self._seed, "order", epoch))
        if self._chances is None:
            order = rng.permutation(len(self._samples))
        else:
            order = rng.choice(len(self._samples), len(self._samples), p=self._chances)
        self._epoch, self._order = epoch, self._samples[order]

    def __len__(self) -> int:
        return len(self._samples) // self.size

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return images uint8 (b, h, w, c), targets float32 (b, outputs) and weights float32 (b,), if there are any."""
        samples = self._order[index * self.size : (index + 1) * self.size]
        images = self._set.augmented(samples, self._epoch)
        if self._params.alternating_flip:
            # Half of the images in the even epochs, the others in the odd ones: chance would show many an image the
            # same way several times in a row. Source: airbench, as in models/speednet.py.
            flipped = (self._flipped[samples] + self._epoch) % 2 == 1
            images[flipped] = images[flipped, :, ::-1]
        images = _resized(images, side_share(self._params, self._epoch))
        targets = self._set.target.encode(self._set.truth[samples])
        if self._weights is None:
            return *self._mix(images, targets, index), None
        # An image of two has the weight of both in their shares, and of their labels the weightier counts more.
        weights = self._weights[samples, None]
        images, mixed = self._mix(images, np.concatenate([targets * weights, weights], axis=1), index)
        targets, weights = np.split(mixed, [-1], axis=1)
        return images, np.divide(targets, weights, out=targets, where=weights > 0), weights[:, 0]

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
        """Yield the batches of the epoch, each made in a thread while the one before it is trained on."""
        with ThreadPoolExecutor(1) as thread:
            ahead = thread.submit(self.__getitem__, 0)
            for index in range(len(self)):
                batch = ahead.result()
                if index + 1 < len(self):
                    ahead = thread.submit(self.__getitem__, index + 1)
                yield batch

    def _mix(self, images: np.ndarray, targets: np.ndarray, index: int) -> tuple[np.ndarray, np.ndarray]:
        wanted = [(mixup, self._params.mixup), (cutmix, self._params.cutmix)]
        wanted = [(mix, alpha) for mix, alpha in wanted if alpha]
        if not wanted:
            return images, targets
        rng = np.random.default_rng(derive(self._seed, "mix", self._epoch, index))
        mix, alpha = wanted[rng.integers(len(wanted))]
        return mix(images, targets, alpha, rng)


def _resized(images: np.ndarray, share: float) -> np.ndarray:
    """Resize images uint8 (b, h, w, c) to a share of their height and width."""
    height, width, _ = sized(images.shape[1:], share)
    if (height, width) == images.shape[1:3]:
        return images
    small = [cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) for image in images]
    return np.stack(small).reshape(len(images), height, width, images.shape[3])


def _weights(training_set: TrainingSet, samples: np.ndarray, balanced: bool) -> np.ndarray:
    """Return how much each sample counts in the loss, float32 (n,), of which the mean of those trained on is 1.

    So weights of about 100 do not multiply the learning rate, and weigh no more against ``clip_norm``.
    """
    weights = _balanced(training_set, samples) if balanced else np.ones(len(training_set.rows))
    if training_set.weights is not None:
        weights = weights * training_set.weights
        mean = weights[samples].mean()
        if not mean:
            raise CompetitionError(
                f"the weights of all {len(samples):,} samples to train on are 0, so nothing would be learned; expected "
                "some above 0: correct data.weight_column"
            )
        weights = weights / mean
    return weights.astype(np.float32)


def _balanced(training_set: TrainingSet, samples: np.ndarray) -> np.ndarray:
    """Return weights float64 (n,) by which all classes of some samples come to the same; their mean there is 1."""
    target = training_set.target
    if not target.exclusive:
        raise CompetitionError(
            "train.class_weights and train.sampling balance the classes of samples that have one each; the task is "
            f"{target.task}; set class_weights: none and sampling: natural"
        )
    counts = np.bincount(training_set.truth[samples], minlength=len(target.classes))
    return (len(samples) / np.count_nonzero(counts) / np.maximum(counts, 1))[training_set.truth]
