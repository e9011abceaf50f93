"""deploy/slurm.sh from first line to last, with stand-ins for what only Slurm has: two nodes of a real Ray on this machine."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster
ROOT, BIN = Path(__file__).parents[2], Path(sys.executable).parent
# `srun` runs the command here. What two nodes of one machine, or two Rays on it, would otherwise share is told apart.
SRUN = """#!/usr/bin/env bash
echo "srun $*" >> "$CALLS"
while [[ "$1" == -* ]]; do if [ "$1" = -w ]; then shift 2; else shift; fi; done
if [ "$1" = ray ]; then
  set -- "$@" --dashboard-agent-listen-port=$(free) --dashboard-agent-grpc-port=$(free)
  [[ "$*" == *--head* ]] && set -- "$@" --temp-dir="$RAY_TEMP" --ray-client-server-port=$(free) --include-dashboard=false
fi
exec "$@"
"""
FREE = f"""#!{sys.executable}
import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])
"""
VGROUT = """#!/usr/bin/env bash
echo "vgrout $*" >> "$CALLS"
ray status --address "$RAY_ADDRESS" >> "$CALLS"
trap 'echo "stopped at a whole checkpoint" >> "$CALLS"; exit 143' TERM
touch "$CALLS.running"
while true; do sleep 0.2; done
"""


def free_job_id() -> int:
    """A job id whose port (20000 + id) is free."""
    for number in range(os.getpid() % 5000, 10000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", 20000 + number)):
                return number
    raise AssertionError("no free port")


def end(group: int) -> None:
    """End what the script leaves to Slurm: the two `ray start --block` in its process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for _ in range(100):
            try:
                os.killpg(group, number)
            except ProcessLookupError:
                return
            time.sleep(0.2)


def test_both_nodes_join_and_a_stop_reaches_the_run(tmp_path):
    bin_, calls, log, temp = tmp_path / "bin", tmp_path / "calls", tmp_path / "log", Path("/tmp") / f"vs{os.getpid()}"
    bin_.mkdir()
    for name, text in (("srun", SRUN), ("free", FREE), ("vgrout", VGROUT), ("scontrol", "#!/bin/sh\nprintf 'n1\\nn2\\n'\n")):
        (bin_ / name).write_text(text)
        (bin_ / name).chmod(0o755)
    (bin_ / "activate").write_text(f'PATH="{bin_}:{BIN}:$PATH"\n')
    slurm = {"SUBMIT_DIR": ROOT, "JOB_NODELIST": "n[1-2]", "CPUS_PER_TASK": 2, "JOB_ID": free_job_id()}
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {f"SLURM_{k}": str(v) for k, v in slurm.items()}
    env |= {"HOME": str(tmp_path), "CALLS": str(calls), "RAY_TEMP": str(temp), "VGROUT_VENV": str(tmp_path)}
    words = ["bash", ROOT / "deploy/slurm.sh", "configs/tiny.toml", "--arm", "routev"]
    with log.open("wb") as file:
        job = subprocess.Popen(words, env=env, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        running = Path(f"{calls}.running")
        until = time.monotonic() + 300
        while not running.exists():
            assert job.poll() is None and time.monotonic() < until, log.read_text()[-3000:]
            time.sleep(0.2)
        job.send_signal(signal.SIGTERM)  # as `--signal=B:TERM@300` does
        assert job.wait(60) == 143
    finally:
        end(job.pid)
        shutil.rmtree(temp, ignore_errors=True)
    said = calls.read_text()
    assert "vgrout train configs/tiny.toml --arm routev" in said and "stopped at a whole checkpoint" in said
    assert said.count(" node_") == 2, said
    assert "-w n1 ray start --head" in said and "-w n2 ray start --block --address=" in said
    assert "auth_token" in {p.name for p in (tmp_path / ".ray").iterdir()}
