import pandas as pd
import pytest

from nasoseg.report.findings import headline_sentences, patients_sentence, structure_sentences

MINUS = "\N{MINUS SIGN}"
ROW = {
    "protocol": "clean", "metric": "dsc", "method": "two_stage", "reference": "unet", "structure": "organs",
    "n": 25, "unpaired_method": 0, "unpaired_reference": 0, "mean_difference": 0.012, "low": -0.004, "high": 0.028,
    "median_difference": 0.01, "effect": 0.3, "p": 0.1, "reason": "", "p_holm": 0.21,
}  # fmt: skip


def sentence(**changes: object) -> str:
    (text,) = headline_sentences(pd.DataFrame([ROW | changes]), protocol="clean", headline="organs")
    return text


def test_a_difference_that_is_not_shown_is_said_not_to_be():
    assert sentence() == (
        f"two_stage {MINUS} unet: DSC +0.012 [{MINUS}0.004, +0.028], p = 0.21 after Holm, 25 patients:"
        " no difference shown."
    )


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({"p_holm": 0.01, "low": 0.002}, "two_stage is higher."),
        (
            {"p_holm": 0.01, "effect": -0.4, "mean_difference": -0.02, "low": -0.03, "high": -0.01},
            "two_stage is lower.",
        ),
        ({"p_holm": 0.01}, "two_stage is higher by ranks, while the interval of the mean includes 0."),
        (
            {"p_holm": 0.01, "effect": -0.4},
            "two_stage is lower by ranks, while the mean points the other way: few patients differ much.",
        ),
        ({"low": 0.002}, "no difference shown (the interval, which is not corrected, excludes 0)."),
        ({"p_holm": 0.05}, "no difference shown."),
    ],
)
def test_verdicts_say_no_more_than_test_and_interval(changes, end):
    assert sentence(**changes).endswith(f"25 patients: {end}")


def test_what_was_not_tested_is_no_finding():
    nan = float("nan")
    few = sentence(n=1, p=nan, p_holm=nan, low=nan, high=nan, reason="fewer than 5 pairs")
    assert few == f"two_stage {MINUS} unet: DSC +0.012, 1 patient: not tested, fewer than 5 pairs."
    assert sentence(n=0, mean_difference=nan).endswith("no patient that both have: nothing can be said.")


def test_structures_are_listed_by_what_is_shown():
    table = pd.DataFrame(
        [
            ROW | {"structure": "Larynx", "p_holm": 0.0001, "low": 0.002},
            ROW | {"structure": "Eye", "p_holm": 0.03, "effect": -0.5, "median_difference": -0.02},
            ROW | {"structure": "Mandible"},
            ROW | {"structure": "Chiasm", "p_holm": float("nan")},
            ROW,
        ]
    )
    assert structure_sentences(table, protocol="clean") == [
        "two_stage: higher than unet on Larynx (+0.012, p < 0.001);"
        f" lower than unet on Eye (+0.012, median {MINUS}0.020, p = 0.030);"
        " no difference shown on Mandible; too few patients that differ to test on Chiasm."
    ]
    assert structure_sentences(table, protocol="paper") == []


def test_values_without_a_partner_are_counted():
    table = pd.DataFrame([ROW])
    assert patients_sentence(table, protocol="clean", headline="organs").startswith("Every value has a partner")
    table = pd.DataFrame([ROW | {"unpaired_reference": 383}])
    assert "two_stage (0 of its own, 383 of unet)" in patients_sentence(table, protocol="clean", headline="organs")
