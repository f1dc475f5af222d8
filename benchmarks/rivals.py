"""Run this project and its rivals on the same images, machine and wall time, and score all by the same answers.

    python benchmarks/rivals.py fashion-mnist --datasets DIR --minutes M --rivals-python ENVIRONMENT/bin/python

DIR holds ``NAME.zip`` and ``NAME-solution.csv``. ENVIRONMENT has ``benchmarks/rivals/requirements.txt`` installed, for
AutoKeras; the KerasTuner script runs in the project's own. ``compete prepare`` decodes the images for all, which counts
for none. The rivals are told M and end by it. The project is not: ``--ours`` is a params.yaml whose work takes about M
minutes, as that of ``benchmarks/rivals/NAME.yaml`` about 10; what augment, tune, train and predict took is written
down. One contender runs after the other. The answers are read when it has ended.
Writes ``benchmarks/rivals-NAME.json``; with ``--only``, what that says of the others stays if it is of the same M and
machine. Let nothing else run meanwhile: whoever is disturbed loses.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from run import run

from competition import decisions
from competition.arrays import open_array
from competition.artifacts import read_csv, read_json, read_samples, write_csv
from competition.environment import describe
from competition.grading import grade
from competition.layout import CONTRACT, STAGES, SUBMISSION, TRIALS, pixels
from competition.raw.forms import Form
from competition.scores import find_metric
from competition.submission import check_probabilities, fill
from competition.tasks import Target

HERE = Path(__file__).parent
DATASETS = ("fashion-mnist", "dance-form")
OURS = "competition"
TITLES = {  # of the contenders, in the order in which they run; with the versions that each tells
    OURS: "this project",
    "kerastuner": "a script with KerasTuner {keras-tuner}",
    "autokeras": "AutoKeras {autokeras}",
}
SHUFFLE = 1  # seed of the order in which the rivals get the training images


def lay_out(project: Path, params: Path, archive: Path) -> None:
    """Make a work folder with the package as it is now, whatever is edited meanwhile, and the parameters."""
    project.mkdir()
    shutil.copytree(HERE.parent / "competition", project / "competition", ignore=shutil.ignore_patterns("__pycache__"))
    written = re.sub(r"(?m)^  root: \S+", f"  root: {archive}", params.read_text(encoding="utf-8"))
    (project / "params.yaml").write_text(written, encoding="utf-8")
    os.environ["PYTHONPATH"] = str(project)


def compete(stage: str, project: Path) -> tuple[float, int]:
    return run([str(Path(sys.executable).with_name("compete")), stage], project)


def write_arrays(prepared: Path, out: Path) -> None:
    """Write the decoded images as the rivals read them: x_train, y_train, x_test.

    The training images are shuffled, for competitions list them class by class and AutoKeras validates on the last
    fifth. The test images are in the order of the submission.
    """
    samples, target = read_samples(prepared), Target.of(read_json(prepared / CONTRACT))
    train, test = (samples[samples["split"] == split] for split in ("train", "test"))
    if target.task != "multiclass" or (test["problem"] != "").any():
        sys.exit("the rivals take one class for each sample, and test images that can all be read")
    order = np.random.default_rng(SHUFFLE).permutation(len(train))
    np.savez(
        out,
        x_train=open_array(prepared / pixels("train"))[train["row"].to_numpy()[order]],
        y_train=target.truth(list(train["label"]))[order],
        x_test=open_array(prepared / pixels("test"))[test["row"].to_numpy()],
    )


def submit(predictions: Path, prepared: Path, out: Path) -> None:
    """Write a rival's probabilities as the competition wants them: the likeliest class, or as they are."""
    contract, samples = read_json(prepared / CONTRACT), read_samples(prepared)
    target = Target.of(contract)
    sample_ids = samples.loc[samples["split"] == "test", "sample_id"]
    probabilities = pd.DataFrame(np.load(predictions), index=list(sample_ids), columns=list(target.classes))
    check_probabilities(probabilities, target)
    decision = decisions.plain(find_metric(contract["metric"]), target.task, len(target.classes))
    write_csv(out, fill(probabilities, Form.from_json(contract["submission"]), target, decision))


def run_ours(project: Path, versions: dict[str, str]) -> dict[str, Any]:
    stages = {stage: round(compete(stage, project)[0], 1) for stage in STAGES if stage != "prepare"}
    trials = read_csv(project / "data" / "tune" / TRIALS, ["score"])
    return {
        "seconds": round(sum(stages.values()), 1),
        "stages": stages,
        "trials": int((trials["score"] != "").sum()),
        "begun": len(trials),
        "note": "",
        "versions": versions,
    }


