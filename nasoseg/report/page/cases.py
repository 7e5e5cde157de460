"""The cases of a page: which patients are shown slice by slice, and with what."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasoseg.data.store import Store
from nasoseg.errors import NasosegError
from nasoseg.labels import identity
from nasoseg.report.figure_style import structure_looks
from nasoseg.report.page.case import TRUTH, build_case
from nasoseg.report.page.runs import Runs, worded
from nasoseg.report.per_unit import Protocol
from nasoseg.report.sample_patients import find_predictions
from nasoseg.report.samples import Pick, pick_patients
from nasoseg.report.wording import number

if TYPE_CHECKING:
    import pandas as pd

MOST_BYTES = 8 * 2**20
"""Of all cases together: with tables and figures the page stays below 15 MiB."""

_ALSO = ("second worst", "third worst")
_DASHES = {"solid": "", "dashed": "6 3", "dotted": "1.5 3", "dashdot": "6 3 1.5 3"}
_NOT_PREDICTED = (
    "There are no whole predictions, so that only the truth is drawn: `nasoseg predict --config RUN/config.yaml` writes"
    " them."
)


def gather_cases(
    runs: Runs, store: Store | None, no_store: str, protocols: Sequence[Protocol], *, reference: str
) -> dict[str, Any]:
    """Gather the cases as plain data.

    Patients whom any method predicted are picked from; where nobody was predicted, the truth is shown alone.

    Args:
        runs: The runs, whose folders hold the predictions.
        store: Has CT and truth.
        no_store: Why there is no store.
        protocols: From ``read_protocols``.
        reference: The method whose scores pick the patients.

    Returns:
        ``cases``, a list, empty where there can be none, and the ``reason`` for what is missing; else the looks of
        methods and structures, and by whose scores and among how many patients they were picked.
    """
    clean = next((protocol for protocol in protocols if protocol.name != "paper"), None)
    if store is None:
        return _none(no_store)
    if clean is None:
        return _none("There are runs of protocol paper only, which test single slices.")
    in_store = {identity(name) for name in store.names}
    names = [name for name in clean.structures if identity(name) in in_store]
    judge = reference if reference in clean.methods else clean.methods[0]
    scores = {method: clean.patients(method) for method in clean.methods}
    known = [key for key in store.keys if key in scores[judge].index]
    if not known or not names:
        return _none(f"No patient and structure of the store was scored by {judge}.")
    drawn = {
        method: [name for name in names if name in cells.columns and cells[name].notna().any()]
        for method, cells in clean.cells.items()
    }
    try:
        predictions = {method: _predicted(runs, method, drawn[method]) for method in clean.methods}
        seen = [key for key in known if any(key in found for found in predictions.values())]
        picks = pick_cases(scores[judge], seen or known)
        cases = [
            _case(store, pick, predictions, {TRUTH: names, **drawn}, scores, most_bytes=MOST_BYTES // len(picks))
            for pick in picks
        ]
    except NasosegError as error:  # a prediction that cannot be drawn takes nothing from the numbers
        return _none(worded(error, [run.folder for run in runs.tested], store))
    return {
        "reason": "" if seen else _NOT_PREDICTED,
        "judge": judge,
        "among": len(seen or known),
        "cases": cases,
        "looks": {"methods": _looks([TRUTH, *clean.methods]), "structures": _looks(names)},
        "truth": TRUTH,
        "shown": [TRUTH, judge],
    }


def pick_cases(scores: "pd.Series[float]", patients: Sequence[str]) -> list[Pick]:
    """Pick the three worst patients, the median and the best; fewer where there are fewer.

    Args:
        scores: Mean DSC of every patient by the reference method, indexed by the patient's key.
        patients: Who can be picked.

    Raises:
        NasosegError: If none of the patients has a score.
    """
    picks = {pick.rule: pick for pick in pick_patients(scores, patients)}
    taken = {pick.patient for pick in picks.values()}
    ranked = sorted((float(scores[key]), key) for key in patients if key in scores.index and scores[key] == scores[key])
    rest = [Pick(key, "", score) for score, key in ranked if key not in taken]
    also = [replace(pick, rule=rule) for rule, pick in zip(_ALSO, rest, strict=False)]
    ordered = [picks.get("worst"), *also, picks.get("median"), picks.get("best")]
    return [pick for pick in ordered if pick is not None]


def _none(reason: str) -> dict[str, Any]:
    return {"reason": reason, "cases": []}


def _case(
    store: Store,
    pick: Pick,
    predictions: Mapping[str, Mapping[str, Path]],
    structures: Mapping[str, Sequence[str]],
    scores: "Mapping[str, pd.Series[float]]",
    *,
    most_bytes: int,
) -> dict[str, Any]:
    """Gather one case, with what every method reached, and who has no prediction of it."""
    of_patient = {method: found[pick.patient] for method, found in predictions.items() if pick.patient in found}
    case = build_case(store, pick.patient, predictions=of_patient, structures=structures, most_bytes=most_bytes)
    return case | {
        "rule": pick.rule,
        "score": number(pick.score),
        "scores": {
            method: number(float(of[pick.patient])) for method, of in scores.items() if pick.patient in of.index
        },
        "notPredicted": [method for method in predictions if method not in of_patient],
    }


def _predicted(runs: Runs, method: str, structures: Sequence[str]) -> dict[str, Path]:
    of_method = [run for run in runs.tested if run.method == method and run.protocol != "paper"]
    return find_predictions([run.predictions for run in of_method if run.predictions], structures)


def _looks(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Give every name a colour that shows on CT, and the dashes of its line."""
    return {name: (colour, _DASHES[line]) for name, (colour, line) in structure_looks(names).items()}
