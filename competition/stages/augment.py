"""augment: render the training set under a policy once, so that no epoch and no trial pays for it again."""

from pathlib import Path

import numpy as np

from competition.arrays import open_array
from competition.artifacts import check_space, fingerprint, read_samples, require, stage_folder, write_json
from competition.console import counted, say
from competition.layout import POLICY, PREVIEW, pixels, view
from competition.params import AugmentParams
from competition.pictures import Line, write_sheet
from competition.policies import RENDERERS, Policy, view_seed, write_views
from competition.seeds import derive
from competition.versions import versions

PURPOSE = "augment"
SHOWN_SAMPLES = 12
SHOWN_VIEWS = 8


def augment(params: AugmentParams, *, prepared: Path, out: Path, seed: int) -> None:
    """Render the training set ``views`` times, augmented.

    Args:
        params: the policy and how many views of it.
        prepared: the folder that prepare wrote.
        out: the folder to write.
        seed: with the sample's id and the view's number, decides every draw; workers and order do not.

    Reads:
        samples.csv, train.npy.

    Writes:
        view-<v>.npy: uint8 (n, h, w, c), rows as in train.npy. None with ``views: 0``.
        policy.json: ops, views and seed, for training to render from with ``views: 0``; which data/prepare they are
            of; and the versions of the packages that rendered them.
        preview.png: samples beside their views.

    A healthy run:
        On the bundled digits: 12 views of 1,347 samples, 4 MB.

    Raises:
        CompetitionError: the views do not fit on the disk, or an op cannot render these images.
    """
    images = open_array(require(prepared / pixels("train"), "compete prepare"))
    samples = read_samples(prepared)
    train = samples[samples["split"] == "train"]
    policy = Policy(params.policy, images.shape[1:])
    with stage_folder(out) as folder:
        wanted_bytes = params.views * images.nbytes
        say(f"augment: {counted(params.views, 'view')} of {len(train):,} samples are {wanted_bytes / 1e6:,.1f} MB")
        check_space(folder, wanted_bytes)
        sample_ids = [""] * len(images)
        for row, sample_id in zip(train["row"], train["sample_id"], strict=True):
            sample_ids[row] = sample_id
        outs = {number: folder / view(number) for number in range(params.views)}
        write_views(prepared / pixels("train"), sample_ids, params.policy, outs, seed=seed, purpose=PURPOSE)
        written = {"policy": params.policy, "views": params.views, "seed": seed, "rendered_by": versions(RENDERERS)}
        write_json(folder / POLICY, {**written, "prepared": fingerprint(prepared)})
        _preview(folder, images, sample_ids, policy, seed)


def _preview(folder: Path, images: np.ndarray, sample_ids: list[str], policy: Policy, seed: int) -> None:
    known = [row for row, sample_id in enumerate(sample_ids) if sample_id]
    drawn = np.random.default_rng(derive(seed, PURPOSE, "preview")).permutation(known)[:SHOWN_SAMPLES]
    captions = ["original", *(f"view {number}" for number in range(SHOWN_VIEWS))]
    lines = []
    for row in drawn:
        image = np.array(images[row])
        seeds = [view_seed(seed, PURPOSE, number, sample_ids[row]) for number in range(SHOWN_VIEWS)]
        lines.append(Line(sample_ids[row], [image, *(policy.render(image, each) for each in seeds)], captions))
    write_sheet(folder / PREVIEW, lines)
