"""Ordinary settings of Lightning's trainer, as a user gives them to fit."""

import torch
import yaml

SHORT = ["--trainer.limit_train_batches", 1, "--trainer.limit_val_batches", 1, "--test_at_end", "false"]


def logged(run, name):
    columns, *rows = ((run / "logs" / "metrics.csv").read_text()).splitlines()
    place = columns.split(",").index(name)
    return [float(row.split(",")[place]) for row in rows if row.split(",")[place]]


def test_a_schedule_may_follow_the_validation(tiny, nasoseg_command, tmp_path):
    """Of every second epoch: the others have none. A patience of 0 and a threshold that nothing reaches halve each."""
    config = yaml.safe_load(tiny.read_text())
    settings = {"mode": "max", "factor": 0.5, "patience": 0, "threshold": 10.0}
    schedule = {"class_path": "torch.optim.lr_scheduler.ReduceLROnPlateau", "init_args": settings}
    config["model"]["init_args"]["lr_scheduler"] = schedule
    tiny.write_text(yaml.safe_dump(config))
    command = ["fit", "--config", tiny, *SHORT, "--trainer.check_val_every_n_epoch", 2]
    ended = nasoseg_command(*command, "--trainer.max_epochs", 5)
    assert ended.code == 0, ended.err
    assert logged(tmp_path / "run", "lr-Adam") == [0.001, 0.001, 0.001, 0.001, 0.0005]
    ended = nasoseg_command(
        *command, "--trainer.max_epochs", 2, "--model.init_args.lr_interval", "step", "--force", "true"
    )
    assert ended.code == 1
    assert "model.lr_interval: found 'step' with ReduceLROnPlateau" in ended.err


def test_loggers_may_be_off(tiny, nasoseg_command, tmp_path):
    ended = nasoseg_command("fit", "--config", tiny, *SHORT, "--trainer.logger", "false")
    assert ended.code == 0, ended.err
    assert not (tmp_path / "run" / "logs").exists()
    assert (tmp_path / "run" / "checkpoints" / "best.safetensors").is_file()


def test_a_trial_keeps_nothing(tiny, trained, nasoseg_command, tmp_path):
    ended = nasoseg_command("fit", "--config", tiny, "--trainer.fast_dev_run", "true")
    assert ended.code == 0, ended.err
    assert "nothing was kept" in ended.out
    assert not (tmp_path / "run").exists()
    metrics = (trained[0] / "metrics.csv").read_bytes()
    ended = nasoseg_command("test", "--config", trained[0] / "config.yaml", "--trainer.fast_dev_run", "true")
    assert ended.code == 0, ended.err
    assert (trained[0] / "metrics.csv").read_bytes() == metrics


def test_an_end_before_the_first_epochs_is_told(tiny, nasoseg_command, tmp_path):
    ended = nasoseg_command("fit", "--config", tiny, "--trainer.max_steps", 1)
    assert ended.code == 1
    assert "training ended (trainer.max_steps or max_time) before an epoch" in ended.err
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 1
