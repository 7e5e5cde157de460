"""The one exception that users meet, and nearest-name hints for it."""

import difflib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_LONGEST_LINE = 2000  # characters: what a file held may be quoted in it, and files can hold anything
_LONGEST_MESSAGE = 4000  # one or two screens: ten patients with the reason of each


class NasosegError(Exception):
    """Report bad input: names the file or argument, what was found, what was expected, and the remedy.

    The command line prints its message alone and exits with code 1. A message that would fill screens keeps its
    beginning and its end, where the remedy is; so does each of its lines.

    Args:
        message: All that the user needs, in one or more lines.
    """

    def __init__(self, message: str) -> None:
        lines = (_shortened(line, _LONGEST_LINE) for line in message.split("\n"))
        super().__init__(_shortened("\n".join(lines), _LONGEST_MESSAGE))


def _shortened(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    gap = " [...] "
    end = most // 3
    return text[: most - end - len(gap)] + gap + text[-end:]


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Word what the disk raises while the block writes ``path``.

    Raises:
        NasosegError: Instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise NasosegError(
            f"{path}: could not be written ({error.strerror or error}): free disk space or choose another folder"
        ) from error


def nearest(name: str, valid: Iterable[str], *, most: int = 3) -> str:
    """Word a hint with the valid names nearest to ``name``: ``did you mean 'Larynx'?``.

    Where nothing is near, all valid names are listed (the first twenty).
    """
    valid = list(valid)
    by_folded = {v.casefold(): v for v in valid}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=most, cutoff=0.5)
    if near:
        return "did you mean " + " or ".join(repr(by_folded[n]) for n in near) + "?"
    listed = ", ".join(repr(v) for v in valid[:20])
    return f"valid: {listed}{', ...' if len(valid) > 20 else ''}"
