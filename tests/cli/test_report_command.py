"""`nasoseg report` on a run that the command line trained: the page, and what is refused before any work."""

import pytest


@pytest.fixture(scope="module")
def reported(trained, tmp_path_factory, nasoseg_command):
    run, _ = trained
    out = tmp_path_factory.mktemp("reported") / "page"
    return nasoseg_command("report", run, "--out", out, "--organs", "Brainstem, Mandible"), out


def test_a_trained_run_becomes_a_page(reported, small_store):
    ended, out = reported
    assert ended.code == 0, ended.err
    assert f"report: {out / 'report.html'} (" in ended.out
    page = (out / "report.html").read_text()
    for text in ("TwoStageUNet", small_store.content_sha256, "the 2 organs Brainstem, Mandible", 'id="cases-data"'):
        assert text in page
    # The log that Lightning wrote has been read.
    assert "No run has a log of its training" not in page


def test_a_page_that_is_there_is_kept_without_force(reported, trained, nasoseg_command):
    _, out = reported
    ended = nasoseg_command("report", trained[0], "--out", out)
    assert ended.code == 1
    assert "report.html exists already: choose another folder, or pass --force" in ended.err


def test_a_run_that_is_not_there_is_an_error(tmp_path, nasoseg_command):
    ended = nasoseg_command("report", tmp_path / "gone", "--out", tmp_path / "page")
    assert ended.code == 1
    assert f"{tmp_path / 'gone'}: no such file or folder: expected a run folder or its metrics.csv" in ended.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reference", "Unet"], "reference: the results have no method 'Unet'"),
        (["--organs", "Brainstam"], "has no structure 'Brainstam': did you mean 'Brainstem'?"),
        (["--store", "gone.h5"], "gone.h5: no such store"),
    ],
)
def test_what_is_not_there_is_an_error(trained, tmp_path, nasoseg_command, arguments, message):
    ended = nasoseg_command("report", trained[0], "--out", tmp_path / "page", *arguments)
    assert ended.code == 1
    assert message in ended.err
    assert not (tmp_path / "page").exists()
