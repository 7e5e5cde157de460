import math
import time

import pytest

from nasoseg.errors import NasosegError
from nasoseg.name_patterns import LONGEST_NAME, _paths, compile_pattern


@pytest.mark.parametrize(("pattern", "name"), [
    (r"ptv[\s_-]?70(?:[.,]0+)?\s?(?:gy)?", "PTV_70.0 Gy"),
    (r"^(parot|par)(is|id)?.*[ _](li|links|l|lt)$", "Parotis ca links"),
    (r"(?P<organ>eye|globe)_[^)\]*]+", "Globe_L"),
    (r"a{2,3}\)\*\{", "aaa)*{"),
])  # fmt: skip
def test_usual_patterns_are_taken_and_ignore_case(pattern, name):
    assert compile_pattern(pattern, "here").fullmatch(name)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(?:a|aa)*b", "(a?){64}b", "((a)+b)*", "(.*)+"])
def test_a_repeated_group_is_refused(pattern):
    with pytest.raises(NasosegError, match=r"file.yaml: patterns: .* repeats a group, .* for ever .*: repeat single"):
        compile_pattern(pattern, "file.yaml: patterns")


@pytest.mark.parametrize("pattern", [".*" * 6 + "x", "a?" * 30 + "a" * 30, "(a|a)" * 25 + "b", "(?:a|.)" * 20 + ".*.*"])
def test_too_many_ways_are_refused(pattern):
    with pytest.raises(NasosegError, match=r"can be tried in .* ways on one name, at most 2e\+06 allowed: use fewer"):
        compile_pattern(pattern, "here")


@pytest.mark.parametrize(("pattern", "name"), [
    (".*.*.*.*x", "a" * LONGEST_NAME),
    ("a?" * 20, "a" * LONGEST_NAME),
    ("(?:a|a)" * 20 + "b", "a" * LONGEST_NAME),
    (r".*a?a?a?a?a?.*\w.*x", "a" * LONGEST_NAME),
])  # fmt: skip
def test_the_worst_that_is_allowed_ends_soon(pattern, name):
    allowed = compile_pattern(pattern, "here")
    start = time.process_time()
    allowed.fullmatch(name)
    assert time.process_time() - start < 5  # a quarter of a second; a hang takes hours


def test_ways_are_counted():
    assert _paths("abc") == 1
    assert _paths("a*") == 65  # 0 to 64 times
    assert _paths(".*a+") == math.comb(66, 2)
    assert _paths("a?b?") == 4
    assert _paths("(a|b|c)(d|e)") == 6
    assert _paths("a|b") == 2


@pytest.mark.parametrize(("pattern", "message"), [
    ("(", "cannot be used .*unterminated"),
    ("[[a]", "cannot be used .*nested set"),
    ("a" * 201, "201 characters, at most 200 allowed"),
    ("*a", "nothing to repeat"),
])  # fmt: skip
def test_wrong_patterns_are_refused(pattern, message):
    with pytest.raises(NasosegError, match=f"here: .*{message}"):
        compile_pattern(pattern, "here")
