import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasoseg.data.pseudonyms import check_name
from nasoseg.safe_names import printable, safe_file_name


@pytest.mark.parametrize(("name", "safe"), [
    ("Parotid_L", "Parotid_L"),
    ("Hirnstamm (alt)", "Hirnstamm (alt)"),
    ("Ohrspeicheldrüse li.", "Ohrspeicheldrüse li"),
    ("脑干", "脑干"),
    ("a/b\\c", "a_b_c"),
    ("../../etc/passwd", "____etc_passwd"),
    ("..", "_"),
    (".", "unnamed"),
    ("", "unnamed"),
    ("  ", "unnamed"),
    (".hidden", "hidden"),
    ("PTV 70 . ", "PTV 70"),
    ("a\0b\nc\x1b[31m", "a_b_c_[31m"),
    ('<>:"|?*', "_______"),
    ("con", "_con"),
    ("NUL.nii", "_NUL.nii"),
    ("Com1 ", "_Com1"),
    ("LPT¹", "_LPT¹"),
    ("console", "console"),
    ("left\u202etfel", "left_tfel"),
    ("\udcff", "_"),
])  # fmt: skip
def test_file_names_are_safe(name, safe):
    assert safe_file_name(name) == safe


def test_long_names_are_cut_between_characters():
    cut = safe_file_name("ü" * 100)
    assert cut == "ü" * 60
    assert len(cut.encode()) == 120


@settings(deadline=None)
@given(st.text(max_size=200))
def test_a_safe_name_names_one_file_here_and_is_stable(name):
    safe = safe_file_name(name)
    check_name(safe, what="file", remedy="none")  # as strict as the store's keys
    assert os.path.basename(safe) == safe
    assert safe_file_name(safe) == safe


@pytest.mark.parametrize(("name", "shown"), [
    ("Auge li.", "Auge li."),
    ("脑干", "脑干"),
    ("a\nb\0\x1b[2J", r"a\nb\x00\x1b[2J"),
    ("x\u202ey\udcff", r"x\u202ey\udcff"),
])  # fmt: skip
def test_what_does_not_print_is_escaped(name, shown):
    assert printable(name) == shown
    assert printable(name).isprintable()
