"""How many cores there are to work on."""

import os
import subprocess
import sys

import pytest

from competition.parallel import cores

QUOTA = "mount -t tmpfs tmpfs /sys/fs/cgroup && echo '100000 100000' > /sys/fs/cgroup/cpu.max"  # one core's time
COUNT = "from competition.parallel import cores; print(cores())"


def test_cores_are_those_that_a_container_has() -> None:
    """Docker and Kubernetes limit time and not cores; a worker for each core of the machine would starve there."""
    assert cores() <= len(os.sched_getaffinity(0))
    if subprocess.run(["unshare", "-m", "sh", "-c", QUOTA], capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here")
    limited = ["unshare", "-m", "sh", "-c", f'{QUOTA} && "$0" -c "$1"', sys.executable, COUNT]
    assert subprocess.run(limited, capture_output=True, text=True, check=True).stdout == "1\n"
