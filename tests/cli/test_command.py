"""The dispatcher: help, typos, and what importing costs."""

import resource
import subprocess
import sys

import pytest

from nasoseg.cli import COMMANDS, main


def test_help_lists_every_command_with_a_line_each(capsys):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for name, line in COMMANDS.items():
        assert any(row.split(maxsplit=1) == [name, line] for row in printed.splitlines())


@pytest.mark.parametrize(
    "command", ["prepare", "info", "check", "split", "evaluate", "benchmark", "structures", "nnunet"]
)
def test_every_plain_command_has_help_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"nasoseg {command}" in capsys.readouterr().out.split("example")[1]


def test_a_wrong_command_gets_the_nearest(capsys):
    assert main(["spilt"]) == 1
    assert "did you mean 'split'" in capsys.readouterr().err


def test_a_wrong_config_name_gets_the_nearest(capsys):
    assert main(["fit", "--config", "two_stages"]) == 1
    assert "did you mean 'two_stage'" in capsys.readouterr().err


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("nasoseg ")


def test_help_imports_no_torch():
    heavy = "any(m in sys.modules for m in ('torch', 'numpy', 'h5py', 'lightning'))"
    code = f"import sys; from nasoseg.cli import main; main(['--help']); sys.exit({heavy})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_importing_nasoseg_is_cheap():
    def seconds(code):
        # Processor time, not the clock: other work on the machine does not count. The first run warms the disk cache.
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime

    ours = seconds("import nasoseg; nasoseg.TwoStageUNet, nasoseg.SliceDataModule, nasoseg.load")
    assert ours < 2.5 * seconds("import torch, lightning")
    heavy = ("torch", "wandb", "matplotlib", "pydicom", "huggingface_hub")
    code = f"import sys, nasoseg; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_public_names_are_all_there():
    import nasoseg

    assert len(nasoseg.__all__) >= 15
    for name in nasoseg.__all__:
        assert getattr(nasoseg, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'TwoStage'"):
        _ = nasoseg.TwoStage
