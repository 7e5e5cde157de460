import io

import pytest
from rich.console import Console

import nasoseg
from nasoseg.tasks.progress import EpochLines, LiveBar

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*LeafSpec", "ignore:The number of training batches"
)


def test_a_terminal_gets_a_bar_with_loss_speed_and_time_left(data, make_trainer, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(
        "nasoseg.tasks.progress.Console",
        lambda **_: Console(file=screen, force_terminal=True, width=100, color_system=None),
    )
    model = nasoseg.UNet(labels=data.labels, width=4)
    trainer = make_trainer(callbacks=[LiveBar()], max_epochs=2)
    trainer.fit(model, datamodule=data)
    trainer.test(model, datamodule=data, verbose=False)
    shown = screen.getvalue()
    for words in ("training", "epoch 2", "loss 0.", "images/s", "validating", "testing", "epoch 2/2"):
        assert words in shown
    assert "\x1b[?25h" in shown.rpartition("\x1b[?25l")[2]  # the cursor is given back


def test_training_until_a_time_has_a_bar_without_an_end(data, make_trainer, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(
        "nasoseg.tasks.progress.Console",
        lambda **_: Console(file=screen, force_terminal=True, width=100, color_system=None),
    )
    trainer = make_trainer(callbacks=[LiveBar()], max_epochs=-1, max_time="00:00:00:01", limit_train_batches=1)
    trainer.fit(nasoseg.UNet(labels=data.labels, width=4), datamodule=data)
    assert "epoch 1  loss 0." in screen.getvalue()
    assert "/-1" not in screen.getvalue()


def test_a_bar_does_not_outlive_an_error(data, make_trainer, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(
        "nasoseg.tasks.progress.Console",
        lambda **_: Console(file=screen, force_terminal=True, width=100, color_system=None),
    )
    bar = LiveBar()
    with pytest.raises(nasoseg.NasosegError):
        make_trainer(callbacks=[bar]).fit(nasoseg.UNet(labels=["Larynx"], width=4), datamodule=data)
    assert not bar._bar.live.is_started


def test_a_pipe_gets_a_line_an_epoch(data, make_trainer):
    lines = io.StringIO()
    model = nasoseg.UNet(labels=data.labels, width=4)
    make_trainer(callbacks=[EpochLines(Console(file=lines))], max_epochs=2).fit(model, datamodule=data)
    first, second = lines.getvalue().splitlines()
    assert first.startswith("epoch 1/2  loss 0.")
    assert second.startswith("epoch 2/2  loss 0.")
    assert "images/s" in second
