"""fit, validate, test and predict: LightningCLI with our defaults, a run folder, and errors that help."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.plugins.io import CheckpointIO
from rich.console import Console

from nasoseg.cli.announcement import announce
from nasoseg.cli.callbacks import training_callbacks
from nasoseg.cli.loggers import has_wandb, settle_loggers, with_own_wandb
from nasoseg.cli.picking import check_picked, check_validated
from nasoseg.cli.precision import default_precision
from nasoseg.cli.quieting import quieten
from nasoseg.cli.run_continuity import check_resumable, check_same_data, folder_of_config, settle_split
from nasoseg.cli.run_errors import foreseen, one_screen, own_error, word_error
from nasoseg.cli.run_folder import (
    METRICS,
    WEIGHTS,
    alone_in,
    best_checkpoint,
    check_free,
    checkpoint_to_resume,
    claim_run_folder,
    find_checkpoint,
    forget_requeue,
    forget_results,
    is_beside_best,
)
from nasoseg.cli.training_parser import EXAMPLES, HintingParser
from nasoseg.data.datamodule import SliceDataModule
from nasoseg.data.training_data import TRAINING_DATA, describe_training_data
from nasoseg.errors import NasosegError, writing
from nasoseg.files import whole_file
from nasoseg.progress import is_live
from nasoseg.tasks.base import SegmentationTask
from nasoseg.tasks.batch_limit import advise_batch
from nasoseg.tasks.building import load_weights
from nasoseg.tasks.checkpoints import AtomicCheckpointIO, load_checkpoint, write_weights
from nasoseg.tasks.memory import is_out_of_memory
from nasoseg.tasks.predictions import NiftiPredictions
from nasoseg.tasks.progress import EpochLines, LiveBar
from nasoseg.tasks.results import print_scores, result_context, write_metrics
from nasoseg.tasks.run_facts import run_facts
from nasoseg.tasks.run_record import record_start, start_facts
from nasoseg.tasks.wandb_artifacts import log_model, log_store, log_table
from nasoseg.tasks.wandb_run import wandb_runs


def run_training(command: str, arguments: Sequence[str]) -> int:
    """Run ``fit``, ``validate``, ``test`` or ``predict`` with command-line arguments; return the exit code."""
    quieten()
    cli = TrainingCLI(command, list(arguments) or ["--help"])
    code = 1
    try:
        getattr(cli, command)()
        code = 0
    except (MemoryError, OSError, RuntimeError) as error:
        reason = foreseen(error)
        if reason is None:
            raise
        advice = advise_batch(cli.trainer, cli.model, cli.datamodule, error) if is_out_of_memory(error) else ""
        raise NasosegError(word_error(reason, trains=command == "fit") + advice) from error
    except SystemExit:
        if cli.trainer.interrupted:  # Lightning's answer to Ctrl-C, with code 1 and without a word
            raise KeyboardInterrupt from None
        raise
    finally:
        for logger in wandb_runs(cli.trainer):
            logger.finish(exit_code=code)
    return code


class TrainingCLI(LightningCLI):
    """Build model, data and trainer from a config; run one command on them.

    Args:
        command: ``fit``, ``validate``, ``test`` or ``predict``.
        arguments: Command-line arguments.
    """

    def __init__(self, command: str, arguments: list[str]) -> None:
        self.command = command
        super().__init__(
            SegmentationTask,
            SliceDataModule,
            save_config_callback=None,
            trainer_defaults={
                "max_epochs": 100,
                "num_sanity_val_steps": 0,
                "use_distributed_sampler": False,  # SliceDataModule deals the slices
                "enable_model_summary": False,  # one line says it
            },
            seed_everything_default=0,
            parser_class=HintingParser,
            parser_kwargs={
                "prog": f"nasoseg {command}",
                "description": f"example:\n  {EXAMPLES[command]}",
            },
            subclass_mode_model=True,
            args=arguments,
            run=False,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the given arguments alone, whatever ``sys.argv`` holds."""
        self.config = parser.parse_args(args)
        self.quiet = bool(self.config.pop("quiet", False))  # of this call, not of the run
        if not any(str(argument).partition("=")[0] == "--run" for argument in args):
            given = [Path(str(path)) for path in self.config.get("config") or []]
            self.config.run = folder_of_config(given, self.config.run)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what a run needs beside model, data and trainer."""
        parser.add_argument(
            "--run",
            type=str | None,
            default=None,
            help="Run folder (default: the one whose config.yaml is given, else runs/METHOD/foldN).",
        )
        parser.add_argument(
            "--method",
            type=str | None,
            default=None,
            help="Name of the method in metrics.csv and figures (default: the model's class).",
        )
        parser.add_argument("-q", "--quiet", action="store_true", help="Print errors and warnings alone.")
        parser.add_argument("--force", type=bool, default=False, help="Overwrite the results in the run folder.")
        parser.add_argument(
            "--ckpt_path",
            type=str | None,
            default=None,
            help="A file, or `last` or `best` of the run folder. fit resumes from it; the others default to best.",
        )
        parser.add_argument(
            "--test_at_end", type=bool, default=True, help="Whether fit ends by testing the best model."
        )
        parser.add_argument(
            "--channels_last", type=bool, default=True, help="Memory format of the network: faster where supported."
        )
        parser.link_arguments("data", "model.init_args.labels", compute_fn=_labels_of, apply_on="instantiate")
        parser.link_arguments("data", "model.init_args.in_channels", compute_fn=_channels_of, apply_on="instantiate")
        parser.set_defaults({"model": {"class_path": "nasoseg.TwoStageUNet"}})

    def before_instantiate_classes(self) -> None:
        """Settle the run folder, and what is always on."""
        self.run_folder = Path(self.config.run or self._default_run())
        live = self.config.trainer.enable_progress_bar is not False and is_live(Console())
        trainer = self.config.trainer
        if self.command != "fit" or self.config.ckpt_path is not None:
            self.config.data.split = settle_split(self.run_folder, self.config.data.split)
        if trainer.precision is None:
            trainer.precision = default_precision(trainer.accelerator, trainer.plugins)
        trainer.enable_progress_bar = False  # Lightning's own
        trainer.logger = with_own_wandb(trainer.logger)
        self.trainer_defaults["callbacks"] = self._callbacks(self._progress(live=live))

    def instantiate_classes(self) -> None:
        """Build what the config names; word what its classes raise."""
        try:
            super().instantiate_classes()
        except NasosegError:
            raise
        except Exception as error:  # whatever a class of the config raises, wrapped by the parser or not
            raise own_error(error) or NasosegError(f"config: {one_screen(error)}") from error

    def instantiate_trainer(self, **kwargs: Any) -> lightning.Trainer:
        """Build the trainer with the run folder's logs, and with atomic checkpoints unless others are configured."""
        configured = self.config_init.trainer
        kwargs["logger"] = settle_loggers(
            configured.logger,
            command=self.command,
            folder=self.run_folder,
            data=self.datamodule,
            method=self._method,
            resuming=bool(checkpoint_to_resume(self.run_folder, self.config.ckpt_path)),
            beside_best=is_beside_best(self.run_folder, self._checkpoint),
        )
        plugins = (
            list(configured.plugins or []) if isinstance(configured.plugins, list | None) else [configured.plugins]
        )
        if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
            kwargs["plugins"] = [*plugins, AtomicCheckpointIO()]
        trainer: lightning.Trainer = super().instantiate_trainer(default_root_dir=str(self.run_folder), **kwargs)
        return trainer

    def fit(self) -> None:
        """Train, keep the best checkpoint by validation DSC, and test it."""
        check_validated(self.config.trainer, epochs=self.trainer.max_epochs or -1)
        resume = checkpoint_to_resume(self.run_folder, self.config.ckpt_path)
        keeps = self.trainer.is_global_zero and not self._is_trial
        claims = keeps and resume is None  # the others begin after the first
        if claims:
            check_free(self.run_folder, force=self.config.force)
        self.datamodule.prepare_data()
        self.datamodule.setup("fit")
        if resume is not None:
            check_same_data(self.run_folder, self.datamodule)
            check_resumable(resume, self.model)
        with alone_in(self.run_folder) if keeps else nullcontext():
            if claims:  # now, because what was asked for can be done
                claim_run_folder(self.run_folder, force=self.config.force)
            if keeps:
                self._write_run(resuming=resume is not None)
            self._train(resume)

    def _train(self, resume: Path | None) -> None:
        if self.config.channels_last:
            self.model.to(memory_format=torch.channels_last)
        if self.trainer.is_global_zero and not self.quiet:
            announce(self.trainer, self.model, self.datamodule)
        self._describe_run()
        self.trainer.fit(self.model, datamodule=self.datamodule, ckpt_path=resume)
        if self.trainer.interrupted:
            raise KeyboardInterrupt
        if self._is_trial:
            self._end_trial()
            return
        if self.trainer.is_global_zero:
            forget_requeue(self.run_folder)
        check_picked(self.run_folder)
        if self.config.test_at_end:
            self.test()
        else:
            self._load()  # the best, not the last
            if self.trainer.is_global_zero:
                self._write_weights()
                self._write_card()

    def validate(self) -> None:
        """Measure a checkpoint on the validation patients."""
        self._load()
        self.trainer.validate(self.model, datamodule=self.datamodule, verbose=not self.quiet)

    def test(self) -> None:
        """Measure a checkpoint on the test patients; write and print the table.

        What is written of another checkpoint than the best lies beside the best one's, and never takes its place.
        """
        path = self._load()
        beside_best = is_beside_best(self.run_folder, self._checkpoint)
        if self.command == "test":
            self._describe_run()
        self.trainer.test(self.model, datamodule=self.datamodule, verbose=False)
        scores = self.model.test_scores
        if self._is_trial:
            self._say_trial()
            return
        if not self.trainer.is_global_zero or scores is None:
            return
        metrics = self.run_folder / (f"metrics-{path.stem}.csv" if beside_best else METRICS)
        data = self.datamodule
        context = result_context(data.store, data.split, method=self._method, fold=data.fold)
        is_best = path.resolve() == best_checkpoint(self.run_folder).resolve()
        if is_best:
            self._write_weights()
        with writing(metrics):
            self.run_folder.mkdir(parents=True, exist_ok=True)
        write_metrics(metrics, scores, context=context)
        for logger in wandb_runs(self.trainer):
            log_table(logger, metrics)
        if is_best:
            self._write_card()
        if not self.quiet:
            of = f", {path.name}" if beside_best else ""
            title = f"{self._method}{of}, test patients of fold {data.fold}, protocol {data.protocol}"
            print_scores(scores, title=title)
            print(f"metrics: {metrics}" if beside_best else f"run folder: {self.run_folder}")

    def predict(self) -> None:
        """Write the masks of the test patients as NIfTI on their original grids.

        Those of another checkpoint than the best lie beside the best one's, and never take their place.
        """
        self._load()
        self.trainer.predict(self.model, datamodule=self.datamodule, return_predictions=False)
        if self.trainer.is_global_zero and not self.quiet:
            print(f"predictions: {self._predictions}")

    @property
    def _predictions(self) -> Path:
        """Where masks are written."""
        beside_best = is_beside_best(self.run_folder, self._checkpoint)
        return self.run_folder / (f"predictions-{Path(str(self._checkpoint)).stem}" if beside_best else "predictions")

    @property
    def _is_trial(self) -> bool:
        """Whether a few batches are tried, of which nothing is kept."""
        return bool(self.config.trainer.fast_dev_run)

    def _end_trial(self) -> None:
        if self.config.test_at_end:
            self.trainer.test(self.model, datamodule=self.datamodule, verbose=False)
        self._say_trial()

    def _say_trial(self) -> None:
        if self.trainer.is_global_zero and not self.quiet:
            print("trainer.fast_dev_run: a few batches went through; nothing was kept")

    @property
    def _method(self) -> str:
        return self.config.method or type(self.model).__name__

    def _describe_run(self) -> None:
        """Tell W&B, where it is asked for, what the run is."""
        loggers = wandb_runs(self.trainer)
        if not loggers or not self.trainer.is_global_zero:
            return
        config = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        settings = {key: config.get(key) for key in ("seed_everything", "model", "data", "trainer", "channels_last")}
        for key in ("logger", "callbacks", "plugins", "default_root_dir"):
            settings["trainer"].pop(key, None)
        facts = run_facts(self.model, self.datamodule, method=self._method)
        for logger in loggers:
            logger.log_hyperparams(settings | facts)
            log_store(logger, self.datamodule.store)

    @property
    def _checkpoint(self) -> str | None:
        """Which checkpoint is measured, or read for prediction."""
        named: str | None = self.config.ckpt_path
        return "best" if self.command == "fit" else named

    def _load(self) -> Path:
        path = find_checkpoint(self.run_folder, self._checkpoint)
        if self.command != "fit":
            check_same_data(self.run_folder, self.datamodule)
        load_weights(self.model, load_checkpoint(path)["state_dict"], where=str(path))
        if self.config.channels_last:
            self.model.to(memory_format=torch.channels_last)
        return path

    def _default_run(self) -> str:
        method = self.config.model.class_path.rpartition(".")[2].lower()
        return f"runs/{method}/fold{self.config.data.fold}"

    def _write_run(self, *, resuming: bool) -> None:
        try:
            if resuming:
                forget_results(self.run_folder)
            self.run_folder.mkdir(parents=True, exist_ok=True)
            self.datamodule.split.save(self.run_folder / "split.json")
            with whole_file(self.run_folder / f"{TRAINING_DATA}.json") as temporary:
                describe_training_data(self.datamodule).write(temporary)
            self.config.data.labels = list(self.datamodule.labels)
            self.config.run = str(self.run_folder)
            config = self.config.clone()
            config.force, config.ckpt_path = False, None  # of this call, not of the run
            text = self.parser.dump(config, skip_none=False)
            with whole_file(self.run_folder / "config.yaml") as temporary:
                temporary.write_text(text, encoding="utf-8")
            facts = start_facts(self.trainer, self.model, self.datamodule, method=self._method)
            record_start(self.run_folder, facts, resuming=resuming)
        except OSError as error:
            raise NasosegError(f"--run: {self.run_folder} cannot be written ({error}): choose another") from error

    def _write_weights(self) -> None:
        write_weights(self.run_folder / "checkpoints" / WEIGHTS, self.model)
        for logger in wandb_runs(self.trainer):
            log_model(logger, self.run_folder)

    def _write_card(self) -> None:
        from nasoseg.report.model_card import write_model_card  # it loads slowly, and is needed at the end

        write_model_card(self.run_folder)

    def _progress(self, *, live: bool) -> EpochLines:
        if self.quiet:
            return EpochLines(Console(quiet=True))
        return LiveBar() if live else EpochLines()

    def _callbacks(self, progress: lightning.Callback) -> list[lightning.Callback]:
        if self.command == "fit":
            validated_every = self.config.trainer.check_val_every_n_epoch or 1
            about = {"logs": self.config.trainer.logger is not False, "panels": has_wandb(self.config.trainer.logger)}
            return [progress, *training_callbacks(self.run_folder, validated_every=validated_every, **about)]
        if self.command == "predict":
            return [progress, NiftiPredictions(self._predictions, force=self.config.force)]
        return [progress]


def _labels_of(data: SliceDataModule) -> list[str]:
    return data.labels


def _channels_of(data: SliceDataModule) -> int:
    return data.in_channels
