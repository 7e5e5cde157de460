"""A real SLURM of two nodes on this machine."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_SLURM = """
ClusterName=nasoseg
SlurmctldHost={host}
SlurmctldPort={control}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
NodeName=n1 NodeHostname={host} Port={first} CPUs=1 RealMemory=2000
NodeName=n2 NodeHostname={host} Port={second} CPUs=1 RealMemory=2000
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(autouse=True, scope="module")
def one_thread_in_children() -> Iterator[None]:
    """Let the processes that a benchmark starts compute in one thread each, as the tests themselves do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Start a controller and two nodes of SLURM (Debian: slurm-wlm), all on this machine."""
    missing = [tool for tool in ("slurmctld", "slurmd", "munged", "sbatch") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"no SLURM here: {', '.join(missing)} missing (Debian: slurm-wlm)")
    if os.geteuid() != 0:
        pytest.skip("a SLURM of our own needs root, and this is a plain user")
    folder = Path("/tmp") / f"nasoseg-slurm-{os.getpid()}"  # a socket's path must be short
    for part in ("state", "spool"):
        (folder / part).mkdir(parents=True)
    folder.chmod(0o755)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    control, first, second = _free_ports(3)
    names = {"host": socket.gethostname(), "control": control, "first": first, "second": second}
    conf = folder / "slurm.conf"
    conf.write_text(_SLURM.format(folder=folder, **names))
    munge = [f"--{kind}={folder}/munge.{kind}" for kind in ("socket", "pid-file", "log-file", "seed-file")]
    patch = pytest.MonkeyPatch()
    patch.setenv("SLURM_CONF", str(conf))
    try:
        _start("munged", "--force", f"--key-file={folder}/munge.key", *munge)
        _start("slurmctld", "-f", str(conf))
        for node in ("n1", "n2"):
            _start("slurmd", "-f", str(conf), "-N", node)
        _wait_until_idle()
        yield
    finally:
        subprocess.run(["scontrol", "shutdown"], capture_output=True, check=False)
        pid = folder / "munge.pid-file"
        if pid.is_file():
            subprocess.run(["kill", pid.read_text().strip()], check=False)
        patch.undo()
        shutil.rmtree(folder, ignore_errors=True)


def _start(*command: str) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    if ended.returncode:
        pytest.skip(f"SLURM cannot be started here: {command[0]}: {(ended.stderr or ended.stdout).strip()[-200:]}")


def _wait_until_idle() -> None:
    states = ""
    for _ in range(60):
        states = subprocess.run(["sinfo", "-h", "-o", "%D %t"], capture_output=True, text=True, check=False).stdout
        if states.split() == ["2", "idle"]:
            return
        time.sleep(0.5)
    pytest.skip(f"SLURM cannot be started here: after 30 s its nodes are {states.strip()!r}, expected '2 idle'")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
