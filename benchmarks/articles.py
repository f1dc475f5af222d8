"""Run the system of an article from its preset, and ours at the same budget; write articles.json.

    python benchmarks/articles.py fashion-mnist-softmax --datasets DIR --seeds 1 2 3
    python benchmarks/articles.py fashion-mnist-mlp-tpe --datasets DIR --share 0.5

DIR is as for run.py. Ours is the project's own ``params.yaml`` with ``compete preset OURS``: of the article's preset it
keeps the folds, the size of the images unless OURS names its own, and the budget (trials, epochs of a trial, epochs of
the training) alone, so one run of ours stands beside all presets that share them. With ``--share`` the search has this
share of the trials, with 0 the values stand as they are; with ``--fraction`` its trials train on this share of the
samples, and with ``--finalists`` so many of the best again on all. The table says so. What was measured before for
other presets stays.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from run import HERE, clone, measure, set_root

OUT = HERE / "articles.json"
BUDGET = ("tune.max_trials", "tune.epochs", "train.epochs", "train.folds")
IMAGES = ("prepare.image_size_px", "prepare.channels", "prepare.folds")
# The photographs of the gala contest are not to be had; these are four hundred others, in eight classes.
STANDS_FOR = {"gala": "dance-form", "fashion": "fashion-mnist", "cifar10": "cifar10"}


def edit(params: Path, values: dict[str, Any]) -> None:
    """Set values by dotted path; comments stay."""
    yaml = YAML()
    yaml.width = 10_000
    written = yaml.load(params)
    for dotted, value in values.items():
        section, key = dotted.split(".") if "." in dotted else (None, dotted)
        (written[section] if section else written)[key] = value
    yaml.dump(written, params)


def read(params: Path, paths: tuple[str, ...]) -> dict[str, Any]:
    """Read values by dotted path."""
    written = YAML(typ="safe").load(params)
    return {path: written[path.split(".")[0]][path.split(".")[1]] for path in paths}


def decisive(plan: dict[str, Any]) -> dict[str, Any]:
    """Return what of a plan the result follows from: where no trial runs, nothing of the search's budget."""
    budget = {key: value for key, value in plan["budget"].items() if plan["trials"] or key.startswith("train.")}
    kept = {key: plan.get(key) for key in ("ours", "seed", "trials", "images", "name")}
    return {**kept, "fraction": plan.get("fraction", 1.0), "finalists": plan.get("finalists", 1), "budget": budget}


def one(
    preset: str,
    ours: str | None,
    seed: int,
    share: float,
    fraction: float,
    finalists: int,
    datasets: Path,
    known: list[dict[str, Any]],
) -> dict[str, Any]:
    """Run a preset, or ours at its budget, with one seed; or take that of ours from what is known."""
    name = STANDS_FOR[preset.split("-")[0]]
    with tempfile.TemporaryDirectory() as scratch:
        project = clone(Path(scratch))
        params = project / "params.yaml"
        if name == "dance-form":  # what it scores by
            edit(params, {"data.metric": "f1_weighted"})
        set_root(params, datasets / f"{name}.zip")
        before = params.read_bytes()
        subprocess.run(["compete", "preset", preset], cwd=project, check=True)
        given, images = read(params, BUDGET), read(params, IMAGES)
        if ours:
            params.write_bytes(before)
            edit(params, images)
            subprocess.run(["compete", "preset", ours], cwd=project, check=True)
            images = read(params, IMAGES)
        trials = round(share * given["tune.max_trials"])
        plan = {"ours": ours, "seed": seed, "trials": trials}
        plan |= {"fraction": fraction, "finalists": finalists} if trials else {}
        plan |= {"budget": given, "images": images, "name": name}
        for each in known:
            if ours and decisive(each) == decisive(plan):
                return {**each, **plan, "preset": preset, "share": share}
        search = {"tune.max_trials": trials, "tune.fraction": fraction, "tune.finalists": finalists}
        edit(params, {**given, **search, "seed": seed})
        result = measure(project, name, datasets / f"{name}-solution.csv")
    return {"preset": preset, "share": share, **plan, **result}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("preset")
    parser.add_argument("--datasets", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--fraction", type=float, default=1.0)
    parser.add_argument("--finalists", type=int, default=1)
    parser.add_argument("--ours", default="conv", help="The preset that stands for ours.")
    parser.add_argument("--only", choices=["article", "ours"])
    arguments = parser.parse_args()
    for ours in {"article": [None], "ours": [arguments.ours]}.get(arguments.only, [None, arguments.ours]):
        for seed in arguments.seeds:
            known = json.loads(OUT.read_text()) if OUT.exists() else []
            budget = arguments.share, arguments.fraction, arguments.finalists
            result = one(arguments.preset, ours, seed, *budget, arguments.datasets, known)
            key = [(each["preset"], each["ours"], each["seed"]) for each in known]
            place = (arguments.preset, ours, seed)
            known = [each for each, at in zip(known, key, strict=True) if at != place] + [result]
            scratch = OUT.with_suffix(".partial")
            scratch.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
            shutil.move(scratch, OUT)
            print(f"{place}: {'; '.join(result['score'])}", flush=True)


if __name__ == "__main__":
    main()
