"""Finding nnU-Net's environment, and what is said where there is none."""

import importlib.util
import sys
from pathlib import Path

import pytest

from nasoseg.comparison import nnunet_environment
from nasoseg.comparison.nnunet_environment import create_environment, find_environment
from nasoseg.errors import NasosegError


@pytest.fixture(autouse=True)
def nothing_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(nnunet_environment.VARIABLE, raising=False)


def test_without_one_the_commands_to_make_it_are_given():
    with pytest.raises(NasosegError) as told:
        find_environment()
    lines = [line.strip() for line in str(told.value).splitlines()]
    assert "--create-environment" in lines[0]
    venv, install = (line.split() for line in lines[1:3])
    assert venv[1:3] == ["-m", "venv"]
    assert Path(venv[3]) == Path.cwd() / ".nnunet"
    assert install[1:4] == ["-m", "pip", "install"]
    assert "nnunetv2==2.8.1" in install


def test_a_named_interpreter_must_be_there(monkeypatch):
    with pytest.raises(NasosegError, match="no interpreter nowhere/python"):
        find_environment(Path("nowhere/python"))
    monkeypatch.setenv(nnunet_environment.VARIABLE, "elsewhere/python")
    with pytest.raises(NasosegError, match="no interpreter elsewhere/python"):
        find_environment()


@pytest.mark.skipif(importlib.util.find_spec("nnunetv2") is not None, reason="nnunetv2 is installed beside nasoseg")
def test_an_interpreter_without_nnunetv2_is_told():
    with pytest.raises(NasosegError, match=r"no working nnunetv2 there \(ModuleNotFoundError: .*nnunetv2"):
        find_environment(Path(sys.executable))


def test_a_failing_step_of_its_making_is_told(tmp_path, capfd):
    (tmp_path / ".nnunet").write_text("a file where the environment should be")
    with pytest.raises(NasosegError, match=r"--create-environment: `.*-m venv .*` ended with 1: see above"):
        create_environment(tmp_path / ".nnunet")
    assert "-m venv" in capfd.readouterr().out
