"""The promise for any input: an error of ours or a result, in 10 s and 2 GiB; no crash, no hang, no other file.

Readers written in C can end their process, so that inputs are read in forked processes, thousands by one. Its memory is
limited to 2 GiB above what it begins with, its time to 10 s of the processor for one input.
"""

import faulthandler
import os
import random
import resource
import shutil
import signal
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from mutations import Mutation

from nasoseg.errors import NasosegError

SECONDS = 10
BYTES = 2 * 2**30
_LONGEST_MESSAGE = 2500
_PATIENCE_S = 600  # of the clock: on a busy machine 10 s of the processor can take that long

# What children find loaded: each is forked from a process that has done nothing but import these.
_LOADED = (
    *("nasoseg.volumes.dicom", "nasoseg.volumes.dicom_seg", "nasoseg.volumes.rtstruct", "nasoseg.volumes.nifti"),
    *("nasoseg.data.splits", "nasoseg.data.training_data", "nasoseg.evaluation.results", "nasoseg.structure_map"),
    *("nasoseg.tasks.loading", "nasoseg.comparison.plan", "nasoseg.tasks.single", "SimpleITK", "hdf5plugin"),
)


@dataclass(frozen=True)
class Target:
    """Name a format and how it is read.

    Attributes:
        name: Its name in messages.
        folder: A folder that holds the seeds, and whatever else the reader needs.
        files: The seeds in it, of which one is damaged at a time.
        mutations: How.
        read: Reads the damaged file, given its path.
    """

    name: str
    folder: Path
    files: Sequence[str]
    mutations: Sequence[Mutation]
    read: Callable[[Path], object]

    def damaged(self, number: int) -> tuple[str, bytes]:
        """Return the file that a number damages, and its new content; always the same."""
        chance = random.Random(f"{self.name} {number}")
        name = chance.choice(self.files)
        return name, chance.choice(self.mutations)((self.folder / name).read_bytes(), chance)


@dataclass(frozen=True)
class Broken:
    """Say how an input broke the promise."""

    target: str
    number: int
    how: str

    def __str__(self) -> str:
        return (
            f"{self.target} {self.number}: {self.how}\n"
            f"again: NASOSEG_FUZZ_NUMBERS={self.number} pytest tests/fuzz/test_formats.py -k '[{self.target}]'"
        )


def try_all(target: Target, numbers: Iterable[int]) -> tuple[Counter[str], list[Broken]]:
    """Read the inputs of some numbers; count how it went, and tell what broke the promise."""
    context = get_context("forkserver")
    context.set_forkserver_preload(list(_LOADED))
    counts: Counter[str] = Counter()
    broken: list[Broken] = []
    with tempfile.TemporaryDirectory() as place:
        log = Path(place, "log")
        worker: _Worker | None = None
        for number in numbers:
            if worker is None:
                worker = _Worker(context, target, Path(place), log)
            result = worker.ask(number)
            counts[result.split(":")[0]] += 1
            if not result.startswith(("refused", "read")):
                broken.append(Broken(target.name, number, result))
            if result.startswith(("crash", "hang")):
                worker = None
        if worker:
            worker.end()
    return counts, broken


class _Worker:
    def __init__(self, context, target: Target, place: Path, log: Path) -> None:
        self.connection, theirs = context.Pipe()
        self.log = log
        self.process = context.Process(target=_work, args=(target, theirs, place / "inputs", log), daemon=True)
        self.process.start()
        theirs.close()
        try:
            self.connection.recv()  # once it is ready
        except EOFError:
            raise RuntimeError(f"{target.name}: a seed cannot be read:\n{log.read_text(errors='replace')}") from None

    def ask(self, number: int) -> str:
        self.connection.send(number)
        try:
            if self.connection.poll(_PATIENCE_S):
                return self.connection.recv()
            self.process.kill()
            ended = f"hang: no answer in {_PATIENCE_S} s"
        except (EOFError, OSError):
            ended = ""
        self.process.join()
        code = self.process.exitcode
        reason = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
        if reason == "SIGXCPU":
            reason = f"more than {SECONDS} s of the processor"
        return ended or f"crash: {reason}\n{self.log.read_text(errors='replace')[-3000:]}"

    def end(self) -> None:
        self.connection.send(None)
        self.process.join(30)


def _work(target: Target, connection: Connection, place: Path, log: Path) -> None:
    """Read inputs until told to end, in a place where every file is known."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(target.folder, place / "in")
    for name in ("here", "tmp"):
        (place / name).mkdir()
    os.chdir(place / "here")
    tempfile.tempdir = os.environ["TMPDIR"] = str(place / "tmp")
    with log.open("wb", buffering=0) as said:  # by libraries, which write past Python; quoted if they end the process
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        faulthandler.enable(said.fileno())
        warnings.simplefilter("ignore")
        for name in target.files:  # loads what is loaded late; and the seeds must be readable
            target.read(place / "in" / name)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        files = _files(place)
        connection.send("ready")
        while (number := connection.recv()) is not None:
            said.truncate(0)
            name, content = target.damaged(number)
            (place / "in" / name).write_bytes(content)
            outcome = _outcome(target.read, place / "in" / name)
            strays = _files(place) ^ files
            connection.send(f"stray files: {sorted(strays)}" if strays else outcome)
            shutil.copyfile(target.folder / name, place / "in" / name)


def _outcome(read: Callable[[Path], object], path: Path) -> str:
    spent = resource.getrusage(resource.RUSAGE_SELF)
    ends_s = int(spent.ru_utime + spent.ru_stime) + 1 + SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (ends_s, resource.RLIM_INFINITY))
    try:
        read(path)
    except NasosegError as error:
        message = str(error)
        if str(path.parent) not in message:
            return f"message that names no file: {message}"
        return (
            "refused" if len(message) < _LONGEST_MESSAGE else f"message of {len(message)} characters: {message[:500]}"
        )
    except BaseException:
        return f"traceback: {traceback.format_exc()[-3000:]}"
    return "read"


def _files(place: Path) -> set[str]:
    return {str(path) for path in place.rglob("*")}
