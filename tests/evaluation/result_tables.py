"""Hand-made tables of results, shaped as `read_results` returns them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from nasoseg.evaluation.results import COLUMNS

Cells = Mapping[str, Mapping[str | tuple[str, str], float]]


def rows(method: str, cells: Cells, *, protocol: str = "clean", averaging: str = "volume", metric: str = "dsc"):
    """Make rows from structure -> patient (or patient and fold) -> value; the fold is 0 if none is given."""
    found = []
    for structure, values in cells.items():
        for key, value in values.items():
            patient, fold = key if isinstance(key, tuple) else (key, "0")
            named = (method, protocol, fold, "store", "split", patient, structure, averaging, metric, float(value))
            found.append(dict(zip(COLUMNS, named, strict=True)))
    return pd.DataFrame(found)


def table(methods: Mapping[str, Cells], **options: str) -> pd.DataFrame:
    return pd.concat([rows(method, cells, **options) for method, cells in methods.items()], ignore_index=True)


def numbered(values: object) -> dict[str, float]:
    """Name values by patients p00, p01, ...; None leaves the patient out."""
    return {f"p{i:02}": value for i, value in enumerate(values) if value is not None}


def drawn_cells(seed: int, patients: int = 20, structures: tuple[str, ...] = ("A", "B", "C"), missing: float = 0.2):
    """Draw values with a patient's own level, some missing."""
    rng = np.random.default_rng(seed)
    level = rng.normal(0, 0.05, patients)
    return {
        name: numbered(
            None if rng.random() < missing else float(np.clip(0.8 - 0.1 * k + level[i] + rng.normal(0, 0.03), 0, 1))
            for i in range(patients)
        )
        for k, name in enumerate(structures)
    }


def row_of(result: pd.DataFrame, **named: str) -> pd.Series:
    """Return the one row with these names."""
    found = result[np.logical_and.reduce([result[column] == name for column, name in named.items()])]
    assert len(found) == 1, found
    return found.iloc[0]
