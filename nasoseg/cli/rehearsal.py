"""Try a benchmark's jobs, one batch each, in a process of its own: ``python -m nasoseg.cli.rehearsal JOBS.json``.

Reads a list of ``{"name", "arguments", "config", "only_parse", "nnunet"}``; prints a JSON line for each: its error or
null, and what its network costs.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from nasoseg.cli import nnunet
from nasoseg.cli.configs import config_argument
from nasoseg.cli.quieting import quieten
from nasoseg.cli.run_errors import word_error
from nasoseg.cli.training import TrainingCLI
from nasoseg.comparison.nnunet import differences
from nasoseg.comparison.nnunet_groups import make_groups
from nasoseg.errors import NasosegError
from nasoseg.files import whole_file


class _ParsedError(Exception):
    """Leave after parsing."""


class Rehearsal(TrainingCLI):
    """Parse a job's arguments, keep the resolved config, and run one batch of everything.

    Args:
        arguments: Of `nasoseg fit`.
        resolved: Where the resolved config goes, unless the job's run was made with another one.
        only_parse: Whether to stop there.
    """

    def __init__(self, arguments: list[str], *, resolved: Path, only_parse: bool) -> None:
        self.resolved = resolved
        self.only_parse = only_parse
        super().__init__("fit", config_argument(arguments))

    def before_instantiate_classes(self) -> None:
        """Write the resolved config; then cut the run down to a batch."""
        run = Path(self.config.run)
        text = self.parser.dump(self.config, skip_none=False)
        if self.resolved.is_file() and run.is_dir():
            _check_same(run, _changes(self.resolved, text))
        with whole_file(self.resolved) as temporary:
            temporary.write_text(text, encoding="utf-8")
        if self.only_parse:
            raise _ParsedError
        self._scratch = tempfile.TemporaryDirectory()
        self.config.run = self._scratch.name
        self.config.trainer.fast_dev_run = 1
        self.config.trainer.enable_progress_bar = False
        super().before_instantiate_classes()
        self.trainer_defaults["callbacks"] = []

    def rehearse(self) -> dict[str, float]:
        """Train, validate and test a batch; return what the network costs on one image.

        Returns:
            ``parameters``, ``gflop`` of a forward pass over one image, and the image's ``channels``, ``rows`` and
            ``columns``: a training image's.
        """
        self.datamodule.prepare_data()
        if self.config.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.trainer.fit(self.model, datamodule=self.datamodule)
        self.trainer.test(self.model, datamodule=self.datamodule, verbose=False)
        image = next(iter(self.datamodule.train_dataloader()))["image"][:1].to(self.model.device)
        self.model.eval()
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            self.model(image)
        parameters = sum(p.numel() for p in self.model.parameters())
        channels, rows, columns = image.shape[1:]
        gflop = counter.get_total_flops() / 1e9
        return {"parameters": parameters, "gflop": gflop, "channels": channels, "rows": rows, "columns": columns}


def rehearse_nnunet(arguments: Sequence[str]) -> None:
    """Parse the arguments of `nasoseg nnunet`, and check that its run folder holds no other run.

    Raises:
        NasosegError: If they cannot be used, or it does.
    """
    parser = _Parser(prog="nasoseg nnunet", add_help=False)
    nnunet.add_arguments(parser)
    parsed = parser.parse_args(arguments)
    with nnunet.asked_for(parsed) as (store, split, asked):
        make_groups(store, split, fold=asked.fold, labels=asked.labels, by_hand=asked.groups, most_lost=asked.most_lost)
        _check_same(parsed.run, differences(parsed.run, store, split, asked))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise NasosegError(f"nnunet: {message}: see `nasoseg nnunet --help`")


def _changes(path: Path, text: str) -> list[tuple[str, str, str]]:
    before, now = (_flat(yaml.safe_load(t)) for t in (path.read_text(encoding="utf-8"), text))
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    return [(key, repr(before.get(key)), repr(now.get(key))) for key in changed]


def _check_same(run: Path, changed: list[tuple[str, str, str]]) -> None:
    if changed:
        listed = "; ".join(f"{key}: {before}, now {now}" for key, before, now in changed[:4])
        raise NasosegError(
            f"{run} was begun with another config ({listed}{'; ...' if len(changed) > 4 else ''}): remove that folder"
            " to run it anew, or choose another --out"
        )


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(node, dict):
        return {key: value for name, child in node.items() for key, value in _flat(child, f"{prefix}.{name}").items()}
    return {prefix.removeprefix("."): node}


def _try(job: dict[str, Any]) -> dict[str, Any]:
    cost = None
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
            if job["nnunet"]:
                rehearse_nnunet(job["arguments"])
            else:
                cli = Rehearsal(job["arguments"], resolved=Path(job["config"]), only_parse=job["only_parse"])
                cost = cli.rehearse()
    except _ParsedError:
        pass
    except Exception as error:  # whatever a user's class raises: it concerns this job alone
        return {"name": job["name"], "error": word_error(error, trains=False), "cost": None}
    return {"name": job["name"], "error": None, "cost": cost}


def main() -> None:
    """Try the jobs of the file that is named on the command line."""
    quieten()
    for job in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        print(json.dumps(_try(job)), flush=True)


if __name__ == "__main__":
    main()
