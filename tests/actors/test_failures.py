"""What goes wrong without anybody dying: adapters that are not the learner's, damaged files, a full disk. All of it is named,
nothing wrong is served, and nothing that was acknowledged is lost."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from journals import scan
from kills import train
from tiny_run import TINY, arguments, check_journal

from actors.journal.format import HEADER, encode
from vgrout.config import load
from vgrout.run_directory import RunDir
from vgrout.signals import RunStopped

# At staleness 0 no version is skipped: every fault meets the engine, and every point comes.
HF = ("runtime.engine=hf", "runtime.max_staleness=0", "train.updates=6", "train.checkpoint_every=2")


def learner_with_faults(kind: type, folder: Path) -> type:
    """A learner whose publication of version 1 has a byte altered after signing, of version 3 weights altered before it (so
    that only the canary can tell), each the first time, and of version 5 always, as long as `folder`/broken is there. All odd:
    a checkpoint of an even version publishes too."""

    class Faulty(kind):
        def publish(self):
            import dataclasses

            from safetensors.torch import load, save

            from vgrout.files import sha256

            adapter = super().publish()
            mark = folder / f"published-{adapter.version}"
            first = not mark.exists()
            mark.touch()
            if adapter.version == 1 and first:
                return dataclasses.replace(adapter, train=adapter.train[:-1] + bytes([adapter.train[-1] ^ 1]))
            if (adapter.version == 3 and first) or (adapter.version == 5 and (folder / "broken").exists()):
                train = save({name: 2 * tensor for name, tensor in load(adapter.train).items()})
                digest = sha256(train + adapter.deploy)
                (folder / "digests").open("a").write(digest + "\n")
                return dataclasses.replace(adapter, train=train, digest=digest)
            return adapter

    return Faulty


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("mode", ["async", "sync"])
def test_an_adapter_that_is_not_the_learners_is_named_and_never_served(tmp_path, monkeypatch, capsys, mode):
    from actors.ray_cluster import learner_actor, workers
    from actors.ray_cluster.part import kind_of
    from actors.training import train
    from learner import learner

    (tmp_path / "broken").touch()
    place = "ray" if mode == "async" else "local"
    sets = [*TINY, *HF, f"runtime.mode={mode}", f"runtime.backend={place}", "runtime.restarts=1"]
    config = load(Path("configs/tiny.toml"), arm="routev", seed=5, sets=sets)
    on_ray = kind_of(learner_with_faults(learner_actor.LearnerActor, tmp_path))
    monkeypatch.setattr(learner, "Learner", learner_with_faults(learner.Learner, tmp_path))
    monkeypatch.setattr(workers, "LEARNER_KIND", on_ray)
    with pytest.raises(RunStopped, match=r"refused twice: version 5 .*canary off by"):
        train(config, tmp_path / "run")
    (tmp_path / "broken").unlink()
    run = train(config, None, resume=tmp_path / "run")
    named = [row["what"] for row in run.read("fleet.jsonl") if "published anew" in row["what"]]
    assert "version 1: digest" in named[0]
    assert "version 3 (train): canary off" in named[1]
    assert "version 5" in named[2]
    said = capsys.readouterr().err
    assert all(what in said for what in named)
    check_journal(run.path, 6, 2)
    wrong = set((tmp_path / "digests").read_text().split())
    rows = run.read("rollouts.jsonl")
    assert len(wrong) == 2 and not wrong & {r["digest"] for r in rows}
    assert {1, 3} <= {r["version"] for r in rows}
    # An altered weight that was served would show here: the engine's log-probabilities against the learner's.
    same = [m for m in run.read("metrics.jsonl") if m["staleness"] == {"0": 2}]
    assert all(m["mismatch/max"] < 1e-3 for m in same)


def batches_of(run: Path) -> dict[int, list]:
    return {r["update"]: r["keys"] for r in scan((run / "journal.bin").read_bytes()).records if r["kind"] == "batch"}


@pytest.mark.cluster
@pytest.mark.slow
def test_a_damaged_run_names_what_is_damaged_and_a_second_sigint_leaves_it_resumable(tmp_path):
    out = tmp_path / "run"
    code, _ = train(arguments(out, *HF, "runtime.mode=async"), tmp_path / "first", [("publish-5", "driver")])
    assert code == -signal.SIGKILL and RunDir(out).checkpoints() == [0, 2, 4]
    before = batches_of(out)
    adapter = out / "checkpoints/00004/train.safetensors"
    adapter.write_bytes(adapter.read_bytes()[:-1])
    place = flip_a_byte_of_a_group(out / "journal.bin", before[3][0])

    def interrupt_twice(pids: dict[str, int]) -> None:
        for _ in range(2):
            os.kill(pids["driver"], signal.SIGINT)
            time.sleep(0.3)  # two signals at once would be one: the kernel does not count them

    code, said = train(["--resume", str(out)], tmp_path / "second", [("publish-4", interrupt_twice)])
    assert code == 130 and "stopped at once (a second SIGINT)" in said, said[-3000:]
    assert f"{adapter.parent}: damaged train.safetensors" in said
    assert f"damaged record at byte {place}" in said and f"update 3: groups {before[3][0][0]} are not in the journal" in said
    code, said = train(["--resume", str(out)], tmp_path / "third", [])
    assert code == 0, said[-3000:]
    after, _ = check_journal(out, 6, 2, holes=1)
    assert [after[u] for u in range(3)] == [before[u] for u in range(3)]  # what the damage does not touch was replayed
    assert [m["update"] for m in RunDir(out).read("metrics.jsonl")] == list(range(6))


def flip_a_byte_of_a_group(path: Path, key: list[int]) -> int:
    """Damage the record of a graded group; its offset."""
    data, place = bytearray(path.read_bytes()), 0
    for record in scan(bytes(data)).records:
        if record["kind"] == "group" and record["key"] == key:
            break
        place += len(encode(record))
    data[place + HEADER.size + 9] ^= 4
    path.write_bytes(data)
    return place


@pytest.fixture
def disk(tmp_path):
    """A disk of 64 MB."""
    (tmp_path / "disk").mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "none", tmp_path / "disk"]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield tmp_path / "disk"
    subprocess.run(["umount", tmp_path / "disk"], check=True)


@pytest.mark.cluster
@pytest.mark.slow
def test_a_full_disk_is_named_and_the_run_goes_on_once_there_is_room(tmp_path, disk):
    out, ballast = disk / "run", disk / "ballast"

    def fill(_: dict[str, int]) -> None:
        with ballast.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                return

    code, said = train(arguments(out, *HF, "runtime.mode=async"), tmp_path / "first", [("checkpoint-2", fill)])
    assert code == 2 and "a full disk" in said and "--resume" in said, said[-3000:]
    before = batches_of(out)
    assert before
    ballast.unlink()
    code, said = train(["--resume", str(out)], tmp_path / "second", [])
    assert code == 0, said[-3000:]
    after, _ = check_journal(out, 6, 2)
    assert after.items() >= before.items()  # every batch that was acknowledged was replayed
