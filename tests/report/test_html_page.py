"""The HTML page: what is on it, that it loads nothing, that no name can act, and what is said of what is missing."""

import json
import re
import resource
import shutil
import signal
from html.parser import HTMLParser
from pathlib import Path

import pytest
from page_runs import EVIL_METHOD, EVIL_PATIENT, EVIL_STRUCTURE, ORGANS, write_whole_run

from nasoseg.errors import NasosegError
from nasoseg.report.page import write_page
from nasoseg.report.page.runs import worded

FAST = {"resamples": 20}


class Page(HTMLParser):
    """Take a page apart: tags with attributes, texts of cells, and data of its scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.texts: list[str] = []
        self.data: dict[str, object] = {}
        self._open = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = tag
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag):
        self._open = ""

    def handle_data(self, data):
        last = self.tags[-1][1] if self.tags else {}
        if self._open == "script" and last.get("type") == "application/json":
            self.data[last.get("id") or last["class"]] = json.loads(data)
        elif self._open == "td":
            self.cells[-1] += data
        elif self._open not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def test_the_page_shows_everything_and_loads_nothing(written, small_store):
    page = Page(written)
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {
        "summary",
        "findings",
        "table-1",
        "structures",
        "patients",
        "cases",
        "figures",
        "curves",
        "provenance",
    } <= ids
    assert small_store.content_sha256 in page.text
    assert "Mean ranks (1 is best)" in page.text
    loaded = [a[key] for _, a in page.tags for key in ("src", "href") if key in a]
    assert loaded
    assert all(address.startswith(("data:", "#")) for address in loaded)
    assert "http://" not in re.sub(r"data:[^\"]+", "", written.read_text()).replace("http://www.w3.org/2000/svg", "")
    pictures = [a for tag, a in page.tags if tag == "img"]
    assert len(pictures) == 5  # Fig. 3, 4, 5, structures, curves; leakage says why it is not there
    assert all(picture["alt"] for picture in pictures)
    assert "There are results of one protocol only." in page.text
    assert "default-src 'none'" in next(a["content"] for _, a in page.tags if "http-equiv" in a)
    assert str(small_store.path.parent) not in written.read_text()


def test_names_are_text_and_never_tags(written):
    page = Page(written)
    assert not [a for _, a in page.tags if "onerror" in a]
    assert {tag for tag, _ in page.tags}.isdisjoint({"b"})
    assert sum(tag == "script" for tag, _ in page.tags) == 4  # two tables, the cases, and our own
    assert {EVIL_METHOD, EVIL_STRUCTURE, EVIL_PATIENT} <= set(page.cells)
    assert EVIL_METHOD in page.data["cases-data"]["looks"]["methods"]


def test_the_cases_hold_slices_and_the_contours_of_truth_and_methods(written, small_store):
    data = Page(written).data["cases-data"]
    case = data["cases"][0]
    assert case["rule"] == "worst"
    assert [one["rule"] for one in data["cases"]] == ["worst", "median", "best"]  # three patients in the fold
    assert case["methods"] == ["truth (annotated)", EVIL_METHOD, "two_stage"]
    assert case["total"] == 8
    drawn = [one for one in case["slices"] if all(one["paths"])]
    assert drawn
    key = next(iter(drawn[0]["paths"][0]))
    truth, shifted = (re.findall(r"M(\d+) (\d+)", paths[key])[0] for paths in drawn[0]["paths"][:2])
    column_units = small_store.geometry(case["patient"]).spacing_mm[2] * 10
    assert int(shifted[0]) - int(truth[0]) == pytest.approx(column_units, abs=1)  # predictions are one column off
    assert shifted[1] == truth[1]


def test_what_a_run_lacks_is_said_and_done_without(small_store, tmp_path):
    run = tmp_path / "clean" / "unet" / "fold0"
    split = write_whole_run(run, small_store, "unet", level=0.7, structures=ORGANS)
    first, *_ = split.part(0, "test")
    shutil.rmtree(run / "predictions" / first)
    shutil.rmtree(run / "logs")
    (run / "training_data.json").unlink()
    (run / "split.json").write_text((run / "split.json").read_text().replace('"version": 1', '"version": 0'))
    begun = tmp_path / "clean" / "unet" / "fold1"
    begun.mkdir()
    split.save(begun / "split.json")
    (begun / "config.yaml").write_text("{}")
    page = Page(write_page([tmp_path], tmp_path / "page", **FAST))
    assert "Not finished, and left out: clean/unet/fold1" in page.text
    assert "No run has a log of its training that can be read." in page.text
    assert "There is no other method to compare unet with" in page.text
    lacks = " ".join(page.cells)
    assert "no training_data.json: an older nasoseg made it" in lacks
    assert "split.json was left out (found version 0, expected version 1" in lacks
    assert first not in {case["patient"] for case in page.data["cases-data"]["cases"]}


def test_without_store_or_predictions_the_page_says_so(small_store, tmp_path):
    run = tmp_path / "run"
    split = write_whole_run(run, small_store, "unet", level=0.7, structures=ORGANS, shift=None)
    page = Page(write_page([run], tmp_path / "a", **FAST))
    assert "so that only the truth is drawn" in page.text
    assert "no predictions: `nasoseg predict" in " ".join(page.cells)
    assert page.data["cases-data"]["cases"][0]["notPredicted"] == ["unet"]
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("small.h5", "gone.h5"))
    page = Page(write_page([run], tmp_path / "b", **FAST))
    said = "The store gone.h5, which the runs name, is not there or cannot be read. Pass --store with the store"
    assert f"{said} {split.store_sha256[:12]}." in page.text
    assert "cases-data" not in page.data


@pytest.mark.parametrize("relative", [False, True])
def test_an_error_on_the_page_names_no_folder_of_the_machine(relative, small_store, tmp_path, monkeypatch):
    """A folder with a space, given whole or from where one stands; what was found of it is quoted, too."""
    run = tmp_path / "Jane Doe" / "her runs" / "unet"
    split = write_whole_run(run, small_store, "unet", level=0.7, structures=ORGANS)
    store = tmp_path / "Jane Doe" / "her store.h5"
    shutil.copy(small_store.path, store)
    for key in split.part(0, "test"):
        (run / "predictions" / key / "Mandible.nii.gz").write_bytes(b"no image")
    if relative:
        monkeypatch.chdir(tmp_path / "Jane Doe")
        run, store = run.relative_to(Path.cwd()), store.relative_to(Path.cwd())
    page = Page(write_page([run], tmp_path / "page", store=store, **FAST))
    shown = page.text + json.dumps(page.data)
    assert re.search(r"unet/predictions/\S+/Mandible\.nii\.gz", shown)
    for part in ("Jane", "her runs", str(tmp_path), tmp_path.parts[1] + "/"):
        assert part not in shown


def test_other_folders_in_an_error_are_left_out_quoted_or_not(tmp_path):
    error = NasosegError(f"/home/jane/a.nii: bad: '/home/jane/b.nii' and (/data/c.nii): {tmp_path / 'run'}: no mask")
    assert worded(error, [tmp_path / "run"], None) == "a.nii: bad: 'b.nii' and (c.nii): run: no mask."


def test_a_patient_without_result_and_one_without_prediction_are_named(small_store, tmp_path):
    run = tmp_path / "run"
    split = write_whole_run(run, small_store, "unet", level=0.7, structures=ORGANS)
    first, second, *_ = split.part(0, "test")
    metrics = run / "metrics.csv"
    kept = [line for line in metrics.read_text().splitlines(keepends=True) if f",{first}," not in line]
    metrics.write_text("".join(kept))
    shutil.rmtree(run / "predictions" / second)
    lacks = " ".join(Page(write_page([run], tmp_path / "page", **FAST)).cells)
    assert f"1 test patient without a result: {first}; 1 test patient without a prediction: {second}" in lacks


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "0" * 12}, r"is of split 0{12}, but split\.json beside it is of split \w+: the folder holds files"),
        ({"store": "0" * 12}, r"is of store 0{12}, but split\.json beside it is of store"),
        ({"fold": "3"}, r"is of fold 3, but config\.yaml beside it is of fold 0"),
    ],
)
def test_a_folder_with_files_of_two_runs_is_an_error(small_store, tmp_path, change, message):
    split = write_whole_run(tmp_path, small_store, "unet", level=0.7, structures=ORGANS, shift=None)
    old = {"split": split.sha256[:12], "store": small_store.short_sha256, "fold": ",clean,0,"}
    ((name, new),) = change.items()
    metrics = tmp_path / "metrics.csv"
    metrics.write_text(metrics.read_text().replace(old[name], f",clean,{new}," if name == "fold" else new))
    with pytest.raises(NasosegError, match=message):
        write_page([tmp_path], tmp_path / "page")
    assert not (tmp_path / "page").exists()


def test_runs_of_two_splits_a_foreign_store_and_no_results_are_errors(small_store, tmp_path):
    for name in ("a", "b"):
        write_whole_run(tmp_path / name, small_store, name, level=0.7, structures=ORGANS, shift=None)
    metrics = tmp_path / "b" / "metrics.csv"
    metrics.write_text(re.sub(small_store.short_sha256, "0" * 12, metrics.read_text()))
    (tmp_path / "b" / "split.json").unlink()
    with pytest.raises(NasosegError, match="expected the same store in a comparison"):
        write_page([tmp_path], tmp_path / "page")
    with pytest.raises(NasosegError, match=r"--store: .*small\.h5 is the store \w+, the results are of 0{12}"):
        write_page([tmp_path / "b"], tmp_path / "page", store=small_store.path)
    metrics.unlink()
    with pytest.raises(NasosegError, match=r"b: no metrics\.csv in it, expected a run that was tested"):
        write_page([tmp_path / "b"], tmp_path / "page")
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(NasosegError, match=r"a\.csv: expected a file called metrics\.csv"):
        write_page([tmp_path / "a.csv"], tmp_path / "page")
    metrics.write_text("method,fold\nunet,0\n")
    with pytest.raises(NasosegError, match=r"metrics\.csv: cannot be read as results \(KeyError: 'protocol'\)"):
        write_page([tmp_path / "b"], tmp_path / "page")


def test_a_page_that_is_there_is_kept(tmp_path):
    (tmp_path / "report.html").write_text("the user's")
    with pytest.raises(NasosegError, match=r"report\.html exists already: .*--force"):
        write_page([tmp_path], tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(NasosegError, match="is a file, expected a folder"):
        write_page([tmp_path], tmp_path / "file")
    assert (tmp_path / "report.html").read_text() == "the user's"


def test_a_full_disk_leaves_the_page_that_was_there(small_store, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    write_whole_run(run, small_store, "unet", level=0.7, structures=ORGANS, shift=None)
    out.mkdir()
    (out / "report.html").write_text("the earlier one")
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(
            NasosegError, match=r"report\.html: could not be written \(File too large\): free disk space"
        ):
            write_page([run], out, force=True, **FAST)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert [file.name for file in out.iterdir()] == ["report.html"]
    assert (out / "report.html").read_text() == "the earlier one"
