"""The card that fit and test leave in a run folder, and where it goes from there."""

import json
import shutil

import nasoseg
from nasoseg.evaluation import read_results, summarise


def test_a_run_has_a_card_that_tells_of_no_patient(trained, small_store):
    run, _ = trained
    text = (run / "model_card.md").read_text(encoding="utf-8")
    split = nasoseg.Split.load(run / "split.json", small_store)
    for words in (small_store.content_sha256, split.sha256, "8 train, 1 validation, 3 test", "class_path: torch.optim"):
        assert words in text
    row = summarise(read_results([run / "metrics.csv"]), metric="dsc").set_index("structure").loc["all"]
    assert f"| all | {row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}] |" in text
    facts = json.loads((run / "run.json").read_text())["starts"]
    assert [fact["annotated"]["test"] for fact in facts] == [split.annotated_counts(small_store, 0)["test"]]
    for written in (text, (run / "run.json").read_text()):
        for secret in (*small_store.keys, str(run.parent), small_store.path.name):
            assert secret not in written


def test_test_writes_it_anew(trained, nasoseg_command, tmp_path):
    run = shutil.copytree(trained[0], tmp_path / "run")
    (run / "model_card.md").write_text("old")
    ended = nasoseg_command("test", "--config", run / "config.yaml", "--run", run, "-q")
    assert (ended.code, ended.out) == (0, ""), ended.err
    assert (run / "model_card.md").read_text() == (trained[0] / "model_card.md").read_text()


def test_it_goes_with_the_model(trained, tmp_path):
    run, _ = trained
    text = (run / "model_card.md").read_text(encoding="utf-8")
    model = nasoseg.load(run)
    assert model.model_card == text
    assert nasoseg.load(run / "checkpoints" / "last.ckpt").model_card is None  # it is of the best
    model.save_pretrained(tmp_path / "shared")
    assert (tmp_path / "shared" / "README.md").read_text(encoding="utf-8").endswith(text)
    shared = nasoseg.load(tmp_path / "shared")
    assert shared.training_data == model.training_data
    shared.save_pretrained(tmp_path / "again")
    for name in ("README.md", "config.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "shared" / name).read_bytes()
    shared.save_pretrained(tmp_path / "again", card="# Mine")
    assert (tmp_path / "again" / "README.md").read_text().endswith("---\n\n# Mine")
