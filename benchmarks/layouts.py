"""Run `compete init` and `dvc repro` on a replica of the layout of each competition, and ask its grader.

    python benchmarks/layouts.py [NAME ...]

The replicas (``tests/replicas.py``) have the file names, columns, ids and sample submissions of the real competitions
and a few dozen made-up images; their graders are written from the rules of the competitions. What is shown is that the
files are understood and the submission is valid, not how well a model learns. ``python benchmarks/report.py`` then
writes RESULTS.md. With names, only these are run again.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from tests.replicas import REPLICAS, Replica  # noqa: E402

# Little work for each stage, for there are many competitions; none of these lines says what the files are.
SMALL = {
    "prepare.folds": 2,
    "augment.views": 2,
    "model.filters": 8,
    "model.dense_units": 16,
    "model.blocks": 1,
    "tune.max_trials": 2,
    "tune.epochs": 2,
    "tune.space": {"train.learning_rate": {"float": [1.0e-3, 8.0e-3], "sampling": "log"}},
    "train.epochs": 4,
    "train.folds": 2,
    "predict.views": 2,
}


def edit(params: Path, values: dict[str, Any]) -> None:
    yaml = YAML()
    written = yaml.load(params)
    for dotted, value in values.items():
        section, key = dotted.split(".")
        written[section][key] = value
    yaml.dump(written, params)


def run(replica: Replica, project: Path) -> dict[str, Any]:
    """Return a line of the table."""
    subprocess.run(["git", "clone", "--quiet", str(HERE.parent.resolve()), str(project)], check=True)
    os.environ["PYTHONPATH"] = str(project)
    download = project / "data" / "raw" / "download"
    download.mkdir(parents=True)
    root = replica.write(download)
    params = project / "params.yaml"
    failed = ""
    for command in (["compete", "init", str(root)], ["dvc", "repro"]):
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=900)
        if done.returncode:
            failed = (done.stderr.strip().splitlines() or ["no word"])[0]
            break
        if command[1] == "init":
            edit(params, {**SMALL, **replica.edits})
    found = YAML(typ="safe").load(params)["data"]
    contract = project / "data/prepare/contract.json"
    told = json.loads(contract.read_text()) if contract.exists() else {"task": "", "submission": {"kind": ""}}
    mistakes = [failed] if failed else replica.mistakes((project / "data/predict/submission.csv").read_bytes())
    return {
        "name": replica.name,
        "layout": replica.layout,
        "task": told["task"],
        "metric": replica.metric,
        "metric_found": found["metric"],
        "form": told["submission"]["kind"],
        "edits": replica.edits,
        "mistakes": mistakes,
    }


def main() -> None:
    written = HERE / "layouts.json"
    known = {line["name"]: line for line in json.loads(written.read_text())} if written.exists() else {}
    wanted = sys.argv[1:] or [replica.name for replica in REPLICAS]
    for replica in REPLICAS:
        if replica.name not in wanted:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            line = known[replica.name] = run(replica, Path(scratch) / "project")
        print(f"{line['name']}: {line['task']}, {line['form']}, {line['mistakes'] or 'valid'}", flush=True)
    results = [known[replica.name] for replica in REPLICAS if replica.name in known]
    written.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    invalid = [line["name"] for line in results if line["mistakes"]]
    print(f"{len(results) - len(invalid)} of {len(results)} valid")
    sys.exit(bool(invalid))


if __name__ == "__main__":
    main()
