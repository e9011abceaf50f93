"""Programs that try not to end, or to take the trusted side down with them. Each is given one short deadline."""
# ruff: noqa: E501 (programs are quoted as they are)

from attack import Attack, Naive

from vgrout.records import Status

TIMEOUT = frozenset({Status.TIMEOUT})
CRASH = frozenset({Status.EXCEPTION, Status.NO_RESULT, Status.OOM, Status.TIMEOUT})
WRONG = "class Solution:\n    def solve(self, n):\n        return 0\n"


def _method(
    name: str, lines: str, statuses: frozenset[Status] = TIMEOUT, slow: bool = True, naive: Naive = Naive.NOT_RUN
) -> Attack:
    body = "\n".join("        " + line for line in lines.strip().splitlines())
    return Attack(name, f"class Solution:\n    def solve(self, n):\n{body}\n", naive, statuses=statuses, slow=slow)


LIVENESS = [
    _method(
        "loop_catching_everything",
        "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass",
        naive=Naive.ALARM,
    ),
    Attack(
        "ignored_signals",
        "import signal\nfor number in range(1, 65):\n    try:\n        signal.signal(number, signal.SIG_IGN)\n"
        "    except (OSError, ValueError):\n        pass\nsignal.alarm = lambda *args: 0\nwhile True:\n    pass",
        Naive.ALARM,
        statuses=TIMEOUT,
        slow=True,
    ),
    _method("stop_self", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", naive=Naive.ALARM),
    _method("kill_self", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", CRASH, slow=False),
    _method("segfault_self", "import ctypes\nctypes.string_at(0)", CRASH, slow=False),
    _method("abort_self", "import os\nos.abort()", CRASH, slow=False),
    _method(
        "lingering_thread",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\nreturn 0",
        naive=Naive.ALARM,
    ),
    _method("sleep", "import time\ntime.sleep(1000)"),
    _method("catastrophic_regex", "import re\nre.match(r'(a+)+$', 'a' * 60 + 'b')"),
    _method("tower_of_powers", "return 10 ** 10 ** 8 % 7"),
    _method("recursion", "import sys\nsys.setrecursionlimit(10**9)\nf = lambda: f()\nreturn f()", CRASH),
    _method(
        "c_stack",
        "import sys\nfrom functools import lru_cache\nsys.setrecursionlimit(10**9)\n@lru_cache(None)\ndef f(k):\n    return f(k + 1)\nreturn f(0)",
        CRASH,
    ),
    _method(
        "stdout_flood", "while True:\n    print('all tests passed' * 1000)", frozenset({Status.OUTPUT_LIMIT, Status.TIMEOUT})
    ),
    Attack(
        "hang_at_exit",
        "import atexit, sys\natexit.register(lambda: [None for _ in iter(int, 1)])\nclass Hang:\n    def flush(self):\n        while True:\n"
        "            pass\n    write = print\nsys.stdout = Hang()\n" + WRONG,
        statuses=frozenset({Status.WRONG}),
    ),
    Attack("deeply_nested_source", "x = " + "(" * 5000 + ")" * 5000, statuses=CRASH),
    Attack("long_operator_chain", "x = " + "-" * 200_000 + "1", statuses=CRASH),
    Attack("huge_constant", "x = " + "9" * 10_000, statuses=CRASH),
    Attack("lone_surrogate_in_source", "x = '\udc80'\n" + WRONG, statuses=CRASH),
    Attack("nul_in_source", "x = 1\0", statuses=CRASH),
    Attack("compile_time_power", "x = 2 ** 10 ** 9\n" + WRONG, statuses=CRASH | {Status.WRONG}, slow=True),
]
