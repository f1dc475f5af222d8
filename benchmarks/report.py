"""Write RESULTS.md from what ``benchmarks/run.py`` measured.

python benchmarks/report.py
"""

import json
import statistics
import subprocess
from pathlib import Path
from typing import Any

from rivals import table
from ruamel.yaml import YAML

from competition.presets import list_presets

HERE = Path(__file__).parent


def main() -> None:
    results = [json.loads(path.read_text()) for path in sorted((HERE / "results").glob("*.json"))]
    lines = [
        "# Results",
        "",
        "Written by `python benchmarks/report.py` from `results/*.json`; those by",
        "`python benchmarks/run.py NAME --datasets DIR`, which clones the project, runs every stage with",
        "`benchmarks/NAME.yaml` as its `params.yaml`, and scores the submission against answers that nothing before",
        "has read. One run and one seed each, that of the file: an interval is that of the samples, not of the",
        "training.",
        "",
        "| competition | metric | test score | out of fold | n test | minutes | peak memory | parameters |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        metric = next(key for key in result["out_of_fold"] if key not in ("low", "high", "n"))
        scored = next(line for line in result["score"] if line.startswith(f"{metric} "))
        value, interval = scored.split()[1], scored.split("interval ")[1].split(",")[0]
        oof = result["out_of_fold"]
        peak = max(stage["peak_bytes"] for stage in result["stages"].values()) / 1e9
        name = result["name"]
        lines.append(
            f"| {name} | {metric} | **{value}** ({interval}) "
            f"| {oof[metric]:.4f} ({oof['low']:.4f} to {oof['high']:.4f}, n = {oof['n']:,}) "
            f"| {scored.split('n = ')[1].rstrip(')')} | {_minutes(result)} | {peak:.1f} GB "
            f"| [{name}.yaml]({name}.yaml) |"
        )
    lines += ["", "## Where the time went", "", "| competition | prepare | augment | tune | train | predict | load |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for result in results:
        stages = [f"{s['seconds']:.0f} s, {s['peak_bytes'] / 1e9:.1f} GB" for s in result["stages"].values()]
        lines.append(f"| {result['name']} | {' | '.join(stages)} | {result['load_average']} |")
    env = results[0]["env"]
    lines += [
        "",
        "Load is the 15-minute load average of the machine at the end of the run: above its number of threads, other",
        "work ran beside the benchmark, and the times are longer than they need be. Memory is the sum over all",
        "processes of a stage; a page that several share counts once, in the runs of November 2026 once in each.",
        "",
        f"Machine: {env['cpu']['model']}, {env['threads']} threads, {env['device']}; Python {env['python']}, "
        + ", ".join(f"{name} {version}" for name, version in env["packages"].items())
        + ".",
        "",
        "Revisions: " + ", ".join(f"{result['name']} {result['env']['revision'][:12]}" for result in results) + ".",
        "A score belongs to the parameters of its revision"
        + "".join(f"; {result['name']}.yaml has other values since" for result in results if has_changed(result))
        + ".",
    ]
    lines += (
        articles()
        + rivals()
        + speednet()
        + workers()
        + faults()
        + backends()
        + speed()
        + layouts()
        + decoding()
        + augmenting()
        + growth()
    )
    (HERE / "RESULTS.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def has_changed(result: dict[str, Any]) -> bool:
    """Tell whether a parameter of a benchmark is another than when it ran; what was added since does not count.

    Raises:
        CalledProcessError: its revision is not in this clone, as in a shallow one.
    """
    path = f"benchmarks/{result['name']}.yaml"
    command = ["git", "show", f"{result['env']['revision']}:{path}"]
    then = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True).stdout
    before, now = (YAML(typ="safe").load(text) for text in (then, (HERE.parent / path).read_text(encoding="utf-8")))
    return any(
        now[section].get(key, value) != value
        for section, values in before.items()
        if isinstance(values, dict)
        for key, value in values.items()
    )


def read(name: str) -> list[dict[str, Any]]:
    return json.loads((HERE / name).read_text())


def articles() -> list[str]:
    """One line for each preset of an article that was run, the article's space beside ours at the same budget."""
    if not (HERE / "articles.json").exists():
        return []
    results = read("articles.json")
    lines = [
        "",
        "## The articles the project was founded on",
        "",
        "`python benchmarks/articles.py PRESET --datasets DIR`: test scores of the article's space and budget (its",
        "trials, their epochs, the epochs of the training), and of a preset of ours, which is named, at the same",
        "epochs with no more trials; where it had none, its values stand as they are. With several seeds: mean, and",
        "lowest to highest; with one: the 95 % interval over the test samples. Held out is the article's space on its",
        "fold. Minutes are of one whole pipeline. The photographs of the gala contest are not to be had: its preset",
        "runs on dance-form. There `conv` sees the article's gray images, `photos` has its own size and colour.",
        "",
        "| preset | the article | its space here | held out | ours | trials, ours | seeds, ours | minutes, ours |",
        "|---|---|---|---|---|---|---|---|",
    ]
    expected = {preset.name: preset.expected for preset in list_presets()}
    for name in dict.fromkeys(result["preset"] for result in results):
        mine = [each for each in results if each["preset"] == name]
        theirs = [each for each in mine if not each["ours"]]
        for ours in dict.fromkeys(each["ours"] for each in mine if each["ours"]):
            lines.append(_article(name, expected[name], theirs, [each for each in mine if each["ours"] == ours]))
    return lines + _photos(next(each for each in results if each["preset"] == "gala-cnn-tpe" and not each["ours"]))


def _photos(theirs: dict[str, Any]) -> list[str]:
    """Tell what `photos` comes to where it spends its epochs as it wants: on folds, and on fewer and shorter trials."""
    ours = json.loads((HERE / "results" / "dance-form.json").read_text())
    params = YAML(typ="safe").load(HERE / "dance-form.yaml")
    spent = _epochs({f"{name}.{key}": value for name in ("tune", "train") for key, value in params[name].items()})
    return [
        "",
        f"Trials and folds together, gala-cnn-tpe trains {_epochs(theirs['budget'])} epochs. `photos` as it stands",
        f"trains {spent}, of fewer and shorter trials but a model for each fold, and is dance-form above:",
        f"{_test_score([ours])} in {_minutes(ours)} minutes.",
    ]


def _epochs(budget: dict[str, int]) -> int:
    """Count the epochs of a budget, those of all trials and of all folds."""
    search = budget["tune.max_trials"] * budget["tune.epochs"]
    return search + budget["train.folds"] * budget["train.epochs"]


def _article(name: str, expected: str, theirs: list[dict[str, Any]], own: list[dict[str, Any]]) -> str:
    """Return the line of a preset: the runs of the article's space, and those of one preset of ours."""
    trials = f"{_trials(theirs[0])} of {theirs[0]['budget']['tune.max_trials']}, {_trials(own[0])}"
    held_out = statistics.fmean(_of_metric(each["out_of_fold"]) for each in theirs)
    return (
        f"| {name} | {expected} | {_test_score(theirs)} | {held_out:.4f} | {own[0]['ours']} {_test_score(own)} "
        f"| {trials} | {len(theirs)}, {len(own)} | {_minutes(theirs[0])}, {_minutes(own[0])} |"
    )


def _trials(result: dict[str, Any]) -> str:
    """Return how many trials a search had, on what share of the samples if not on all, and how many were repeated."""
    fraction, finalists = result.get("fraction", 1.0), result.get("finalists", 1)
    told = [f"on {fraction:g} of the samples"] if fraction < 1 else []
    told += [f"{finalists} again on all"] if finalists > 1 else []
    return f"{result['trials']}" + (f" ({', '.join(told)})" if told else "")


def _of_metric(scores: dict[str, float]) -> float:
    return next(value for key, value in scores.items() if key not in ("low", "high", "n"))


def _minutes(result: dict[str, Any]) -> str:
    """Return the minutes that all stages of a run took."""
    return f"{sum(stage['seconds'] for stage in result['stages'].values()) / 60:.1f}"


def _test_score(results: list[dict[str, Any]]) -> str:
    """Return the score of some runs of one thing: of one its interval, of several mean, lowest and highest."""
    metric = next(key for key in results[0]["out_of_fold"] if key not in ("low", "high", "n"))
    lines = [next(line for line in each["score"] if line.startswith(f"{metric} ")) for each in results]
    values = [float(line.split()[1]) for line in lines]
    if len(values) == 1:
        return f"**{values[0]:.4f}** ({lines[0].split('interval ')[1].split(',')[0]})"
    return f"**{statistics.fmean(values):.4f}** ({min(values):.4f} to {max(values):.4f})"


def rivals() -> list[str]:
    """This project, a KerasTuner script and AutoKeras at the same wall time, one after another in one run."""
    paths = sorted(HERE.glob("rivals-*.json"))
    return ["", "## Side by side", "", *table(paths).splitlines()] if paths else []


def speednet() -> list[str]:
    """What the preset speednet comes to with several seeds, and what arithmetic it took."""
    if not (HERE / "speednet.json").exists():
        return []
    lines = [
        "",
        "## speednet within a budget of arithmetic",
        "",
        "`python benchmarks/speednet.py --datasets DIR`: the preset on CIFAR-10 (the lossy copy), one fold of fifty",
        "held out; with `--times 10` wider and longer, as that script says. The operations are counted from the",
        "shapes of the layers, forward and twice back. With several seeds: mean, and lowest to highest; minutes and",
        "revision of each, for they may be of several machines.",
        "",
        "| test accuracy, n = 10,000 | seeds | training | minutes of the pipeline | revision |",
        "|---|---|---|---|---|",
    ]
    every = read("speednet.json")
    for times in sorted({each["times"] for each in every}):
        results = [each for each in every if each["times"] == times]
        score, flop = _test_score(results), results[0]["training_flop"] / 1e15
        seeds = ", ".join(str(each["seed"]) for each in results)
        minutes = ", ".join(map(_minutes, results))
        revisions = ", ".join(each["env"]["revision"][:12] for each in results)
        lines.append(f"| {score} | {seeds} | {flop:.3f} PFLOP | {minutes} | {revisions} |")
    return lines


def workers() -> list[str]:
    """One line for each number of workers."""
    if not (HERE / "workers.json").exists():
        return []
    results = read("workers.json")
    lines = [
        "",
        "## Several workers",
        "",
        f"`python benchmarks/workers.py`: the same search of the bundled digits on {results[0]['cores']} cores, one",
        "number of workers after the other; times as ratios to one worker. What limits them is the cores, which they",
        "share: more workers than cores wait for one another. All have the pages of one imported Keras, which memory",
        "counts once, and each takes those of its own training.",
        "",
        "| workers | trials | epochs trained | best score | time | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    for line in results:
        lines.append(
            f"| {line['workers']} | {line['trials']} | {line['epochs']} | {line['best']:.4f} "
            f"| {line['seconds'] / results[0]['seconds']:.2f} | {line['peak_bytes'] / 1e9:.1f} GB |"
        )
    return lines


def backends() -> list[str]:
    """One line for each backend of Keras."""
    if not (HERE / "backends.json").exists():
        return []
    results: dict[str, list[dict[str, Any]]] = json.loads((HERE / "backends.json").read_text())
    (first, *_) = results.values()
    lines = [
        "",
        "## Other backends",
        "",
        "`python benchmarks/backends.py`: the bundled digits out of fold, equal parameters and seeds on each backend",
        "of Keras; each interval is the 95 % one of a seed over the samples; times are ratios to the first, the median",
        "of the seeds.",
        "",
        "| backend | mean accuracy | of the seeds " + ", ".join(str(each["seed"]) for each in first) + " | time |",
        "|---|---|---|---|",
    ]
    for name, seeds in results.items():
        told = ", ".join(f"{each['accuracy']:.4f} ({each['low']:.4f} to {each['high']:.4f})" for each in seeds)
        ratio = statistics.median(
            each["seconds"] / of_first["seconds"] for each, of_first in zip(seeds, first, strict=True)
        )
        lines.append(
            f"| {name} | **{statistics.fmean(each['accuracy'] for each in seeds):.4f}** | {told} | {ratio:.1f} |"
        )
    return lines


def faults() -> list[str]:
    """One line for each kind of fault, over all stages."""
    if not (HERE / "faults.json").exists():
        return []
    results = read("faults.json")
    lines = [
        "",
        "## Faults",
        "",
        "`python -m tests.faults --rounds 100 --out benchmarks/faults.json`: a stage is broken at a random instant and",
        "run again, and every output is compared, byte by byte, with those of a run that nothing touched. Struck: the",
        "fault came before the stage had ended. The kinds are told at the head of that file.",
        "",
        "| fault | stages | rounds | struck | equal after it | skipped |",
        "|---|---|---|---|---|---|",
    ]
    for kind in dict.fromkeys(line["kind"] for line in results):
        of_kind = [line for line in results if line["kind"] == kind]
        rounds, struck, equal, skipped = (
            sum(line[what] for line in of_kind) for what in ("rounds", "struck", "equal", "skipped")
        )
        stages = ", ".join(line["stage"] for line in of_kind)
        lines.append(f"| {kind} | {stages} | {rounds} | {struck} | **{equal}** | {skipped} |")
    return lines


def speed() -> list[str]:
    """One line for each preset whose training was held against the arithmetic."""
    if not (HERE / "speed.json").exists():
        return []
    lines = [
        "",
        "## Training against the arithmetic",
        "",
        "`python benchmarks/speed.py PRESET --datasets DIR --epochs N`, all in one run: the time of the whole",
        "command `compete train` for each of N epochs, as a multiple of an epoch of a bare `model.fit` of the same",
        "model on arrays in memory (one before and one after it); the rate of a training step as a share of that of",
        "a product of two matrices of 2048 x 2048 in the same precision; and the rate of a step with equal bits",
        "(`train.deterministic: true`, the default) as a multiple of one without.",
        "",
        "| preset | epochs | command, to a bare fit | step, to the product of matrices | equal bits, to free |",
        "|---|---|---|---|---|",
    ]
    for line in read("speed.json"):
        kind, product = list(line["product_gflops"].items())[-1]
        lines.append(
            f"| {line['preset']} | {line['epochs']} | **{line['command_to_fit']:.3f}** "
            f"| **{line['share']:.2f}** ({line['step_gflops']:.0f} of {product:.0f} GFLOP/s, {kind}) "
            f"| {line['equal_to_free']:.3f} |"
        )
    return lines


def augmenting() -> list[str]:
    """What rendering views costs beside what it must cost."""
    if not (HERE / "augment.json").exists():
        return []
    lines = [
        "",
        "## Rendering",
        "",
        "`python benchmarks/augment.py`: images per second of `augment`'s rendering as a share of those of a bare",
        "loop of the same albumentations ops in one process, times the cores; and of such loops in a process for each",
        "core at once. The medians of several runs that take turns.",
        "",
        "| ops | images | share of one loop times the cores | single runs | share of loops at once |",
        "|---|---|---|---|---|",
    ]
    for line in read("augment.json"):
        lines.append(
            f"| {line['policy']} | {line['views']} views of {line['count']:,} of {line['side_px']} px "
            f"| **{line['throughput_ratio']:.2f}** "
            f"| {', '.join(f'{ratio:.2f}' for ratio in line['ratios'])} | {line['ratio_to_loops_at_once']:.2f} |"
        )
    return lines


def layouts() -> list[str]:
    """One line for each replica of a competition's layout."""
    results = read("layouts.json")
    valid = sum(not line["mistakes"] for line in results)
    lines = [
        "",
        "## Any competition from its download",
        "",
        f"{valid} of {len(results)} valid. `python benchmarks/layouts.py` writes a small replica of the layout of each",
        "competition (file names, columns, ids, sample submission; made-up images), runs `compete init` and",
        "`dvc repro` with little training, and asks a grader written from the competition's rules. Edits are lines of",
        "`params.yaml` that had to be corrected after `compete init` for a valid submission. The metric is what init",
        "found or guessed; where it is not the competition's own, `--metric` says it.",
        "",
        "| competition | layout | task | metric found (own) | submission | edits | valid |",
        "|---|---|---|---|---|---|---|",
    ]
    for line in results:
        own = "" if line["metric_found"] == line["metric"] else f" ({line['metric']})"
        lines.append(
            f"| {line['name']} | {line['layout']} | {line['task']} | {line['metric_found']}{own} | {line['form']} "
            f"| {len(line['edits'])} | {'; '.join(line['mistakes'][:1]) or 'yes'} |"
        )
    return lines


def decoding() -> list[str]:
    """What decoding costs beside what it must cost, and what memory it takes."""
    lines = [
        "",
        "## Decoding",
        "",
        "`python benchmarks/decode.py`: images per second of `prepare`'s decoding (with hashes for the audit, and the",
        "array written) as a share of those of a bare loop of `cv2.imdecode` and `cv2.resize` over the same bytes on",
        "the same cores; the median of several runs that take turns.",
        "",
        "| images | count | to | share of the bare loop | single runs |",
        "|---|---|---|---|---|",
    ]
    for line in read("decode.json"):
        lines.append(
            f"| {line['images']} | {line['count']:,} | {line['side_px']} px | **{line['throughput_ratio']:.2f}** "
            f"| {', '.join(f'{ratio:.2f}' for ratio in line['ratios'])} |"
        )
    lines += [
        "",
        "`python benchmarks/memory.py`: peak memory of the same, all processes together, and the array that it writes.",
        "What grows in a zip is its list of names, which every process holds.",
        "",
        "| layout | images | array written | peak memory |",
        "|---|---|---|---|",
    ]
    for line in read("memory.json"):
        array, peak = line["array_bytes"] / 1e6, line["peak_bytes"] / 1e6
        lines.append(f"| {line['layout']} | {line['images']:,} | {array:,.0f} MB | {peak:,.0f} MB |")
    return lines


def growth() -> list[str]:
    """What reading the tables costs as they grow."""
    lines = [
        "",
        "## What the tables cost as they grow",
        "",
        "`python benchmarks/scale.py` matches ids to images that do not exist; times as ratios to the smallest.",
        "",
        "| layout | training images | time | peak memory |",
        "|---|---|---|---|",
    ]
    scales = read("scale.json")
    for scale in scales:
        first = next(other for other in scales if other["layout"] == scale["layout"])
        lines.append(
            f"| {scale['layout']} | {scale['size']:,} | {scale['seconds'] / first['seconds']:.1f} "
            f"| {scale['peak_bytes'] / 1e9:.2f} GB |"
        )
    return lines


if __name__ == "__main__":
    main()
