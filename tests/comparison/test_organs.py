"""The organs of a benchmark's headline: looked for before it begins, by any spelling."""

import pytest
from generated_benchmark import write_benchmark

from nasoseg.cli import main
from nasoseg.comparison.benchmark import _score
from nasoseg.comparison.jobs import Job


def test_a_misspelled_organ_is_told_before_anything_runs(small_store, tmp_path, capsys):
    config = write_benchmark(tmp_path, small_store, organs=["Brain Stem", "Mandibel"])
    assert main(["benchmark", str(config), "--dry-run"]) == 1
    said = capsys.readouterr().err
    assert f"{config}: organs: {small_store.path} has no structure 'Mandibel': did you mean 'Mandible'?" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("organs", [["Brainstem", "Mandible"], ["Brain Stem", "Bone_Mandible"]])
def test_the_board_shows_the_headline_of_organs_by_any_spelling(tmp_path, organs):
    job = Job("unet", "clean", 0, tmp_path, ())
    rows = [("p", "Brainstem", 0.5), ("q", "Brainstem", 0.7), ("p", "Mandible", 0.8), ("p", "Larynx", 0.1)]
    lines = [f"{patient},{name},volume,dsc,{value}" for patient, name, value in rows]
    (tmp_path / "metrics.csv").write_text("\n".join(["patient,structure,averaging,metric,value", *lines]) + "\n")
    assert _score(job, organs) == pytest.approx((0.6 + 0.8) / 2)
    assert _score(job, []) == pytest.approx((0.6 + 0.8 + 0.1) / 3)
