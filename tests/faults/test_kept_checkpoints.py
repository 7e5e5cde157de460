"""The last two checkpoints are kept; a damaged one is told from a whole one, and training goes on from the newest."""

import shutil
import zipfile

import numpy as np
import pytest
import torch
import victims
from disks import Disk

from nasoseg.errors import NasosegError
from nasoseg.tasks import checkpoints
from nasoseg.tasks.checkpoints import AtomicCheckpointIO, furthest_whole, load_checkpoint


def state(step, size=1000):
    return {"state_dict": {"a": torch.full((size,), float(step))}, "global_step": step}


def save(folder, step, name="last.ckpt"):
    AtomicCheckpointIO().save_checkpoint(state(step), folder / name)
    return folder / name


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def flip(path):
    """Change one bit of one weight: torch itself does not see it."""
    data = bytearray(path.read_bytes())
    place = data.index(np.full(20, torch.load(path)["state_dict"]["a"][0], "<f4").tobytes())
    data[place + 2] ^= 1
    path.write_bytes(data)
    torch.load(path, weights_only=True)


def test_the_last_two_are_kept(tmp_path):
    for step in (1, 2, 3):
        save(tmp_path, step)
        save(tmp_path, step, "best.ckpt")
    found = {path.name: load_checkpoint(path)["global_step"] for path in tmp_path.iterdir()}
    assert found == {"best.ckpt": 3, "last.ckpt": 3, "previous.ckpt": 2}
    paths = [tmp_path / "last.ckpt", tmp_path / "previous.ckpt"]
    assert furthest_whole(paths) == furthest_whole(reversed(paths)) == tmp_path / "last.ckpt"
    assert furthest_whole([tmp_path / "none.ckpt"]) is None


@pytest.mark.parametrize("damage", [cut, empty, flip])
def test_the_newest_whole_one_is_found(tmp_path, damage, capsys):
    for step in (1, 2):
        save(tmp_path, step)
    paths = [tmp_path / "last.ckpt", tmp_path / "previous.ckpt"]
    damage(paths[0])
    with pytest.raises(NasosegError, match=r"last\.ckpt: refused"):
        load_checkpoint(paths[0])
    assert furthest_whole(paths) == paths[1]
    assert "passed over: " in capsys.readouterr().err
    damage(paths[1])
    assert furthest_whole(paths) is None


def test_without_links_the_last_two_are_kept_too(tmp_path, monkeypatch):
    def no_links(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(checkpoints.os, "link", no_links)
    for step in (1, 2):
        save(tmp_path, step)
    assert load_checkpoint(tmp_path / "previous.ckpt")["global_step"] == 1


def test_what_a_killed_save_left_goes_with_the_next(tmp_path):
    (tmp_path / ".123.tmp.last.ckpt").write_bytes(b"half")
    save(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_full_disk_is_said_to_be_one_and_harms_neither_checkpoint(tmp_path):
    disk = Disk(tmp_path / "disk", "100k")
    try:
        for step in (1, 2):
            save(disk.folder, step)
        with pytest.raises(NasosegError, match=r"last\.ckpt: the checkpoint could not be written .*No space left"):
            AtomicCheckpointIO().save_checkpoint(state(3, size=100_000), disk.folder / "last.ckpt")
        found = {path.name: load_checkpoint(path)["global_step"] for path in disk.folder.iterdir()}
        assert found == {"last.ckpt": 2, "previous.ckpt": 1}
    finally:
        disk.close()


def test_bombs_are_refused_before_they_are_unpacked(tmp_path):
    whole = save(tmp_path, 1)
    with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(tmp_path / "bomb.ckpt", "w", zipfile.ZIP_DEFLATED) as bomb:
        for part in archive.infolist():
            content = archive.read(part)
            bomb.writestr(part.filename, bytes(50 << 20) if part.filename.endswith("data/0") else content)
    assert (tmp_path / "bomb.ckpt").stat().st_size < 1 << 20
    with pytest.raises(NasosegError, match=r"bomb\.ckpt: refused.*compressed, which torch does not do"):
        load_checkpoint(tmp_path / "bomb.ckpt")
    # Many names for one part: what is read is many times the file.
    data = whole.read_bytes()
    with zipfile.ZipFile(whole, "a") as archive:
        for number in range(50):
            twin = zipfile.ZipInfo(f"archive/data/{number}")
            original = archive.infolist()[0]
            twin.header_offset, twin.CRC = original.header_offset, original.CRC
            twin.file_size = twin.compress_size = len(data)
            archive.filelist.append(twin)
        archive._didModify = True
    with pytest.raises(NasosegError, match=r"claim \d+ bytes, more than the file has"):
        load_checkpoint(whole)


@pytest.fixture(scope="module")
def uninterrupted(warm, fit_config, tmp_path_factory):
    home = tmp_path_factory.mktemp("whole")
    code, said = warm.run(*victims.fit(fit_config).arguments(home), log=home / "log")
    assert code == 0, said
    return victims.fit_results(home)


@pytest.mark.parametrize("damaged", ["last.ckpt", "previous.ckpt", None])
def test_a_training_goes_on_from_the_newest_whole_one(warm, fit_config, tmp_path, uninterrupted, damaged):
    """Bit-equal to one that was never interrupted, whichever of the two is damaged, or gone."""
    (tmp_path / "cut").mkdir()
    begun = victims.fit(fit_config, "--trainer.max_epochs", 2, "--test_at_end", "false")
    code, said = warm.run(*begun.arguments(tmp_path / "cut"), log=tmp_path / "cut.log")
    assert code == 0, said
    kept = tmp_path / "cut" / "run" / "checkpoints"
    if damaged:
        cut(kept / damaged)
    else:
        (kept / "last.ckpt").unlink()
    code, said = warm.run(*victims.fit(fit_config).arguments(tmp_path / "cut"), log=tmp_path / "cut.log")
    assert code == 0, said
    assert ("passed over: " in said) == (damaged is not None)
    assert ("epoch 2/3" in said) == (damaged != "previous.ckpt")
    assert victims.fit_results(tmp_path / "cut") == uninterrupted


def test_none_that_is_whole_is_an_error(warm, fit_config, tmp_path):
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "last.ckpt").write_bytes(b"half")
    shutil.copy(folder / "last.ckpt", folder / "previous.ckpt")
    command = ["fit", "--config", fit_config, "--run", tmp_path / "run", "--ckpt_path", "last"]
    code, said = warm.run(*command, log=tmp_path / "log")
    assert code == 1
    assert "last.ckpt: refused: not a checkpoint" in said
    assert "Traceback" not in said
