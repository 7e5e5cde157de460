"""The configs of the accuracy benchmark fit together: as much training for nnU-Net as for all other methods."""

from pathlib import Path

import yaml

ACCURACY = Path(__file__).parents[2] / "benchmarks" / "accuracy"
BATCHES = (350, 369)  # fewest and most an epoch of OpenKBP-124's five folds, 16 crops each


def test_nnunet_takes_as_many_steps_of_as_many_images_as_the_others():
    shared = yaml.safe_load((ACCURACY / "openkbp.yaml").read_text(encoding="utf-8"))
    nnunet = yaml.safe_load((ACCURACY / "methods" / "nnunet.yaml").read_text(encoding="utf-8"))["nnunet"]
    least, most = (batches * shared["trainer"]["max_epochs"] for batches in BATCHES)
    assert least <= nnunet["epochs"] * nnunet["iterations_per_epoch"] <= most
    assert nnunet["batch_size"] == shared["data"]["batch_size"]


def test_every_schedule_ends_with_the_training():
    epochs = yaml.safe_load((ACCURACY / "openkbp.yaml").read_text(encoding="utf-8"))["trainer"]["max_epochs"]
    for path in sorted((ACCURACY / "methods").glob("*.yaml")):
        method = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "model" in method:
            assert method["model"]["init_args"]["lr_scheduler"]["init_args"]["T_max"] == epochs, path.name
