"""Weights & Biases as a logger: offline without a key, private by default, and never a reason to stop training."""

import importlib
import importlib.util
import json
import netrc
import os
import secrets
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import lightning
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from nasoseg.errors import NasosegError
from nasoseg.files import whole_file
from nasoseg.tasks.run_facts import without_paths

KEPT = "wandb_run.json"
"""In a run folder: the id of its W&B run, and the last step that was logged."""


class WandbRun(Logger):
    """Log a training to Weights & Biases; pass it as ``Trainer(logger=...)``.

    Nothing of W&B is imported or started before something is logged, and then on the first process alone. Steps are
    the trainer's global steps, so that what is logged at one step shares a row. A run that is resumed, or tested later,
    goes on in the same W&B run: its id lies in the run folder. If W&B fails, a warning says so once, and training goes
    on without it.

    The environment variable ``WANDB_MODE`` goes before ``offline``. What W&B collects on its own (host and user name,
    paths, command line, code, console, git remote) is off; ``settings`` can turn it on.

    Args:
        project: The W&B project; by default ``WANDB_PROJECT``, else ``nasoseg``.
        name: Name of the run; on the command line METHOD foldN by default.
        group: What runs are averaged over; on the command line the method and the protocol by default.
        job_type: On the command line foldN by default.
        tags: Tags of the run.
        notes: A longer description.
        entity: The W&B team or user.
        id: The W&B run to go on with; by default the one of the run folder, else a new one.
        save_dir: The run folder; W&B's files go to ``wandb`` in it. The command line sets it.
        offline: Whether to write to the disk alone, for ``wandb sync`` to upload later; by default where no key is
            found.
        log_model: Whether the best weights become an artifact.
        panel_patients: Validation patients whose images are shown.
        panel_every: Epochs from one showing to the next.
        machine_stats: Whether W&B samples the load of CPU, GPU and disks.
        settings: Further settings of W&B by name, such as ``{init_timeout: 60}``; they go before ours.

    Raises:
        NasosegError: If wandb is not installed, or a number is out of range.
    """

    def __init__(
        self,
        *,
        project: str | None = None,
        name: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        tags: Sequence[str] | None = None,
        notes: str | None = None,
        entity: str | None = None,
        id: str | None = None,
        save_dir: str | os.PathLike[str] | None = None,
        offline: bool | None = None,
        log_model: bool = True,
        panel_patients: int = 3,
        panel_every: int = 1,
        machine_stats: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if importlib.util.find_spec("wandb") is None:
            raise NasosegError("trainer.logger: W&B is asked for, but wandb is missing: pip install 'nasoseg[wandb]'")
        for argument, value, least in (("panel_patients", panel_patients, 0), ("panel_every", panel_every, 1)):
            if value < least:
                raise NasosegError(f"trainer.logger.{argument}: found {value}, expected {least} or more")
        self.arguments: dict[str, Any] = {
            "project": project or os.environ.get("WANDB_PROJECT", "nasoseg"),
            "name": name,
            "group": group,
            "job_type": job_type,
            "tags": None if tags is None else list(tags),
            "notes": notes,
            "entity": entity,
        }
        self.folder = None if save_dir is None else Path(save_dir)
        self.offline = offline
        self.log_model = log_model
        self.panel_patients = panel_patients
        self.panel_every = panel_every
        self.machine_stats = machine_stats
        self.settings = dict(settings or {})
        self._id = id
        self._run: Any = None
        self._owned = False
        self._broken = False
        self._first_step = 0
        self._step = 0

    def settle(self, folder: Path, *, defaults: Mapping[str, Any], training: bool) -> None:
        """Set what was left open; the command line does so before training or testing.

        Args:
            folder: The run folder.
            defaults: ``name``, ``group``, ``job_type`` and ``tags`` where they are None.
            training: Whether training begins or goes on; what follows it is logged after its last step.
        """
        self.folder = folder
        for key, value in defaults.items():
            if self.arguments[key] is None:
                self.arguments[key] = value
        self._first_step = 0 if training else self._kept().get("step", -1) + 1

    @property
    def name(self) -> str:
        """The project."""
        return str(self.arguments["project"])

    @property
    def version(self) -> str | None:
        """The id of the W&B run, None before it is known."""
        return self._id

    @property
    def save_dir(self) -> str:
        """The run folder, or the current one."""
        return str(self.folder or ".")

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The ``wandb.Run``, begun when it is first used; None if W&B cannot begin one."""
        if self._run is None and not self._broken:
            try:
                self._begin()
            except Exception as error:  # of any kind: wandb's, the operating system's, pydantic's
                self._give_up("could not begin", error)
        return self._run

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log scalars, tables or images at a step; at the last one where none is given."""
        self._step = self._step if step is None else max(step, self._first_step)
        self.attempt(lambda run: run.log(dict(metrics), step=self._step))

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """Add to the run's config; of paths the last part alone."""
        plain = without_paths(vars(params) if isinstance(params, Namespace) else dict(params))
        self.attempt(lambda run: run.config.update(plain, allow_val_change=True))

    @rank_zero_only
    def attempt(self, action: Callable[[Any], object]) -> None:
        """Do something with the ``wandb.Run``; if it fails, warn once, and leave W&B alone from then on."""
        run = self.experiment
        if run is None or self._broken:
            return
        try:
            action(run)
        except Exception as error:  # a service that died, a full disk, a bug of theirs: no reason to lose a training
            self._give_up("failed", error)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Keep the last step; the run stays open for a test that follows."""
        if self._run is not None:
            self._keep()

    @rank_zero_only
    def finish(self, exit_code: int = 0) -> None:
        """End the W&B run, and wait for what is left to upload, a minute at most."""
        if self._run is None or not self._owned:
            return
        self._keep()
        run, self._run = self._run, None
        try:
            run.finish(exit_code=exit_code)
            if run.offline:
                wandb_module().termlog(f"upload it with: wandb sync {(self.folder or Path()) / 'wandb'}")
        except Exception as error:  # as above
            self._give_up("could not end", error)

    def _begin(self) -> None:
        wandb = wandb_module()
        if wandb.run is not None:  # a sweep's, or one that a notebook began
            self._run = wandb.run
            return
        folder = self.folder or Path()
        (folder / "wandb").mkdir(parents=True, exist_ok=True)  # else W&B takes the temporary folder
        self._id = self._id or self._kept().get("id") or secrets.token_hex(4)
        mode = self._mode()
        arguments = {**self.arguments, "id": self._id, "dir": str(folder), "resume": "allow"}
        settings = wandb.Settings(**{**_SETTINGS, "x_disable_stats": not self.machine_stats, **self.settings})
        try:
            self._run = wandb.init(**arguments, mode=mode, settings=settings)
        except Exception as error:  # no network, a wrong key, a server that is down
            if mode == "offline":
                raise
            rank_zero_warn(
                f"W&B cannot be reached ({_one_line(error)}): this run is logged offline; upload it later with"
                f" `wandb sync {folder / 'wandb'}`"
            )
            wandb.teardown()  # its service holds the id of the run that could not begin
            self._run = wandb.init(**arguments, mode="offline", settings=settings)
        self._owned = True
        self._id = self._run.id
        self._run.define_metric("epoch")
        self._run.define_metric("*", step_metric="epoch", step_sync=True)
        self._keep()

    def _mode(self) -> str | None:
        """Return W&B's mode; None leaves it to W&B's own settings (``wandb offline``)."""
        if given := os.environ.get("WANDB_MODE"):
            return given
        if self.offline is None:
            return None if _has_key() else "offline"
        return "offline" if self.offline else "online"

    def _kept(self) -> dict[str, Any]:
        try:
            kept = json.loads(((self.folder or Path()) / KEPT).read_text(encoding="utf-8"))
            return {"id": str(kept["id"]), "step": int(kept["step"])}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _keep(self) -> None:
        if self.folder is None or not self._owned:
            return
        step = max(self._step, self._kept().get("step", 0))
        try:
            with whole_file(self.folder / KEPT) as temporary:
                temporary.write_text(json.dumps({"id": self._id, "step": step}) + "\n", encoding="utf-8")
        except OSError as error:
            self._give_up("could not be noted in the run folder", error)

    def _give_up(self, what: str, error: Exception) -> None:
        if not self._broken:
            rank_zero_warn(f"W&B {what} ({_one_line(error)}): training goes on without it; the CSV log has all numbers")
        self._broken = True

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_run": None, "_owned": False}


def wandb_module() -> Any:
    """Import wandb, with the reports that it sends of its own use and errors, even offline, off by default."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    return importlib.import_module("wandb")


def wandb_runs(trainer: lightning.Trainer) -> list[WandbRun]:
    """List the trainer's loggers that log to W&B."""
    return [logger for logger in trainer.loggers if isinstance(logger, WandbRun)]


_SETTINGS: dict[str, Any] = {
    "console": "off",
    "disable_code": True,
    "disable_git": True,  # its remote can name a user; the commit is in our config
    "finish_timeout": 60.0,  # without it, a dead network holds the end of a training for ever
    "host": "",
    "init_timeout": 30.0,
    "quiet": True,
    "save_code": False,
    "x_disable_meta": True,
}


def _has_key() -> bool:
    """Tell whether W&B would find a key: in the environment, or where ``wandb login`` puts it."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai").hostname or ""
    names = [os.environ["NETRC"]] if "NETRC" in os.environ else ["~/.netrc", "~/_netrc"]
    for path in (Path(name).expanduser() for name in names):
        try:
            found = netrc.netrc(path).hosts.get(host)
        except (OSError, netrc.NetrcParseError):
            continue
        if found:
            return True
    return False


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
