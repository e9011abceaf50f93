"""What a resumed run finds on the disk: damaged checkpoints and journals are named, and nothing intact is lost."""

import tracemalloc
from dataclasses import replace

import pytest
from journals import scan

from actors.journal.journal import Graded, Journal, read
from vgrout.errors import UserError
from vgrout.group_records import Dropped, Key, Reason, TakenBatch
from vgrout.records import Audit, FinishReason, Mode, Reward, Rollout, Sampling, Status
from vgrout.run_directory import RunDir


def graded(ordinal: int, version: int = 0, attempt: int = 0) -> Graded:
    rollout = Rollout(
        id=f"{ordinal}-0", group=ordinal, index=0, problem_id=7, mode=Mode.SENTINEL, prompt_ids=(1, 2), completion_ids=(3, 4, 5),
        logprobs=(-0.1, -1 / 3, -2e-30), text="é\n", finish=FinishReason.STOP, sampling=Sampling.TRAIN, seed=2**62,
        version=version, digest="ab",
    )  # fmt: skip
    audit = Audit(rollout.id, 7, Mode.SENTINEL, True, False, True, True, "sentinel", Status.WRONG, "L2", 1.5, {"passed": 1})
    return Graded(Key(ordinal, attempt), [rollout], [Reward(rollout.id, 3.5)], [audit])


def written(path, *steps) -> bytes:
    journal = Journal(path)
    for name, value in steps:
        getattr(journal, name)(value)
    journal.sync()
    journal.close()
    return path.read_bytes()


def batch(update, *ordinals):
    return TakenBatch(update, tuple(Key(o, 0) for o in ordinals))


STEPS = [
    ("resume", 0), ("group", graded(0)), ("group", graded(1)), ("batch", batch(0, 0)), ("group", graded(2)),
    ("batch", batch(1, 1)), ("drop", Dropped(2, 0, Reason.OVER_AGE, True)), ("group", graded(3, 1)), ("batch", batch(2, 3)),
]  # fmt: skip


def test_everything_comes_back_as_it_was(tmp_path):
    written(tmp_path / "journal", *STEPS)
    past = read(tmp_path / "journal", 1)
    assert past.batches == [batch(1, 1), batch(2, 3)] and past.dropped == [2] and not past.notes
    assert past.groups == {Key(o, 0): graded(o, v) for o, v in ((1, 0), (3, 1))}  # update 0 is done, and took group 0
    kept = [r["key"][0] for r in scan((tmp_path / "journal").read_bytes()).records if r["kind"] == "group"]
    assert kept == [1, 3] and read(tmp_path / "journal", 1) == past
    older = read(tmp_path / "journal", 0)  # of a checkpoint before that: what is not there is sampled again
    assert not older.batches and "groups 0 are not in the journal" in older.notes[0]


def test_a_torn_tail_is_cut_and_reported_and_the_rest_stays(tmp_path):
    path = tmp_path / "journal"
    whole = written(path, *STEPS)
    path.write_bytes(whole[:-3])
    past = read(path, 0)
    (note,) = past.notes
    assert "unfinished last record at byte" in note and "cut off" in note and past.batches == [batch(0, 0), batch(1, 1)]
    assert not scan(path.read_bytes()).holes
    written(path, ("batch", batch(2, 3)))
    assert path.read_bytes() == whole  # appending goes on where the whole records end


def test_a_flipped_byte_is_named_and_ends_the_replay_where_its_group_is_missing(tmp_path):
    path = tmp_path / "journal"
    place = len(written(path, *STEPS[:2]))
    whole = bytearray(written(path, *STEPS[2:]))
    whole[place + 40] ^= 4
    path.write_bytes(whole)
    past = read(path, 0)
    assert f"damaged record at byte {place}" in past.notes[0] and "groups 1 are not in the journal" in past.notes[1]
    assert past.batches == [batch(0, 0)] and Key(3, 0) in past.groups and path.read_bytes() == whole


def test_what_an_older_life_took_is_void_after_a_resume_before_it(tmp_path):
    written(tmp_path / "journal", *STEPS, ("resume", 1), ("group", graded(4)), ("batch", batch(1, 4)))
    assert read(tmp_path / "journal", 0).batches == [batch(0, 0), batch(1, 4)]


def test_memory_is_that_of_the_groups_that_the_checkpoint_leaves_open(tmp_path):
    one = graded(0)
    long = replace(one, rollouts=[replace(one.rollouts[0], completion_ids=tuple(range(10**4)))])
    steps = [[("group", replace(long, key=Key(u, 0))), ("batch", batch(u, u))] for u in range(200)]
    size = len(written(tmp_path / "journal", *(step for two in steps for step in two)))
    tracemalloc.start()
    past = read(tmp_path / "journal", 198)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert list(past.groups) == [Key(198, 0), Key(199, 0)]
    assert peak < held + 2 * 2**20 and (tmp_path / "journal").stat().st_size < size / 20


@pytest.fixture
def run(tmp_path):
    run = RunDir(tmp_path)
    for version in (0, 2):
        run.write_checkpoint(version, b"adapter" * version, b"optimizer" * version, {"frontier": 2 * version, "ahead": []})
    return run


@pytest.mark.parametrize("name", ["train.safetensors", "optimizer.safetensors", "state.json"])
def test_a_truncated_checkpoint_is_named_and_the_one_before_is_used(run, name):
    assert run.newest_whole()[:2] == (2, run.newest_whole()[1]) and run.newest_whole()[1]["frontier"] == 4
    path = run.checkpoint(2) / name
    path.write_bytes(path.read_bytes()[:-1] if name != "state.json" else path.read_bytes()[:20])
    version, state, (note,) = run.newest_whole()
    assert version == 0 and state["frontier"] == 0 and name in note and str(path.parent) in note


def test_without_a_whole_checkpoint_every_damaged_one_is_named(run):
    for version in (0, 2):
        (run.checkpoint(version) / "train.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match=r"00002.*00000"):
        run.newest_whole()
