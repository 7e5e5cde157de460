import pytest

from nasoseg.files import whole_file, whole_folder


def fail_at(path, whole):
    with whole(path) as temporary:
        (temporary if whole is whole_file else temporary / "half.txt").write_text("half")
        raise RuntimeError("disk full")


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "a.txt"
    with whole_file(path) as temporary:
        temporary.write_text("first")
        assert not path.exists()
    with pytest.raises(RuntimeError, match="full"):
        fail_at(path, whole_file)
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "out"
    for text in ("first", "second"):
        with whole_folder(path) as temporary:
            (temporary / f"{text}.txt").write_text(text)
            assert not (path / f"{text}.txt").exists()
    assert [p.name for p in path.iterdir()] == ["second.txt"]
    with pytest.raises(RuntimeError, match="full"):
        fail_at(path, whole_folder)
    assert [p.name for p in path.iterdir()] == ["second.txt"]
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_does_not_get_in(tmp_path):
    (tmp_path / ".tmp.out").mkdir()
    (tmp_path / ".tmp.out" / "half.txt").write_text("")
    with whole_folder(tmp_path / "out") as temporary:
        (temporary / "whole.txt").write_text("")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["whole.txt"]
