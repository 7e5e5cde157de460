"""A whole benchmark: splits, dry run, jobs, report."""

import csv
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from nasoseg.comparison.board import Board
from nasoseg.comparison.jobs import Job, make_jobs
from nasoseg.comparison.local import run_local
from nasoseg.comparison.nnunet_environment import find_environment
from nasoseg.comparison.plan import Plan
from nasoseg.comparison.rehearsal import read_cost, rehearse
from nasoseg.comparison.slurm import run_cluster
from nasoseg.data.embedded import open_store
from nasoseg.data.splits import Protocol, Split, make_split
from nasoseg.data.store import Store
from nasoseg.errors import NasosegError, nearest
from nasoseg.labels import identity
from nasoseg.report.comparison import write_comparison
from nasoseg.tasks.results import result_context

Say = Callable[[str], None]


def run_benchmark(
    plan: Plan,
    *,
    at_once: int = 1,
    slurm: bool = False,
    overrides: Sequence[str] = (),
    say: Say = print,
    quiet: bool = False,
) -> dict[str, str]:
    """Run what is left of a benchmark, and write its report.

    Args:
        plan: What to run.
        at_once: Jobs that run together on this machine.
        slurm: Whether to send the jobs to a cluster instead.
        overrides: Further arguments of every `nasoseg fit`, such as ``--trainer.max_epochs 3``.
        say: Takes lines for the user.
        quiet: Whether the table of what runs is left out.

    Returns:
        Job name -> why it cannot run, or failed. Empty when all succeeded.

    Raises:
        NasosegError: If store, organs, splits or earlier results do not fit together.
    """
    jobs, faults = try_benchmark(plan, overrides=overrides, say=say)
    runnable = [job for job in jobs if job.name not in faults]
    left = [job for job in runnable if not job.done]
    say(f"{len(jobs)} jobs: {len(runnable) - len(left)} done before, {len(left)} to run, {len(faults)} cannot run")
    with Board(jobs, slots=len(left) if slurm else at_once, quiet=quiet) as board:
        for job in jobs:
            if job.name in faults:
                board.update(job, "failed")
            elif job not in left:
                board.update(job, "done", score=_score(job, plan.organs))
        score = partial(_score, organs=plan.organs)
        if slurm:
            faults |= run_cluster(left, board, logs=plan.out / "slurm", options=plan.slurm, score=score)
        else:
            faults |= run_local(left, board, at_once=at_once, score=score)
    report_benchmark(plan, jobs, say=say)
    return faults


def try_benchmark(plan: Plan, *, overrides: Sequence[str] = (), say: Say = print) -> tuple[list[Job], dict[str, str]]:
    """Make splits and jobs, and try one batch of each; return the jobs, and which cannot run and why.

    Raises:
        NasosegError: If store, organs, splits or earlier results do not fit together.
    """
    store = open_store(plan.store)
    _check_organs(plan, store)
    splits: dict[Protocol, Split] = {}
    for protocol in plan.protocols:
        splits[protocol] = _split(plan, store, protocol)
        _check_folds(plan, store, splits[protocol], say)
    jobs = make_jobs(plan, tuple(overrides))
    for job in jobs:
        _check_result(job, store, splits[job.protocol])
    faults = rehearse(jobs)
    faults |= _missing_nnunet(plan, [job for job in jobs if job.name not in faults])
    for fault in dict.fromkeys(faults.values()):  # what is wrong with a method is wrong on every fold
        say(f"cannot run {', '.join(name for name in faults if faults[name] == fault)}: {fault}")
    return jobs, faults


def _check_organs(plan: Plan, store: Store) -> None:
    """Look for the organs now: the report, which needs them, is written after all training."""
    known = set(map(identity, store.names))
    for name in plan.organs:
        if identity(name) not in known:
            raise NasosegError(
                f"{plan.path}: organs: {store.path} has no structure {name!r}: {nearest(name, store.names)}"
            )


def _missing_nnunet(plan: Plan, jobs: Sequence[Job]) -> dict[str, str]:
    """Look for nnU-Net's environment before its turn comes, hours later."""
    faults: dict[str, str] = {}
    for method in plan.methods:
        options = method.nnunet
        mine = [job for job in jobs if job.method == method.name and not job.done]
        if options is None or not mine:
            continue
        python = options.get("nnunet_python")
        try:
            find_environment(Path(str(python)) if python else None, create=bool(options.get("create_environment")))
        except NasosegError as error:
            faults |= {job.name: str(error) for job in mine}
    return faults


def report_benchmark(plan: Plan, jobs: Sequence[Job], *, say: Say = print) -> None:
    """Write the tables and figures of the jobs that are done into ``OUT/report``."""
    done = [job for job in jobs if (job.run / "metrics.csv").is_file()]
    if not done:
        say("no job is done: there is nothing to report")
        return
    costs = {}
    for job in done:
        cost = read_cost(job)
        if cost is not None:
            costs[job.method] = (int(cost["parameters"]), cost["gflop"] * 1e9)
    out = plan.out / "report"
    methods = {job.method for job in done}
    write_comparison(
        [job.run for job in done],
        out,
        store=open_store(plan.store),
        reference=plan.reference if plan.reference in methods else None,
        organs=list(plan.organs) or None,
        costs=costs or None,
    )
    say(f"report: {out / 'comparison.md'}")


def _split(plan: Plan, store: Store, protocol: Protocol) -> Split:
    """Read the split that earlier jobs used, or make and keep it."""
    path = plan.split_path(protocol)
    wanted = make_split(store, folds=plan.folds, protocol=protocol, seed=plan.seed)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        wanted.save(path)
        return wanted
    found = Split.load(path, store)
    if found.sha256 != wanted.sha256:
        raise NasosegError(
            f"{path}: holds {len(found.folds)} folds of seed {found.seed}, the config asks for {plan.folds} of seed"
            f" {plan.seed}: results of two splits cannot be mixed; choose another --out"
        )
    return found


def _check_folds(plan: Plan, store: Store, split: Split, say: Say) -> None:
    """Say aloud which structures a fold cannot be tested or validated on."""
    for fold in plan.only_folds:
        counts = split.annotated_counts(store, fold)
        for part in ("validation", "test"):
            missing = [name for name, count in counts[part].items() if not count]
            if missing:
                say(
                    f"{split.protocol}, fold {fold}: no {part} patient has {', '.join(missing)} annotated: they have no"
                    f" value there"
                )


def _check_result(job: Job, store: Store, split: Split) -> None:
    """Refuse a run folder with results of another store or split."""
    path = job.run / "metrics.csv"
    if not path.is_file():
        return
    with path.open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file), None)
    wanted = result_context(store, split, method=job.method, fold=job.fold)
    expected = {key: str(wanted[key]) for key in ("store", "split", "fold")}
    found = {key: (row or {}).get(key) for key in expected}
    if found != expected:
        raise NasosegError(
            f"{path}: is a result of {found}, expected {expected}: remove that run folder, or choose another --out"
        )


def _score(job: Job, organs: Sequence[str]) -> float | None:
    """Return the headline: mean DSC per volume over patients, then over structures; None where it has none of them."""
    path: Path = job.run / "metrics.csv"
    table = pd.read_csv(path)
    table = table[(table["averaging"] == "volume") & (table["metric"] == "dsc")]
    means = table.groupby("structure")["value"].mean()
    chosen = means[means.index.map(identity).isin([identity(name) for name in organs])] if organs else means
    return None if chosen.empty else float(chosen.mean())
