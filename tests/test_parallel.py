"""How many cores there are to work on, and what is heard of Ctrl-C while they begin."""

import os
import signal
import subprocess
import sys

import pytest

from competition.parallel import cores
from tests.conftest import ROOT

QUOTA = "mount -t tmpfs tmpfs /sys/fs/cgroup && echo '100000 100000' > /sys/fs/cgroup/cpu.max"  # one core's time
COUNT = "from competition.parallel import cores; print(cores())"


def test_cores_are_those_that_a_container_has() -> None:
    """Docker and Kubernetes limit time and not cores; a worker for each core of the machine would starve there."""
    assert cores() <= len(os.sched_getaffinity(0))
    if subprocess.run(["unshare", "-m", "sh", "-c", QUOTA], capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here")
    limited = ["unshare", "-m", "sh", "-c", f'{QUOTA} && "$0" -c "$1"', sys.executable, COUNT]
    assert subprocess.run(limited, capture_output=True, text=True, check=True).stdout == "1\n"


@pytest.mark.skipif(cores() < 2, reason="one core works alone")
def test_ctrl_c_while_processes_start_is_quiet() -> None:
    """They would start without us, and not find what they share with us."""
    done = subprocess.run(
        [sys.executable, "-c", "from tests.interrupts import main; main()"], cwd=ROOT, capture_output=True, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), timeout=60,
    )  # fmt: skip
    assert done.returncode == -signal.SIGINT, done.stderr
    assert done.stderr.count("Traceback") == 1 and done.stderr.endswith("KeyboardInterrupt\n"), done.stderr
