import pytest

from nasoseg.inference.seal import OPEN, is_intact, sealed


def test_a_change_of_any_byte_is_found():
    whole = sealed(b"a model " + OPEN.encode() + b" of many bytes", b"its weights")
    assert is_intact(whole, b"its weights")
    for place in range(len(whole)):
        changed = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        assert not is_intact(changed, b"its weights")
    assert is_intact(whole, b"its weightS") is False
    assert is_intact(whole) is False


def test_what_has_no_seal():
    assert is_intact(b"another program's model") is None
    with pytest.raises(ValueError, match="found 0 open seals"):
        sealed(b"another program's model")
