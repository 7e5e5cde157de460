import subprocess
from pathlib import Path

from nasoseg.tasks.run_facts import git_state, without_paths


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_a_commit_and_whether_files_differ_from_it(tmp_path):
    assert git_state(tmp_path) is None
    git(tmp_path, "init")
    assert git_state(tmp_path) is None  # no commit yet
    (tmp_path / "code.py").write_text("1\n")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-m", "first")
    found = git_state(tmp_path)
    assert len(found["commit"]) == 40
    assert found["dirty"] is False
    (tmp_path / "new.py").write_text("untracked files are no change\n")
    assert git_state(tmp_path) == found
    (tmp_path / "code.py").write_text("2\n")
    assert git_state(tmp_path) == {"commit": found["commit"], "dirty": True}


def test_of_paths_the_last_part_stays():
    given = {
        "store": "/home/somebody/data/store.h5",
        "folder": "runs/unet/",
        "windows": r"C:\Users\somebody\store.h5",
        "path": Path("/a/b.json"),
        "class_path": "nasoseg.UNet",
        "numbers": [1, 2.5, None, True, ("x/y",)],
        "object": object(),
    }
    assert without_paths(given) == {
        "store": "store.h5",
        "folder": "unet",
        "windows": "store.h5",
        "path": "b.json",
        "class_path": "nasoseg.UNet",
        "numbers": [1, 2.5, None, True, ["y"]],
        "object": "object",
    }
