import pytest
from jsonargparse import Namespace
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

import nasoseg
from nasoseg.cli.loggers import has_wandb, settle_loggers, with_own_wandb
from nasoseg.errors import NasosegError
from nasoseg.tasks.wandb_run import WandbRun


def lightnings(**arguments):
    return Namespace(class_path="lightning.pytorch.loggers.WandbLogger", init_args=Namespace(arguments))


def test_lightnings_class_becomes_ours_with_what_it_was_given():
    given = lightnings(name="a", save_dir=".", version="x1", offline=True, project=None, log_model="all", prefix="")
    given.dict_kwargs = {"entity": "team"}
    found = with_own_wandb([given])[0]
    assert found.class_path == "nasoseg.tasks.wandb_run.WandbRun"
    assert vars(found.init_args) == {"name": "a", "id": "x1", "offline": True, "log_model": True, "entity": "team"}
    assert has_wandb([found])
    assert not has_wandb(None)


def test_other_loggers_stay_as_they_are():
    other = Namespace(class_path="lightning.pytorch.loggers.CSVLogger", init_args=Namespace(save_dir="x"))
    assert with_own_wandb(other) is other
    assert with_own_wandb(False) is False


def test_an_argument_that_ours_lacks_is_told():
    with pytest.raises(NasosegError, match=r"trainer\.logger\.prefix: .*project"):
        with_own_wandb(lightnings(prefix="p"))


@pytest.fixture
def settle(small_store, tmp_path):
    data = nasoseg.SliceDataModule(small_store.path, folds=4, protocol="paper", fold=2)

    def settled(configured, command="fit", **options):
        return settle_loggers(configured, command=command, folder=tmp_path, data=data, method="unet", **options)

    return settled


def test_the_csv_log_is_always_there_unless_loggers_are_off(settle, tmp_path):
    assert [type(logger) for logger in settle(None)] == [CSVLogger]
    board = TensorBoardLogger(tmp_path)
    assert [type(logger) for logger in settle(board)] == [TensorBoardLogger, CSVLogger]
    assert [type(logger) for logger in settle([CSVLogger(tmp_path)])] == [CSVLogger]
    assert settle(False) is False
    assert settle(None, command="test") is False


def test_protocols_are_groups_of_their_own_and_given_names_stay(settle, tmp_path):
    logger, _ = settle(WandbRun(name="mine"))
    assert logger.folder == tmp_path
    named = {key: logger.arguments[key] for key in ("name", "group", "job_type", "tags")}
    assert named == {"name": "mine", "group": "unet, paper", "job_type": "fold2", "tags": ["paper"]}


def test_validation_and_prediction_alone_are_not_recorded(settle):
    assert settle(WandbRun(), command="predict") is False
    assert settle([WandbRun()], command="validate") is False


def test_of_tests_only_the_best_models_is_recorded(settle):
    assert settle(WandbRun(), command="test", beside_best=True) is False
    (logger,) = settle(WandbRun(), command="test")
    assert isinstance(logger, WandbRun)
