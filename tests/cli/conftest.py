import io
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from nasoseg.cli import main
from nasoseg.data.store import Store

TINY = {
    "model": {"class_path": "nasoseg.TwoStageUNet", "init_args": {"width": 4}},
    "data": {
        "folds": 4,
        "batch_size": 16,
        "augmentation": {"class_path": "nasoseg.Augmentation", "init_args": {"crop": 48}},
    },
    "trainer": {"max_epochs": 1, "accelerator": "cpu"},
}


@pytest.fixture
def tiny(small_store: Store, tmp_path: Path) -> Path:
    """A config of a small network on the small store, to be trained in seconds."""
    config = TINY | {"run": str(tmp_path / "run")}
    config["data"] = config["data"] | {"store": str(small_store.path)}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "tiny.yaml"


@dataclass
class Ended:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


def run_here(*arguments: object) -> Ended:
    """Run a command in this process: importing torch anew for each would take most of the suite's time."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        code = main(list(map(str, arguments)))
    return Ended(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def nasoseg_command() -> Callable[..., Ended]:
    return run_here


@pytest.fixture(scope="session")
def trained(small_store, tmp_path_factory, nasoseg_command):
    """A run folder made by the command line, and what it printed: one epoch of a small network on real slices."""
    folder = tmp_path_factory.mktemp("trained")
    arguments = ["--data.store", small_store.path, "--data.folds", 4, "--data.batch_size", 16]
    arguments += ["--model.init_args.width", 4, "--trainer.max_epochs", 1, "--run", folder / "run"]
    ended = nasoseg_command("fit", *arguments)
    assert ended.code == 0, ended.err
    return folder / "run", ended.out
