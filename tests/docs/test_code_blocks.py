"""What the README and the documentation tell to type is typed here: on the sample's patients, eight slices of each."""

import argparse
import importlib
import io
import re
import shutil
import tomllib
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from code_blocks import Block, arguments_of, blocks_of, commands_of, read_page
from generated_dicom import write_ct
from generated_export import write_export
from generated_scans import tissue
from private_wandb import isolate_wandb

import nasoseg
from nasoseg.cli import COMMANDS, main, segment
from nasoseg.cli.configs import config_argument
from nasoseg.cli.quieting import quieten
from nasoseg.cli.training import TrainingCLI
from nasoseg.comparison.plan import read_plan
from nasoseg.data.store import Store
from nasoseg.export import FORMATS

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHER_PROGRAMS = ("pip", "python", "bash", "wandb", "mkdocs", "ruff", "mypy", "lint-imports", "[", "rm")

# Of commands, and of Python code: what makes them quick, and nothing else.
QUICK = {
    "prepare": ["--workers", "1"],
    "fit": ["--model.init_args.width", "4", "--trainer.max_epochs", "1", "--data.context", "0"],
}
ONE_BATCH = "max_epochs=1, limit_train_batches=1, limit_val_batches=1, enable_progress_bar=False"
NOTHING_KEPT = "enable_model_summary=False, enable_checkpointing=False"
QUICK_CODE = {
    "max_epochs=100": f'{ONE_BATCH}, {NOTHING_KEPT}, accelerator="cpu"',
    "batch_size=16": "batch_size=2",
    "torch.randn(2, 1, 512, 512)": "torch.randn(2, 1, 64, 64)",
}
# Commands that are run on the other pages; all others are parsed.
RUN = {"README.md": {"info"}, "protocols.md": {"split"}, "prepare_dicom.md": {"structures"}}
MADE_THERE = {"prepare_dicom.md": ["store.h5"]}
GIVEN = {"export.md": {"hu": np.zeros((2, 64, 64), np.float32)}}  # a scan, which that page takes for granted


class Parser(TrainingCLI):
    """The parser of the training commands; builds nothing."""

    def before_instantiate_classes(self) -> None:
        pass

    def instantiate_classes(self) -> None:
        pass


@cache
def training_parser():
    return Parser("fit", ["--data.store", "store.h5"]).parser


def parse_training(arguments: list[str]) -> None:
    # Without the defaults, which take a second and have tests of their own: all that is given is checked.
    training_parser().parse_args(config_argument(arguments), defaults=False)


def check_command(command: list[str]) -> None:
    """Check the program, the options and their values, and that the files exist that a config names."""
    arguments = arguments_of(command)
    if arguments is None:
        check_other_program(command)
        return
    name, *rest = arguments
    if name.startswith("--"):
        assert main(arguments) == 0
        return
    assert name in COMMANDS
    if name in ("fit", "validate", "test", "predict"):
        parse_training(rest)
        return
    module = importlib.import_module(f"nasoseg.cli.{name}")
    parser = argparse.ArgumentParser(prog=name)
    module.add_arguments(parser)
    given, unknown = parser.parse_known_args(rest)
    if name == "benchmark":
        read_plan(given.config, store=given.store, methods=given.methods, only_folds=given.only_folds)
        parse_training(["--config", "two_stage", *unknown])
        return
    assert not unknown
    if name == "segment":
        segment._formats(given.format, given.output)
    if name == "export":
        assert given.format in FORMATS


def check_other_program(command: list[str]) -> None:
    program, *rest = command
    assert program in OTHER_PROGRAMS
    if program == "pip":
        known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        extras = re.findall(r"(?:\.|nasoseg)\[([\w,]+)\]", " ".join(rest))
        assert {extra for group in extras for extra in group.split(",")} <= set(known)
    if program in ("python", "bash") and not rest[0].startswith("-"):
        assert (ROOT / rest[0]).is_file()


def run_python(block: Block, namespace: dict, page: Path) -> None:
    code = block.code
    for slow, quick in QUICK_CODE.items():
        code = code.replace(slow, quick)
    compiled = compile(code, f"{page.name}, line {block.line}", "exec")
    if not block.not_run:
        exec(compiled, namespace)


