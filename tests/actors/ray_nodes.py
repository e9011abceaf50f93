"""A Ray of its own for a test: a head with a dashboard and any number of worker nodes, by `ray start`, with token authentication.

Own HOME, ports, temp folder and token, so other Rays on the machine do not matter; ended with all its process groups.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Nodes:
    """`dashboard` takes jobs, `gcs` clients; `env` holds the token's HOME; processes of `ray start` by node, head first."""

    dashboard: str
    gcs: str
    env: dict[str, str]
    processes: list[subprocess.Popen] = field(default_factory=list)

    def job(self, *words: object, timeout_s: float = 240) -> subprocess.CompletedProcess:
        """`ray job WORDS --address DASHBOARD ...`; words after the first follow the address."""
        first, *rest = map(str, words)
        command = [str(BIN / "ray"), "job", first, "--address", self.dashboard, *rest]
        return subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=timeout_s)

    def node_of(self, pid: int) -> int:
        """The node that a worker process belongs to: the one whose `ray start` is among its ancestors."""
        starts = [p.pid for p in self.processes]
        while pid > 1:
            if pid in starts:
                return starts.index(pid)
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        raise AssertionError("a process of no node")

    def kill(self, node: int) -> None:
        """A node is gone from one moment to the next."""
        os.killpg(self.processes[node].pid, signal.SIGKILL)


@contextmanager
def ray_nodes(folder: Path, workers: int = 0, cpus: int = 4) -> Iterator[Nodes]:
    """Start a head and `workers` more nodes of `cpus` CPUs each."""
    home = folder / "home"
    home.mkdir()
    temp = Path("/tmp") / f"vg{os.getpid()}"  # Ray's sockets need a short path
    ours = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    env = ours | {"HOME": str(home), "RAY_AUTH_MODE": "token", "PATH": f"{BIN}:{os.environ['PATH']}"}
    subprocess.run([BIN / "ray", "get-auth-token", "--generate"], env=env, check=True, capture_output=True)
    port, dashboard = free_port(), free_port()
    head = ["--head", f"--port={port}", f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1"]
    nodes = Nodes(f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{port}", env)

    def start(options: list[str]) -> None:
        """Start a node and wait until it is up. Ray gives itself 30 s, which a busy machine exceeds: three tries."""
        fixed = ["--block", "--node-ip-address=127.0.0.1", f"--num-cpus={cpus}", "--disable-usage-stats"]
        place = len(nodes.processes)
        for attempt in range(3):
            # The job agent's ports are fixed by default: beside another node on the machine, no agent would be available.
            agent = [f"--dashboard-agent-listen-port={free_port()}", f"--dashboard-agent-grpc-port={free_port()}"]
            # Nodes of one session on one machine would share the folder of unpacked jobs, and unpack over each other.
            agent.append(f"--temp-dir={temp}/{place}")
            log = folder / f"node-{place}-{attempt}.log"
            with log.open("wb") as file:
                command = [str(BIN / "ray"), "start", *options, *agent, *fixed]
                process = subprocess.Popen(command, env=env, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
            nodes.processes[place:] = [process]
            while process.poll() is None:
                if b"Ray runtime started" in log.read_bytes():
                    return
                time.sleep(0.2)
            stop(process)
        raise AssertionError(log.read_text()[-3000:])

    try:
        start([*head, f"--ray-client-server-port={free_port()}"])
        deadline = time.monotonic() + 300
        # The dashboard answers before its job agent does; a job that does nothing tells when both are there.
        while nodes.job("submit", "--", "true").returncode:
            assert nodes.processes[0].poll() is None and time.monotonic() < deadline
        for _ in range(workers):
            start([f"--address={nodes.gcs}"])
        yield nodes
    finally:
        for process in reversed(nodes.processes):
            stop(process)
        shutil.rmtree(temp, ignore_errors=True)


def stop(process: subprocess.Popen) -> None:
    """End a process group, by force where it does not go."""
    for number, patience in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, number)
            process.wait(patience)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
