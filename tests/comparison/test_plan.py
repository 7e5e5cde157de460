import re

import pytest
import yaml
from generated_benchmark import write_benchmark

from nasoseg.cli import main
from nasoseg.comparison.plan import read_plan
from nasoseg.errors import NasosegError


def test_a_plan_holds_what_the_file_says(small_store, tmp_path):
    path = write_benchmark(tmp_path, small_store, protocols={"clean": "all", "paper": ["unet"]}, organs=["Mandible"])
    plan = read_plan(path)
    assert plan.protocols == {"clean": ("unet", "two_stage"), "paper": ("unet",)}
    assert [method.name for method in plan.methods] == ["unet", "two_stage"]
    assert plan.only_folds == (0,)
    assert plan.organs == ("Mandible",)
    assert plan.reference == "unet"
    assert plan.shared == (tmp_path / "shared.yaml",)


def test_arguments_go_before_the_file(small_store, tmp_path):
    path = write_benchmark(tmp_path, small_store, protocols={"clean": "all", "paper": "all"})
    plan = read_plan(
        path, out="elsewhere", store="other.h5", methods=["two_stage"], protocols=["paper"], only_folds=[2, 1]
    )
    assert (str(plan.out), plan.store, plan.only_folds) == ("elsewhere", "other.h5", (1, 2))
    assert plan.protocols == {"paper": ("two_stage",)}
    assert plan.reference == "two_stage"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"foldes": 3}, "'folds'"),
        ({"methods": {}}, "has no 'methods'"),
        ({"methods": {"unet": "unets.yaml"}}, "there is no file"),
        ({"methods": {"../unet": "unet.yaml"}}, "it names folders"),
        ({"protocols": {"clear": "all"}}, "'clean'"),
        ({"protocols": {"clean": ["unets"]}}, "'unet'"),
        ({"folds": 1}, "2 or more"),
        ({"folds": True}, "2 or more"),
        ({"only_folds": [4]}, "from 0 to 3"),
        ({"reference": "two_stages"}, "'two_stage'"),
        ({"store": None}, "--store"),
        ({"slurm": "yes"}, "expected keys"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(changes, expected, small_store, tmp_path):
    path = write_benchmark(tmp_path, small_store, **changes)
    with pytest.raises(NasosegError, match=re.escape(expected)):
        read_plan(path)


def test_a_file_that_is_missing_or_no_yaml_is_named(tmp_path):
    with pytest.raises(NasosegError, match=r"gone\.yaml: cannot be read"):
        read_plan(tmp_path / "gone.yaml")
    (tmp_path / "bad.yaml").write_text("methods: [unet")
    with pytest.raises(NasosegError, match=r"bad\.yaml: cannot be read"):
        read_plan(tmp_path / "bad.yaml")


def test_nnunet_takes_no_part_in_the_papers_protocol(small_store, tmp_path):
    write_benchmark(tmp_path, small_store)
    (tmp_path / "nnunet.yaml").write_text(yaml.safe_dump({"nnunet": {"epochs": 1}}))
    path = write_benchmark(tmp_path, small_store, methods={"nnunet": "nnunet.yaml"}, protocols="paper")
    with pytest.raises(NasosegError, match="cases are volumes"):
        read_plan(path)


def test_folds_that_are_no_numbers_are_named(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["benchmark", "plan.yaml", "--only-folds", "a"])
    assert "argument --only-folds: found 'a', expected numbers such as 0,2" in capsys.readouterr().err
