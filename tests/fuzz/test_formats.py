"""Damaged files of every format: an error of ours or a result, within 10 s and 2 GiB, and no file elsewhere.

``NASOSEG_FUZZ=1000`` sets how many inputs of each format are tried, ``NASOSEG_FUZZ_NUMBERS=7,8`` which.
"""

import os

import pytest
from fuzzed_formats import FORMATS
from promise import try_all

FEW, SOME, MANY = 40, 1_000, 10_000


def numbers(count: int) -> list[int]:
    chosen = os.environ.get("NASOSEG_FUZZ_NUMBERS")
    return [int(number) for number in chosen.split(",")] if chosen else list(range(count))


def check(target, count, record_property):
    counts, broken = try_all(target, numbers(count))
    record_property("fuzz", f"{target.name}: {dict(counts)}")
    print(f"{target.name}: {dict(counts)}")
    assert not broken, f"{len(broken)} of {counts.total()} inputs:\n\n" + "\n\n".join(map(str, broken[:10]))


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_read_or_refused(target, name, record_property):
    check(target(name), int(os.environ.get("NASOSEG_FUZZ", FEW)), record_property)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", FORMATS)
def test_a_thousand_damaged_files_are_read_or_refused(target, name, record_property):
    check(target(name), SOME, record_property)


@pytest.mark.nightly
@pytest.mark.parametrize("name", FORMATS)
def test_ten_thousand_damaged_files_are_read_or_refused(target, name, record_property):
    check(target(name), MANY, record_property)
