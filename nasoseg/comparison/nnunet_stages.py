"""The stages of nnU-Net on one group: plan and preprocess, train, predict; each once, each resumable."""

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nasoseg.comparison.nnunet_environment import Environment, own_variables
from nasoseg.comparison.nnunet_groups import Group
from nasoseg.comparison.nnunet_options import Options
from nasoseg.comparison.nnunet_process import run_logged
from nasoseg.data.store import Store
from nasoseg.errors import NasosegError
from nasoseg.files import whole_file

Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it, of how much."""

PLANES = ("axial", "coronal", "sagittal")
"""What nnU-Net's 2d configuration sees, by the stored axis that it cuts across: slices, rows, columns."""

_PLANS = "nnUNetPlans"
_CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth")  # what --c goes on from
_TRAINER = Path(__file__).with_name("nnunet_trainer.py")
_EPOCH = re.compile(r"Epoch (\d+)\s*$", re.MULTILINE)


class Stages:
    """Run nnU-Net's commands on the groups of one run folder.

    ``stages.json`` in the folder says which stages are done; they are not done again while their result is there.

    Args:
        run: The run folder. nnU-Net's own three folders, its logs and the probabilities are in it.
        environment: Where nnU-Net is installed.
        options: How it is run.
        descriptor: Of the run folder's lock.
    """

    def __init__(self, run: Path, environment: Environment, options: Options, *, descriptor: int) -> None:
        self.run = run.absolute()
        self.environment = environment
        self.options = options
        self.descriptor = descriptor
        self.device = options.device if options.device != "auto" else ("cuda" if environment.cuda else "cpu")

    def dataset(self, group: Group) -> Path:
        """Return the folder of a group's raw data set."""
        return self.run / "raw" / group.dataset

    def probabilities(self, group: Group) -> Path:
        """Return the folder of a group's predicted probabilities, an ``.npz`` a case."""
        return self.run / "probabilities" / group.name

    def plans(self, group: Group) -> dict[str, Any]:
        """Read the plans that nnU-Net made."""
        plans: dict[str, Any] = json.loads(self._plans_path(group).read_text(encoding="utf-8"))
        return plans

    def plane(self, group: Group) -> str:
        """Return which plane the slices of 2d lie in."""
        return PLANES[self.plans(group)["transpose_forward"][0]]

    def plan(self, group: Group, store: Store, progress: Progress) -> None:
        """Let nnU-Net look at the data, plan, and preprocess them."""
        folder = self._plans_path(group).parent / f"{_PLANS}_{self.options.configuration}"
        processes = str(self.options.processes)
        command = [self.environment.command("nnUNetv2_plan_and_preprocess"), "-d", str(group.number)]
        command += ["-c", self.options.configuration, "--verify_dataset_integrity", "--no_pbar"]
        command += ["-npfp", processes, "-np", processes, *self._axial(group, store)]
        total = len(group.learned_from)

        def watch(tail: str) -> None:
            progress(f"{group.name}, cases preprocessed", sum(1 for _ in folder.glob("*.pkl")), total)

        def settle() -> None:
            if self.options.batch_size is not None:
                plans = self.plans(group)
                plans["configurations"][self.options.configuration]["batch_size"] = self.options.batch_size
                with whole_file(self._plans_path(group)) as temporary:
                    temporary.write_text(json.dumps(plans, indent=4) + "\n", encoding="utf-8")

        self._stage(group, "plan", command, results=[self._plans_path(group)], watch=watch, settle=settle)

    def train(self, group: Group, progress: Progress) -> None:
        """Train to the last epoch, on from the newest checkpoint if there is one."""
        self._write_trainer()
        folder = self._results(group)
        resumed = ["--c"] if any((folder / name).is_file() for name in _CHECKPOINTS) else []
        command = [self.environment.command("nnUNetv2_train"), str(group.number), self.options.configuration, "0"]
        command += ["-tr", self._trainer(group), "-device", self.device, *resumed]

        def watch(tail: str) -> None:
            if begun := list(_EPOCH.finditer(tail)):
                done = int(begun[-1][1]) + ("Epoch time:" in tail[begun[-1].end() :])
                progress(f"{group.name}, epochs", done, self.options.epochs)

        self._stage(group, "train", command, results=[folder / "checkpoint_final.pth"], watch=watch)

    def predict(self, group: Group, cases: list[str], progress: Progress) -> None:
        """Predict the test cases with the weights of the last epoch (nnU-Net's own default), not of the best."""
        folder = self.probabilities(group)
        few = str(min(self.options.processes, 2))  # each holds the probabilities of a whole patient
        command = [self.environment.command("nnUNetv2_predict"), "-i", str(self.dataset(group) / "imagesTs")]
        command += ["-o", str(folder), "-d", str(group.number), "-c", self.options.configuration, "-f", "0"]
        command += ["-tr", self._trainer(group), "-device", self.device, "-npp", few, "-nps", few]
        command += ["--save_probabilities", "--continue_prediction", "--disable_progress_bar"]
        command += [] if self.options.mirrors(group) else ["--disable_tta"]

        def watch(tail: str) -> None:
            progress(f"{group.name}, cases predicted", sum(1 for _ in folder.glob("*.npz")), len(cases))

        self._stage(group, "predict", command, results=[folder / f"{case}.npz" for case in cases], watch=watch)

    def _stage(
        self,
        group: Group,
        stage: str,
        command: list[str],
        *,
        results: list[Path],
        watch: Callable[[str], None],
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        """Run a command unless it is recorded as done and its result is there; then record it."""
        record = self.run / "stages.json"
        done: dict[str, Any] = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
        name = f"{group.name}/{stage}"
        if name in done and all(path.is_file() for path in results):
            return
        log = self.run / "logs" / f"{group.name}_{stage}.log"
        began = time.monotonic()
        run_logged(command, log=log, variables=self._variables(), descriptor=self.descriptor, watch=watch)
        for missing in (path for path in results if not path.is_file()):
            raise NasosegError(f"{Path(command[0]).name} ended well, but left no {missing}: see {log}")
        settle()
        done[name] = {"seconds": round(time.monotonic() - began, 1), "command": command, "log": str(log)}
        with whole_file(record) as temporary:
            temporary.write_text(json.dumps(done, indent=2) + "\n", encoding="utf-8")

    def _variables(self) -> dict[str, str]:
        folders = {f"nnUNet_{name}": str(self.run / name) for name in ("raw", "preprocessed", "results")}
        for folder in folders.values():
            Path(folder).mkdir(parents=True, exist_ok=True)
        return own_variables() | {
            **folders,
            "nnUNet_extTrainer": str(self.run / "trainer"),
            "nnUNet_n_proc_DA": str(self.options.processes),  # 0 would not do: it also counts threads
            "nnUNet_def_n_proc": str(self.options.processes),
            "OMP_NUM_THREADS": "1",  # as nnU-Net's documentation asks: its processes are its parallelism
            "PYTHONUNBUFFERED": "1",
        }

    def _write_trainer(self) -> None:
        folder = self.run / "trainer"
        folder.mkdir(exist_ok=True)
        shutil.copyfile(_TRAINER, folder / "nasoseg_nnunet_trainer.py")
        schedule = {"epochs": self.options.epochs, "iterations_per_epoch": self.options.iterations_per_epoch}
        with whole_file(folder / "schedule.json") as temporary:
            temporary.write_text(json.dumps(schedule) + "\n", encoding="utf-8")

    def _axial(self, group: Group, store: Store) -> list[str]:
        """Return arguments that make nnU-Net cut axial slices: a target spacing that is widest across them.

        Within the plane it is the median, as nnU-Net's own; across slices 2d does not resample.
        """
        if self.options.plane == "auto":
            return []
        spacings_mm = [store.geometry(key).spacing_mm for key in group.learned_from]
        _, row, column = np.median(spacings_mm, axis=0).tolist()
        across = max(float(np.median([spacing[0] for spacing in spacings_mm])), row, column)
        return ["-overwrite_target_spacing", *(repr(side) for side in (across, row, column))]

    def _trainer(self, group: Group) -> str:
        return "NasosegTrainer" if self.options.mirrors(group) else "NasosegTrainerNoMirroring"

    def _plans_path(self, group: Group) -> Path:
        return self.run / "preprocessed" / group.dataset / f"{_PLANS}.json"

    def _results(self, group: Group) -> Path:
        name = f"{self._trainer(group)}__{_PLANS}__{self.options.configuration}"
        return self.run / "results" / group.dataset / name / "fold_0"
