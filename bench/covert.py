"""Bits per second that two programs under two graders can pass by what cannot be closed: the load on processors and on memory.

    python -m bench.covert [--level auto] [--bits 200]

Sender and receiver agree on slots of the wall clock. For a 1 the sender works through its slot, for a 0 it sleeps; the receiver
counts how often it gets round a loop of its own in each slot. The threshold comes from the first half of the slots, whose bits
the receiver knows, which favours it; the rate is what the share of wrong bits in the second half leaves of a bit, per slot:
(1 - H(wrong)) / slot. With 1 core both graders are held to the same processor, the best that a sender can hope for. No jail on
a shared machine closes this; docs/security.md says what it is worth.
"""

import argparse
import json
import math
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Sequence

from sandbox.jail.canaries import prove
from sandbox.jail.levels import Limits
from sandbox.jail.program import Program, Task
from sandbox.jail.runner import Runner

SLOTS_MS = (100, 30, 10, 3)

# The work of a slot, and what the receiver counts: adding numbers, or moving more memory than a cache holds.
_WORK = {"processor": "sum(range(2_000))", "memory": "b[:] = a"}
_SETUP = "import json, time\na, b = bytearray(1 << 23), bytearray(1 << 23)\n"
_SENDER = """
for bit in {bits!r}:
    end, start = start + {slot}, start
    if not bit:
        time.sleep(max(0.0, end - time.time()))
    while time.time() < end:
        {work}
"""
_RECEIVER = """
counts = []
for _ in range({count}):
    start, seen = start + {slot}, 0
    while time.time() < start:
        {work}
        seen += 1
    counts.append(seen)
print(json.dumps(counts))
"""


def _program(body: str, begin: float) -> Program:
    wait = f"start = {begin!r}\ntime.sleep(max(0.0, start - time.time()))\n"
    return Program(Task.SOLVE, compile("", "<setup>", "exec"), (_SETUP + wait + body,), "solve")


def send(sender: Runner, receiver: Runner, work: str, bits: Sequence[int], slot: float) -> list[int]:
    """Run both programs at once; the receiver's counts, one a slot."""
    begin = time.time() + 0.5
    sending = _program(_SENDER.format(bits=list(bits), slot=slot, work=_WORK[work]), begin)
    thread = threading.Thread(target=sender.run, args=(sending, lambda _: None))
    thread.start()
    ended = receiver.run(_program(_RECEIVER.format(count=len(bits), slot=slot, work=_WORK[work]), begin), lambda _: None)
    thread.join()
    return json.loads(ended.stdout)


def wrong_share(bits: Sequence[int], counts: Sequence[float]) -> float:
    """The share of wrong bits in the second half, by the threshold that suits the first half."""
    half = len(bits) // 2
    means = [statistics.mean([c for b, c in zip(bits[:half], counts[:half], strict=True) if b == bit]) for bit in (0, 1)]
    middle, one_is_low = sum(means) / 2, means[1] < means[0]
    guesses = [int((count < middle) == one_is_low) for count in counts[half:]]
    return sum(guess != bit for guess, bit in zip(guesses, bits[half:], strict=True)) / (len(bits) - half)


def bits_per_second(wrong: float, slot: float) -> float:
    """The capacity of a binary symmetric channel that is used once a slot."""
    if wrong == 0.0:
        return 1.0 / slot
    if wrong >= 0.5:
        return 0.0
    return (1.0 + wrong * math.log2(wrong) + (1.0 - wrong) * math.log2(1.0 - wrong)) / slot


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--level", default="auto")
    parser.add_argument("--bits", type=int, default=200)
    args = parser.parse_args()
    bits = random.Random(0).choices((0, 1), k=args.bits)
    limits = Limits(deadline_s=3 * args.bits * SLOTS_MS[0] / 1e3 + 10)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {args.bits} bits, half of them known")
    print("| level | cores | work | slot, ms | wrong bits | bits a second |\n| --- | --- | --- | --- | --- | --- |")
    everywhere = os.sched_getaffinity(0)
    for cores in ({min(everywhere)}, everywhere):
        os.sched_setaffinity(0, cores)  # the zygotes inherit it
        sender, receiver = (prove(args.level, limits) for _ in range(2))
        os.sched_setaffinity(0, everywhere)
        for work in _WORK:
            for slot in SLOTS_MS:
                wrong = wrong_share(bits, send(sender, receiver, work, bits, slot / 1e3))
                rate = bits_per_second(wrong, slot / 1e3)
                print(f"| {sender.level.name} | {len(cores)} | {work} | {slot} | {wrong:.0%} | {rate:.1f} |", flush=True)
        for runner in (sender, receiver):
            runner.close()


if __name__ == "__main__":
    sys.exit(main())
