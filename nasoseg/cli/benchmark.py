"""nasoseg benchmark: methods x folds x protocols, with statistics."""

import argparse
import sys

from nasoseg.cli.output import add_quiet
from nasoseg.errors import NasosegError, nearest

HELP = (
    "Train and test every method of a config on the same folds, and write tables, figures and statistics.\n"
    "Jobs that are done are passed over, killed ones are resumed, a failing one is reported and the others go on.\n"
    "What is not an option of this command goes to every `nasoseg fit`, such as --trainer.max_epochs 3."
)
EXAMPLE = "nasoseg benchmark benchmarks/accuracy/comparison.yaml --store openkbp.h5 --out runs/openkbp --jobs 2"
TAKES_REST = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("config", help="YAML file: methods, protocols, folds, and what all methods share")
    parser.add_argument("--store", help="store of all methods (default: the config's)")
    parser.add_argument("--out", help="folder of runs, splits and report (default: the config's, or runs/CONFIG)")
    parser.add_argument("--methods", type=_names, help="run these methods only, such as unet,two_stage")
    parser.add_argument("--protocols", type=_names, help="run these protocols only: clean, paper")
    parser.add_argument("--only-folds", type=_numbers, metavar="N,...", help="run these folds only, from 0")
    parser.add_argument("--jobs", type=int, default=1, help="jobs at once on this machine (default: 1)")
    parser.add_argument(
        "--slurm", action="store_true", help="send the jobs to SLURM, with the config's `slurm` options"
    )
    parser.add_argument("--dry-run", action="store_true", help="try one batch of every job, and stop")
    parser.add_argument("--report-only", action="store_true", help="write the report of what is done, and stop")
    add_quiet(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return 1 if a job failed."""
    from nasoseg.comparison.benchmark import report_benchmark, run_benchmark, try_benchmark
    from nasoseg.comparison.jobs import make_jobs
    from nasoseg.comparison.plan import read_plan

    if arguments.jobs < 1:
        raise NasosegError(f"--jobs: found {arguments.jobs}, expected 1 or more")
    for argument in arguments.rest:
        if argument.startswith("--") and "." not in argument:
            hint = nearest(argument, _options())
            raise NasosegError(f"argument {argument!r}: {hint} See `nasoseg benchmark --help`.")
    plan = read_plan(
        arguments.config,
        out=arguments.out,
        store=arguments.store,
        methods=arguments.methods,
        protocols=arguments.protocols,
        only_folds=arguments.only_folds,
    )
    say = _say_nothing if arguments.quiet else print
    if arguments.report_only:
        report_benchmark(plan, make_jobs(plan), say=say)
        return 0
    if arguments.dry_run:
        jobs, faults = try_benchmark(plan, overrides=arguments.rest, say=say)
        say(f"{len(jobs)} jobs: {len(jobs) - len(faults)} can run, {len(faults)} cannot")
    else:
        how = {"slurm": arguments.slurm, "quiet": arguments.quiet}
        faults = run_benchmark(plan, at_once=arguments.jobs, overrides=arguments.rest, say=say, **how)
    if arguments.quiet or not arguments.dry_run:
        for name, fault in faults.items():
            print(f"failed: {name}: {fault}", file=sys.stderr if arguments.quiet else sys.stdout)
    return 1 if faults else 0


def _say_nothing(line: str) -> None:
    pass


def _options() -> list[str]:
    """List the command's own options."""
    parser = argparse.ArgumentParser(add_help=False)
    add_arguments(parser)
    return [option for action in parser._actions for option in action.option_strings]


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _numbers(text: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected numbers such as 0,2") from None
