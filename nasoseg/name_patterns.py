"""Regular expressions for names that others chose: such that no name can make one run for ever."""

import math
import re
import warnings

from nasoseg.errors import NasosegError

LONGEST_NAME = 64
"""Characters of the longest name that patterns are tried on: what DICOM allows for a ROI's name (its VR LO)."""

_MOST_PATHS = 2_000_000  # a quarter of a second on the worst name
_LONGEST_PATTERN = 200


def compile_pattern(text: str, where: str) -> re.Pattern[str]:
    """Compile a regular expression that cannot take long on any name, whoever wrote the name.

    Python's engine tries every way to divide a name among the repetitions and alternatives, which a hostile name can
    force it to. Where no group is repeated, the ways are counted beforehand, for a name of ``LONGEST_NAME`` characters.

    Raises:
        NasosegError: If the expression is wrong, too long, repeats a group, or has too many ways.
    """
    expected = "a regular expression that Python's `re` takes"
    if len(text) > _LONGEST_PATTERN:
        raise NasosegError(
            f"{where}: a pattern of {len(text)} characters, at most {_LONGEST_PATTERN} allowed: split it"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of what the next Python will read in another way
            pattern = re.compile(text, re.IGNORECASE)
    except (re.error, RecursionError, OverflowError, Warning) as error:
        raise NasosegError(f"{where}: {text!r} cannot be used ({error}): expected {expected}: correct it") from error
    bare = re.sub(r"\[\^?\]?[^\]]*\]", "s", re.sub(r"\\.", "s", text, flags=re.DOTALL)).replace("(?", "(")
    if re.search(r"\)[*+{]", bare):
        raise NasosegError(
            f"{where}: {text!r} repeats a group, which can take for ever on some names: repeat single characters or"
            " sets, as in `[a-z]*`, and write groups without `*`, `+` and `{}`"
        )
    paths = _paths(bare)
    if paths > _MOST_PATHS:
        raise NasosegError(
            f"{where}: {text!r} can be tried in {paths:.0e} ways on one name, at most {_MOST_PATHS:.0e} allowed: use"
            " fewer `*`, `+`, `?` and `|`, or split it into several patterns"
        )
    return pattern


def _paths(bare: str) -> float:
    """Bound the ways in which a pattern without repeated groups can match a name of the greatest length."""
    repeats = sum(map(bare.count, "*+{"))
    ways = math.comb(LONGEST_NAME + repeats, repeats) * 2.0 ** bare.count("?")
    bars = [0]  # of the groups that are open
    for sign in bare:
        if sign == "(":
            bars.append(0)
        elif sign == "|":
            bars[-1] += 1
        elif sign == ")" and len(bars) > 1:
            ways *= bars.pop() + 1
    return ways * (bars[0] + 1)
