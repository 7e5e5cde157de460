import pickle

import pytest

from nasoseg.errors import NasosegError


def test_a_message_of_a_screen_stays_as_it_is():
    message = "\n".join(f"  P{n}: {'x' * 300}: copy it again" for n in range(10))
    assert str(NasosegError(message)) == message


@pytest.mark.parametrize("message", [
    f"a.yaml: found {'x' * 60_000}: correct it",
    "a.yaml: found " + "x\n" * 60_000 + ": correct it",
    f"a.yaml: found\n{'x' * 1999}\n{'y' * 1999}\n{'z' * 1999}: correct it",
], ids=["line", "lines", "long lines"])  # fmt: skip
def test_a_message_without_end_keeps_its_beginning_and_its_remedy(message):
    error = NasosegError(message)
    assert len(str(error)) <= 4000
    assert str(error).startswith("a.yaml: found")
    assert str(error).endswith(": correct it")
    assert " [...] " in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # data workers hand them over


def test_only_the_long_line_of_a_message_is_shortened():
    error = NasosegError(f"first\n{'x' * 5000}\nlast: correct it")
    assert [len(line) for line in str(error).split("\n")] == [5, 2000, 16]
