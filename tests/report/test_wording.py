import pytest

from nasoseg.errors import NasosegError
from nasoseg.report.wording import checked_reference, counted, interval, listed, mark, metric_name, number, p_value

MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [
        (0.81249, False, "0.812"),
        (0.0124, True, "+0.012"),
        (-0.0041, True, f"{MINUS}0.004"),
        (-0.0004, True, "0.000"),  # no sign where nothing is left to see of it
        (float("nan"), True, "\N{EN DASH}"),
    ],
)
def test_a_number_is_worded_with_its_sign(value, signed, text):
    assert number(value, signed=signed) == text


def test_an_interval_is_empty_where_there_is_none():
    assert interval(-0.004, 0.028, signed=True) == f"[{MINUS}0.004, +0.028]"
    assert interval(float("nan"), float("nan")) == ""


@pytest.mark.parametrize(
    ("p", "text", "stars"),
    [
        (0.0004, "p < 0.001", "***"),
        (0.001, "p = 0.001", "**"),
        (0.0321, "p = 0.032", "*"),
        (0.05, "p = 0.050", ""),
        (0.214, "p = 0.21", ""),
    ],
)
def test_p_values_and_their_marks(p, text, stars):
    assert (p_value(p), mark(p)) == (text, stars)


def test_no_test_has_no_mark():
    assert mark(float("nan")) == ""


def test_words():
    assert (counted(1, "fold"), counted(3, "fold")) == ("1 fold", "3 folds")
    assert (listed(["a"]), listed(["a", "b", "c"])) == ("a", "a, b and c")
    assert (metric_name("dsc"), metric_name("hd95_mm")) == ("DSC", "hd95_mm")


def test_the_reference_is_the_first_method_unless_named():
    assert checked_reference(None, ["unet", "fcn8"]) == "unet"
    with pytest.raises(NasosegError, match=r"reference: the results have no method 'u-net': did you mean 'unet'"):
        checked_reference("u-net", ["unet", "fcn8"])