def follow(page: Path, *, run: set[str], given: dict | None = None) -> str:
    """Do what a page says, in the current folder, block by block; return what was printed."""
    namespace = {"__name__": "page", **(given or {})}
    with redirect_stdout(io.StringIO()) as printed:
        for block in read_page(page):
            try:
                if block.file:
                    Path(block.file).write_text(block.code)
                    importlib.invalidate_caches()  # it may be a module that the page imports next
                if block.language == "python" and not block.file:
                    run_python(block, namespace, page)
                elif block.language == "bash":
                    for command in commands_of(block):
                        name, *rest = arguments_of(command) or [""]
                        if name in run and not block.not_run:
                            assert main([name, *rest, *QUICK.get(name, [])]) == 0
                        else:
                            check_command(command)
            except BaseException as error:
                error.add_note(f"{page}, block in line {block.line}")
                raise
    return printed.getvalue()


@pytest.fixture(scope="module")
def thin_studies(small_store: Store, tmp_path_factory) -> Path:
    """The sample as it lies in the package, but of eight slices a patient."""
    root = tmp_path_factory.mktemp("thin") / "sample"
    for key in small_store.keys:
        patient = small_store.patient(key)
        affine_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ patient.affine_lps[:, [2, 1, 0, 3]]
        (root / key / "segmentations").mkdir(parents=True)
        masks = {n: (patient.labels >> i) & 1 for i, n in enumerate(small_store.names) if patient.annotated[i]}
        masks = {f"segmentations/{name}": mask.astype(np.uint8) for name, mask in masks.items() if mask.any()}
        for name, array in {"ct": patient.image, **masks}.items():
            nibabel.save(nibabel.Nifti1Image(array.transpose(2, 1, 0), affine_ras), root / key / f"{name}.nii.gz")
    return root


@pytest.fixture(scope="module")
def followed(thin_studies: Path, tmp_path_factory) -> tuple[Path, str]:
    """The folder in which the tutorial was followed to its end, and what it printed."""
    folder = tmp_path_factory.mktemp("tutorial")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("nasoseg.data.embedded.SAMPLE_ROOT", thin_studies)
        return folder, follow(TUTORIAL, run=set(COMMANDS))


def test_the_tutorial_ends_with_what_it_promises(followed):
    folder, printed = followed
    made = {path.name for path in (folder / "runs" / "first" / "predictions").iterdir()}
    tested, again = (pd.read_csv(folder / file) for file in ("runs/first/metrics.csv", "again.csv"))
    assert made == set(tested["patient"].dropna())
    assert len(made) == 3
    chosen = "averaging == 'volume' and metric in ('dsc', 'hd95', 'nsd')"
    keys = ["patient", "structure", "metric"]
    values = [table.query(chosen).set_index(keys)["value"].sort_index() for table in (tested, again)]
    pd.testing.assert_series_equal(*values)
    assert len(values[0]) > 60
    assert (folder / "masks" / "pt_100" / "Brainstem.nii.gz").is_file()
    assert (folder / "masks" / "summary.csv").is_file()
    assert "patients   12" in printed
    assert re.search(r"^patients +8/1/3 +8/1/3 +8/1/3 +8/1/3$", printed, re.MULTILINE)


@pytest.fixture
def workspace(followed, tmp_path, monkeypatch) -> Path:
    """A folder with all that the pages name: a store, runs, exports, and the project's benchmarks."""
    folder = tmp_path / "work"
    shutil.copytree(followed[0] / "runs" / "first", folder / "runs" / "two_stage" / "fold0")
    (folder / "runs" / "twostageunet").symlink_to("two_stage")
    benchmark = shutil.copytree(folder / "runs" / "two_stage", folder / "runs" / "openkbp")
    results = benchmark / "fold0" / "metrics.csv"
    results.write_text(results.read_text().replace("TwoStageUNet", "two_stage"))
    (folder / "runs" / "trial").symlink_to("two_stage/fold0")
    for name in ("store.h5", "split.json", "studies"):
        (folder / name).symlink_to(followed[0] / name)
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    return folder


