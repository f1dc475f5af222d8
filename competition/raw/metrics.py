"""The metric that a competition's description names, or that is usual for its form of submission."""

import re
from pathlib import PurePosixPath

from competition.errors import UnreadableError
from competition.raw.labels import Labels
from competition.raw.sources import Source
from competition.scores import find_metric

DESCRIPTIONS = (".md", ".txt", ".html", ".htm")
DESCRIPTION_BYTES = 1_000_000
# How descriptions write an average of F1: before it, after it, or among the arguments of scikit-learn's function.
_AVERAGED = (
    r"{0}(ly)?[ -]*(averaged?|averaging)?[ -]*f-?1|f-?1[ _-]*(score|measure)?[^.;a-z0-9]*"
    r"(\([^)]*|with |using |averaged? ?=?[ '\"]*)?{0}"
)
# What descriptions write -> our name; the more special first, for a text that names one often names its kind too.
_WRITTEN = (
    (r"quadratic(ally)?[ -]weighted[ -]kappa|weighted kappa|\bqwk\b|kappa[^.;]{0,60}quadratic", "quadratic_kappa"),
    (r"(mean|average)[ -]column[ -]?wise (roc )?auc|column[ -]averaged auc", "roc_auc_macro"),
    (r"area under the (roc|receiver)|roc[ -_]auc|\bauc\b", "roc_auc"),
    (r"log(arithmic)?[ _-]?loss|cross[ -]entropy", "log_loss"),
    (r"map ?@ ?(?P<k>\d+)|mean average precision ?(@|at) ?(?P<n>\d+)", "map@"),
    (_AVERAGED.format("weighted"), "f1_weighted"),
    (_AVERAGED.format("micro"), "f1_micro"),
    (_AVERAGED.format("macro"), "f1_macro"),
    (r"micro[ -](averaged? )?f-?2", "f2_micro"),
    (r"f-?2(?![0-9a-z])", "f2_samples"),
    (r"f-?1(?![0-9a-z])|f[ -]score|f[ -]measure", "f1"),
    (r"root[ -]mean[ -]squared?|rmse", "rmse"),
    (r"top[ -]?(?P<k>\d+)[ -](classification )?(error|accuracy)", "top_error"),
    (r"accuracy|percentage of (correct|images)|categori[sz]ation accuracy", "accuracy"),
)
# What is called much like one of these, and is another.
_OTHERS = (
    r"balanced accuracy|(mean|average|averaged)? ?per[ -]class accuracy|precision[ -]recall( auc| curve)?|\bpr[ _-]auc|"
    r"auc[ _-]pr\b|linear(ly)?[ -]weighted[ -]kappa|\brmsle\b|(root[ -])?mean[ -]squared?[ -]log(arithmic)?[ -]error|"
    r"(macro|weighted)[ -](averaged? )?f-?2|f-?2[ _-](score )?\(?(macro|weighted)"
)


def described_metric(source: Source, labels: Labels) -> tuple[str, str, str]:
    """Find the metric that a text file of the download names: our name for it, its words and the file; "" if none."""
    names = [name for name in source.files if name.lower().endswith(DESCRIPTIONS)]
    for name in sorted(names, key=lambda name: (name.count("/"), name))[:20]:
        try:
            text = source.read(name)[:DESCRIPTION_BYTES].decode("utf-8", "replace")
        except UnreadableError:
            continue  # it is only looked at for a hint
        ours, words = read_metric(text, labels)
        if ours:
            return ours, words, PurePosixPath(name).name
    return "", "", ""


def read_metric(text: str, labels: Labels) -> tuple[str, str]:
    """Find the metric that a description names: our name for it and its words; ("", "") if none fits the task."""
    text = re.sub(_OTHERS, " something else ", " ".join(text.lower().split()))
    sections = [text[found.start() :] for found in re.finditer(r"evaluat|scored|judged|metric", text)][:3]
    for part in [*(section[:600] for section in sections), text]:
        for pattern, name in _WRITTEN:
            found = re.search(pattern, part)
            if found and (ours := _fitting_metric(name, found, labels)):
                return ours, found[0]
    return "", ""


def _fitting_metric(name: str, found: re.Match[str], labels: Labels) -> str:
    if name in ("map@", "top_error"):
        groups = found.groupdict()
        number = groups.get("k") or groups.get("n")
        name = f"map@{number}" if name == "map@" else f"top{number}_error"
    if name == "f1":
        name = "f1_samples" if labels.task == "multilabel" else "f1_macro"
    if name == "roc_auc" and not two_sided(labels):
        name = "roc_auc_macro"
    return name if labels.task in find_metric(name).tasks else ""


def two_sided(labels: Labels) -> bool:
    """Tell whether there is one probability to score: of the second of two classes, or of the only tag."""
    return len(labels.classes) == (1 if labels.task == "multilabel" else 2)


def guess_metric(kind: str, labels: Labels, ranks: int) -> str:
    """Name the metric that competitions with this form of submission have most often."""
    if kind == "probability":
        return "roc_auc"
    if kind == "columns":
        return "roc_auc_macro" if labels.task == "multilabel" else "log_loss"
    if kind == "ranking":
        return f"map@{ranks}"
    return {"value": "rmse", "tags": "f1_samples", "flags": "f1_macro"}.get(kind, "accuracy")
