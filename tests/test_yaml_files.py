import pytest

from nasoseg.errors import NasosegError
from nasoseg.yaml_files import read_yaml

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


def test_plain_data_comes_back(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("a: &a [1, é]\nb: *a\n", encoding="utf-8")
    assert read_yaml(path, kind="a config") == {"a": [1, "é"], "b": [1, "é"]}


@pytest.mark.parametrize(("content", "words"), [
    (LAUGHS, "unfolds to more than 100000 values, expected a config"),
    ("a: &a [*a]", "unfolds to more than 100000 values"),
    ("a: 0x" + "f" * 5000, "a whole number of more than 64 bits"),
    ("a: " + "9" * 5000, "cannot be read as a config"),
    ("a: [", r"cannot be read as a config \(.*\): expected YAML with a, b"),
    ("[" * 500, "cannot be read as a config"),
    ("a: 2020-13-45", "cannot be read as a config"),
    ("!!python/object/apply:os.system [ls]", "cannot be read as a config"),
    ("? [1, 2]\n: 3", "cannot be read as a config"),
    ("x" * (2**18 + 1), "262145 bytes, expected a config of at most 262144"),
], ids=range(10))  # fmt: skip
def test_what_no_config_needs_is_refused(tmp_path, content, words):
    path = tmp_path / "x.yaml"
    path.write_text(content)
    with pytest.raises(NasosegError, match=rf"x\.yaml: .*{words}") as caught:
        read_yaml(path, kind="a config", keys=("a", "b"))
    assert len(str(caught.value)) < 600


def test_a_missing_and_a_binary_file_are_refused(tmp_path):
    with pytest.raises(NasosegError, match=r"none\.yaml: cannot be read as a config \(No such file"):
        read_yaml(tmp_path / "none.yaml", kind="a config")
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NasosegError, match=r"x\.yaml: cannot be read"):
        read_yaml(tmp_path / "x.yaml", kind="a config")
