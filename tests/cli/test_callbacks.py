"""The checkpoints that fit keeps, in a run folder that was moved and beside a user's own."""

import shutil

import torch
import yaml


def state_of_best(run):
    states = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["callbacks"]
    (found,) = (state for key, state in states.items() if key.startswith("KeptCheckpoint") and state["monitor"])
    return found


def resume(run, nasoseg_command, *arguments):
    command = ["fit", "--config", run / "config.yaml", "--run", run, "--ckpt_path", "last", "--test_at_end", "false"]
    return nasoseg_command(*command, *arguments)


def claim_a_score(run, score, *, older=False):
    """Write into a run's last checkpoint what its best epoch reached; ``older`` under Lightning's own key."""
    path = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    states = checkpoint["callbacks"]
    for key in [key for key in states if key.startswith("KeptCheckpoint")]:
        state = states.pop(key)
        states[key.replace("KeptCheckpoint", "ModelCheckpoint") if older else key] = state
        if state["monitor"]:
            (place,) = state["best_k_models"]
            state |= {"best_model_score": score, "kth_value": score, "best_k_models": {place: score}}
    torch.save(checkpoint, path)


def test_a_moved_run_knows_its_best_score(trained, nasoseg_command, tmp_path):
    run = shutil.copytree(trained[0], tmp_path / "moved")
    claim_a_score(run, torch.tensor(0.99))
    best = (run / "checkpoints" / "best.ckpt").read_bytes()
    ended = resume(run, nasoseg_command, "--trainer.max_epochs", 2)
    assert ended.code == 0, ended.err
    assert (run / "checkpoints" / "best.ckpt").read_bytes() == best
    state = state_of_best(run)
    assert float(state["best_model_score"]) == float(torch.tensor(0.99))
    assert state["best_model_path"] == state["kth_best_model_path"] == str(run / "checkpoints" / "best.ckpt")
    assert list(state["best_k_models"]) == [state["best_model_path"]]
    assert state["dirpath"] == str(run / "checkpoints")


def test_a_run_that_was_begun_with_lightnings_class_knows_it_too(trained, nasoseg_command, tmp_path, recwarn):
    run = shutil.copytree(trained[0], tmp_path / "older")
    claim_a_score(run, torch.tensor(0.99), older=True)
    best = (run / "checkpoints" / "best.ckpt").read_bytes()
    ended = resume(run, nasoseg_command, "--trainer.max_epochs", 2)
    assert ended.code == 0, ended.err
    assert (run / "checkpoints" / "best.ckpt").read_bytes() == best
    assert [str(found.message) for found in recwarn if "callbacks used to create" in str(found.message)]


def test_a_users_own_checkpoint_stands_beside_ours(tiny, nasoseg_command, tmp_path):
    config = yaml.safe_load(tiny.read_text())
    own = {"dirpath": str(tmp_path / "own"), "monitor": "val/dsc", "mode": "max", "save_on_train_epoch_end": True}
    config["trainer"]["callbacks"] = [
        {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": own},
        {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": {"dirpath": str(tmp_path / "all")}},
    ]
    config["test_at_end"] = False
    tiny.write_text(yaml.safe_dump(config))
    ended = nasoseg_command("fit", "--config", tiny)
    assert ended.code == 0, ended.err
    assert len(list((tmp_path / "own").iterdir())) == len(list((tmp_path / "all").iterdir())) == 1
    assert (tmp_path / "run" / "checkpoints" / "best.safetensors").is_file()