def write_exports(page: Path, folder: Path) -> None:
    if page.name == "prepare_dicom.md":
        write_export(folder)
        return
    hu = np.concatenate([tissue((3, 40, 36))] * 2, axis=1)
    affine = np.array([[0, 0, 3.0, -50], [0, 3.0, 0, -60], [3.0, 0, 0, 10], [0, 0, 0, 1]])
    write_ct(folder / "patient_7", hu, affine, patient="Anna", series="Anna")


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(p, id=p.name, marks=pytest.mark.slow if p.name == "export.md" else ())  # three real conversions
        for p in PAGES
        if p != TUTORIAL
    ],
)
def test_page(page, workspace, monkeypatch):
    write_exports(page, workspace / "exports")
    for name in MADE_THERE.get(page.name, []):
        (workspace / name).unlink()
    if page.name == "wandb.md":
        isolate_wandb(monkeypatch, workspace)
    quieten()
    follow(page, run=RUN.get(page.name, set()), given=GIVEN.get(page.name))


def test_numbers_in_the_page_on_metrics_are_what_its_code_gives(workspace):
    (block,) = [b for b in read_page(ROOT / "docs" / "metrics.md") if b.language == "python"]
    namespace: dict = {}
    run_python(block, namespace, ROOT / "docs" / "metrics.md")
    written = dict(re.findall(r"^(\w+) = .*  # ([\d.]+)$", block.code, re.MULTILINE))
    assert written == {name: f"{namespace[name]:.3f}" for name in ("per_volume", "pooled")}


def test_every_shortcut_is_needed():
    code = "".join(block.code for page in PAGES for block in read_page(page))
    assert [slow for slow in QUICK_CODE if slow not in code] == []


@pytest.mark.parametrize(
    "line",
    [
        "nasoseg fit --config two_stage --data.stroe store.h5",
        "nasoseg fit --config two_stage --data.batch_size many",
        "nasoseg fit --config two_stages",
        "nasoseg fit --config two_stage --model.init_args.loss nasoseg.NoLoss",
        "nasoseg test --config runs/nothing/config.yaml",
        "nasoseg info store.h5 --jsn",
        "nasoseg split store.h5",
        "nasoseg export runs/two_stage/fold0 --format onxx",
        "nasoseg segment runs/two_stage/fold0 exports out --format rtstrukt",
        "nasoseg benchmark nothing.yaml --jobs 2",
        "nasoseg benchmark benchmarks/accuracy/comparison.yaml --trainer.maxepochs 3",
        "srun nasoseg infos store.h5",
        "nasosg info store.h5",
        "pip install 'nasoseg[onyx]'",
        "bash benchmarks/accuracy/nothing.sh",
    ],
)
def test_a_wrong_command_is_found(line, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    (block,) = blocks_of(f"```bash\n{line}\n```\n")
    (command,) = commands_of(block)
    with pytest.raises((AssertionError, SystemExit, nasoseg.NasosegError)):
        check_command(command)


def test_shell_as_the_pages_use_it():
    code = (
        'run=a/b  # c\nmore="--x 1"\nif [ -e $run ]; then more="--y 2"; fi\nA=1 srun nasoseg fit \\\n $run $more && b'
    )
    (block,) = blocks_of(f"```bash\n{code}\n```\n")
    assert [*commands_of(block)] == [["[", "-e", "a/b", "]"], ["srun", "nasoseg", "fit", "a/b", "--y", "2"], ["b"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- not run: -->\n```bash\na\n```\n", "expected <!-- not run: reason -->"),
        ("<!-- not run: a GPU -->\n\n```bash\na\n```\n", "not stand right above"),
        ("<!-- not run: a GPU -->\n", "above no block"),
        ("```sh\na\n```\n", "language 'sh'"),
    ],
)
def test_a_page_that_is_written_wrongly(text, message):
    with pytest.raises(ValueError, match=message):
        blocks_of(text)


def test_every_page_is_in_the_navigation_and_every_public_name_in_the_reference():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    pages = sorted(path.name for path in (ROOT / "docs").glob("*.md"))
    assert sorted(re.findall(r": (\w+\.md)$", navigation, re.MULTILINE)) == pages
    documented = re.findall(r"^::: nasoseg\.(\w+)$", (ROOT / "docs" / "reference.md").read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(nasoseg.__all__)
