import os

from generated_benchmark import write_benchmark

from nasoseg.comparison.jobs import make_jobs
from nasoseg.comparison.plan import read_plan


def jobs_of(store, folder, **changes):
    return make_jobs(read_plan(write_benchmark(folder, store, **changes)), ("--trainer.max_epochs", "2"))


def test_every_method_comes_before_the_next_fold(small_store, tmp_path):
    jobs = jobs_of(small_store, tmp_path, only_folds=[0, 1], protocols={"clean": "all", "paper": ["unet"]})
    assert [job.name for job in jobs] == [
        "clean/unet/fold0",
        "clean/two_stage/fold0",
        "clean/unet/fold1",
        "clean/two_stage/fold1",
        "paper/unet/fold0",
        "paper/unet/fold1",
    ]


def test_the_methods_file_and_the_overrides_come_after_what_is_shared(small_store, tmp_path):
    arguments = jobs_of(small_store, tmp_path)[0].arguments
    configs = [arguments[i + 1] for i, part in enumerate(arguments) if part == "--config"]
    assert configs == [str(tmp_path / "shared.yaml"), str(tmp_path / "unet.yaml")]
    assert arguments.index("--trainer.max_epochs") > arguments.index(configs[1])


def test_what_is_left_goes_by_the_files_that_are_there(small_store, tmp_path):
    job = jobs_of(small_store, tmp_path)[0]
    assert [command[3] for command in job.commands()] == ["fit", "test", "predict"]
    assert "--force" in job.commands()[0]
    checkpoints = job.run / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "last.ckpt").touch()
    assert job.commands()[0][-2:] == ("--ckpt_path", "last")
    (checkpoints / "best.safetensors").touch()
    assert [command[3] for command in job.commands()] == ["test", "predict"]
    (job.run / "metrics.csv").touch()
    assert [command[3] for command in job.commands()] == ["predict"]


def test_a_claimed_job_is_not_claimed_twice_even_when_only_a_child_holds_it(small_store, tmp_path):
    job = jobs_of(small_store, tmp_path)[0]
    with job.claimed() as descriptor:
        inherited = os.dup(descriptor)  # as a child process has it
        with job.claimed() as second:
            assert second is None
    with job.claimed() as after:
        assert after is None
    os.close(inherited)
    with job.claimed() as free:
        assert free is not None