def run_rival(name: str, python: Path, minutes: float, project: Path, arrays: Path) -> dict[str, Any]:
    out, start = project / f"{name}.npy", time.monotonic()
    script = HERE.resolve() / "rivals" / f"{name}_rival.py"
    command = [str(python), str(script), "--arrays", str(arrays), "--minutes", str(minutes), "--out", str(out)]
    try:
        run(command, project)
    except SystemExit as error:  # the others go on; what it had saved, the prior, stands
        print(error, file=sys.stderr)
    seconds = time.monotonic() - start
    if not out.exists():
        sys.exit(f"{name} has written nothing")
    return {"seconds": round(seconds, 1), **json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))}


def record(written: Path, result: dict[str, Any], line: dict[str, Any]) -> None:
    """Write a contender's line in the place of its earlier one, beside the others' of the same time and machine."""
    known = json.loads(written.read_text(encoding="utf-8")) if written.exists() else {}
    same = all(known.get(key) == value for key, value in result.items())
    lines = {other["name"]: other for other in known["contenders"]} if same else {}
    lines[line["name"]] = line
    contenders = [lines[name] for name in TITLES if name in lines]
    written.write_text(json.dumps({**result, "contenders": contenders}, indent=2) + "\n", encoding="utf-8")


def table(paths: Iterable[Path]) -> str:
    """Render the files that this script writes, one line for each contender."""
    lines = ["| data | contender | metric [95 %] | wall time | trials |", "|---|---|---|---|---|"]
    for path in paths:
        result = json.loads(path.read_text(encoding="utf-8"))
        for line in result["contenders"]:
            begun = f" of {line['begun']} begun" if line["begun"] > line["trials"] else ""
            note = f"; {line['note']}" if line["note"] else ""
            lines.append(
                f"| {result['name']} (n = {result['n']:,}) | {TITLES[line['name']].format(**line['versions'])} "
                f"| {result['metric']} **{line['value']:.4f}** [{line['low']:.4f}, {line['high']:.4f}] "
                f"| {line['seconds'] / 60:.1f} of {result['minutes']:g} min | {line['trials']}{begun}{note} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=DATASETS)
    parser.add_argument("--datasets", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--rivals-python", type=Path, help="of the environment with AutoKeras")
    parser.add_argument("--ours", type=Path, help="params.yaml of this project  [default: benchmarks/rivals/NAME.yaml]")
    parser.add_argument("--only", nargs="+", choices=list(TITLES), default=list(TITLES), help="run these alone")
    arguments = parser.parse_args()
    archive = (arguments.datasets / f"{arguments.name}.zip").resolve()
    answers = (arguments.datasets / f"{arguments.name}-solution.csv").resolve()
    params = arguments.ours or HERE / "rivals" / f"{arguments.name}.yaml"
    pythons = {"kerastuner": Path(sys.executable)}
    if arguments.rivals_python:  # not resolved: an environment's python is a link, and another one where that leads
        pythons["autokeras"] = arguments.rivals_python.absolute()
    if not arguments.minutes > 0:
        parser.error(f"--minutes is {arguments.minutes:g}; expected more than 0")
    if "autokeras" in arguments.only and "autokeras" not in pythons:
        parser.error("autokeras needs --rivals-python; or name the others with --only")
    for path in (archive, answers, params, *pythons.values()):
        if not path.is_file():
            parser.error(f"{path} is missing")
    with contextlib.chdir(HERE.parent):  # whose revision is told
        env = describe("auto")
    written = HERE / f"rivals-{arguments.name}.json"
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "project"
        prepared, arrays = project / "data" / "prepare", project / "arrays.npz"
        lay_out(project, params, archive)
        compete("prepare", project)
        write_arrays(prepared, arrays)
        metric = read_json(prepared / CONTRACT)["metric"]
        for name in TITLES:
            if name not in arguments.only:
                continue
            if name == OURS:
                line, submission = run_ours(project, env["packages"]), project / "data" / "predict" / SUBMISSION
            else:
                line = run_rival(name, pythons[name], arguments.minutes, project, arrays)
                submission = project / f"{name}.csv"
                submit(project / f"{name}.npy", prepared, submission)
            score = grade(submission, answers, seed=0, metric=metric)[metric]
            line = {
                "name": name,
                "value": score.value,
                "low": score.low,
                "high": score.high,
                "share": round(line["seconds"] / (60 * arguments.minutes), 3),
                **line,
                "load_average": round(os.getloadavg()[2], 1),
                "revision": env["revision"],
                "clean": env["clean"],
            }
            result = {
                "name": arguments.name,
                "metric": metric,
                "n": score.n,
                "minutes": arguments.minutes,
                "machine": {"cpu": env["cpu"]["model"], "threads": env["threads"], "device": env["device"]},
            }
            record(written, result, line)
            print(f"{name}: {metric} {score}, {line['seconds']:.0f} s {line['note']}", flush=True)
    print(table([written]))


if __name__ == "__main__":
    main()
