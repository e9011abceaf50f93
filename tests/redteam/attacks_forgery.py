"""Verdict forgery: programs that want to be called correct without knowing the answers."""
# ruff: noqa: E501 (programs are quoted as they are)

from typing import Any

from attack import Attack, Naive

from vgrout.records import Status

WRONG = "class Solution:\n    def solve(self, n):\n        return 0\n"


def _value(name: str, setup: str, expression: str, naive: Naive, statuses: frozenset[Status] | None = None) -> Attack:
    """An attack that returns a strange value."""
    body = f"{setup}\nclass Solution:\n    def solve(self, n):\n        return {expression}\n"
    return Attack(name, body, naive, statuses or frozenset({Status.WRONG}))


def _lookalike(name: str, expected: Any, expression: str) -> Attack:
    """A value that is like the expected one and does not equal it in Python."""
    body = f"class Solution:\n    def solve(self, n):\n        return {expression}\n"
    return Attack(name, body, statuses=frozenset({Status.WRONG}), answers=((1, expected), (2, expected)))


def _before(name: str, code: str, naive: Naive) -> Attack:
    """An attack at module level, before a wrong solution."""
    return Attack(name, f"{code}\n{WRONG}", naive)


_WALK = """
import sys
class Solution:
    def solve(self, n):
        frame = sys._getframe()
        while frame:
            for value in list(frame.f_locals.values()) + list(frame.f_globals.values()):
                if isinstance(value, dict) and "tests" in value:
                    return dict(value["tests"])[n]
                if isinstance(value, (list, tuple)) and value and isinstance(value[0], (list, tuple)) and len(value[0]) == 2:
                    if dict(value).get(n):
                        return dict(value)[n]
            frame = frame.f_back
        return 0
"""

_GC = """
import gc
class Solution:
    def solve(self, n):
        for thing in gc.get_objects():
            if type(thing) is list and len(thing) == 2 and thing[0] == n and type(thing[1]) is int and thing[1] > 1000:
                return thing[1]
        return 0
"""

_ARGV = """
import json, sys
def find(n):
    for word in getattr(sys, "orig_argv", []) + sys.argv:
        try:
            return dict(json.loads(word)["tests"])[n]
        except Exception:
            pass
    return 0
class Solution:
    def solve(self, n):
        return find(n)
"""

_CMDLINE = """
import json
def find(n):
    for word in open("/proc/self/cmdline").read().split("\\0"):
        try:
            return dict(json.loads(word)["tests"])[n]
        except Exception:
            pass
    return 0
class Solution:
    def solve(self, n):
        return find(n)
"""

_MAIN = """
import sys
main = sys.modules["__main__"]
for name, value in list(vars(main).items()):
    if callable(value) and getattr(value, "__name__", "") in ("compare", "judge", "check"):
        setattr(main, name, lambda *args: True)
class Solution:
    def solve(self, n):
        return 0
"""

_INSPECT = """
import inspect
class Solution:
    def solve(self, n):
        for record in inspect.stack():
            record.frame.f_globals["compare"] = lambda *args: True
        return 0
"""

_FIND_CANONICAL = """
import gc, sys
def found():
    things = list(gc.get_objects())
    frame = sys._getframe()
    while frame:
        things += list(frame.f_locals.values()) + list(frame.f_globals.values())
        frame = frame.f_back
    for thing in things:
        parts = list(thing.values()) if isinstance(thing, dict) else thing if isinstance(thing, (list, tuple)) else [thing]
        for part in parts:
            for text in [part, *list(getattr(part, "__dict__", {}).values())]:
                if isinstance(text, str) and "class Solution" in text and str(112647 + 1) in text:
                    return text
    return ""
"""

_HAND_ON = """
text = open("result.txt").read() or found()
class Solution:
    def solve(self, n):
        return 0
    def run_tests(self):
        assert self.solve(1) == 1
if text:
    open("result.txt", "w").write(text)
    names = {}
    exec(text, names)
    Solution.solve = names["Solution"].solve
"""

_SHRINK_TESTS = """
import gc, sys
for thing in gc.get_objects():
    if isinstance(thing, dict) and isinstance(thing.get("tests"), list):
        thing["tests"].clear()
frame = sys._getframe()
while frame:
    for value in list(frame.f_locals.values()):
        if isinstance(value, dict) and isinstance(value.get("tests"), list):
            value["tests"].clear()
        if hasattr(value, "inputs"):
            object.__setattr__(value, "inputs", ())
    frame = frame.f_back
"""

_FORGE_FD = """
import os, struct
def frame(kind, index, payload):
    return struct.pack(">cII", kind, index, len(payload)) + payload
def number(value):
    return b"J" + struct.pack(">q", value)
"""

# The child's own Program lies in its frames; its token marks facts as the run's.
_TASK = """
import os, struct, sys
def task():
    frame = sys._getframe()
    while frame:
        found = frame.f_locals.get("program")
        if hasattr(found, "task"):
            return found
        frame = frame.f_back
def send(kind, payload):
    data = struct.pack(">cII", kind, 0, len(payload)) + payload
    while data:
        data = data[os.write(3, data):]
"""

FORGERY = [
    _before(
        "bomb_of_colliding_facts",
        _TASK
        + "send(b'F', task().token + b'E' + struct.pack('>I', 2048) + (b'U' + struct.pack('>I', 480) + b'Z\\0\\0\\0\\0' * 480) * 2048)",
        Naive.NOT_RUN,
    ),
    _before(
        "bomb_of_empty_sets",
        _TASK + "send(b'F', task().token + b'L' + struct.pack('>I', 999000) + b'Z\\0\\0\\0\\0' * 999000)",
        Naive.NOT_RUN,
    ),
    _before(
        "bomb_of_many_facts",
        _TASK + "os.write(3, b''.join(struct.pack('>cII', b'F', 0, 24) + task().token + b'%06x=1' % n for n in range(300000)))",
        Naive.NOT_RUN,
    ),
    _before(
        "eats_its_own_frames",
        "import os\ntry:\n    if os.read(os.open('/proc/self/fd/3', os.O_RDONLY | os.O_NONBLOCK), 100):\n        os._exit(0)\nexcept OSError:\n    pass",
        Naive.NOT_RUN,
    ),
    _before("truncates_its_own_result", "import os\nos.ftruncate(3, 0)\nos.lseek(3, 1 << 30, 0)", Naive.NOT_RUN),
    _before(
        "answers_on_the_status_pipe",
        "import os\nfor fd in range(4, 64):\n    try:\n        os.write(fd, b'B no jail')\n        print('BREACH', fd)\n    except OSError:\n        pass",
        Naive.NOT_RUN,
    ),
    _before("exit_0_at_module_level", "import sys\nsys.exit(0)", Naive.EXIT_CODE),
    Attack(
        "exit_0_in_the_method", "import sys\nclass Solution:\n    def solve(self, n):\n        sys.exit(0)\n", Naive.EXIT_CODE
    ),
    _before("os_exit_0", "import os\nos._exit(0)", Naive.EXIT_CODE),
    _before("system_exit_subclass", "class Quiet(SystemExit):\n    pass\nraise Quiet(0)", Naive.EXIT_CODE),
    _before(
        "atexit_print",
        "import atexit, os, sys\ndef say():\n    word = sys.argv[2] if len(sys.argv) > 2 else 'ok'\n"
        "    print(word + '{\"passed\": true}', flush=True)\n    os._exit(0)\natexit.register(say)",
        Naive.NONCE,
    ),
    _value("eq_always_true", "class Yes:\n    def __eq__(self, other):\n        return True", "Yes()", Naive.NONCE),
    _value(
        "int_subclass",
        "class Yes(int):\n    def __eq__(self, other):\n        return True\n    __hash__ = int.__hash__",
        "Yes(0)",
        Naive.NONCE,
    ),
    _value(
        "str_subclass",
        "class Yes(str):\n    def __eq__(self, other):\n        return True\n    def __hash__(self):\n        return 0",
        "Yes('x')",
        Naive.NONCE,
    ),
    _value("list_subclass", "class Yes(list):\n    def __eq__(self, other):\n        return True", "Yes([1])", Naive.NONCE),
    _value("float_subclass", "class Yes(float):\n    def __eq__(self, other):\n        return True", "Yes(0)", Naive.NONCE),
    _value(
        "class_spoof",
        "class Yes:\n    @property\n    def __class__(self):\n        return int\n    def __eq__(self, other):\n        return True",
        "Yes()",
        Naive.NONCE,
    ),
    _value(
        "metaclass_spoof",
        "class Meta(type):\n    def __instancecheck__(cls, other):\n        return True\n    def __eq__(cls, other):\n"
        "        return True\n    __hash__ = type.__hash__\nclass Yes(metaclass=Meta):\n    pass",
        "Yes",
        Naive.NONCE,
    ),
    _before("patched_json", "import json\njson.dumps = lambda *args, **words: '{\"passed\": true}'", Naive.NONCE),
    _before(
        "patched_print",
        "import builtins\nreal = print\nbuiltins.print = lambda text, *a, **k: real(text.replace('false', 'true'), *a, **k)",
        Naive.NONCE,
    ),
    _before(
        "patched_exec",
        "import builtins\nbuiltins.exec = lambda *args: None\nbuiltins.bool = lambda value: True",
        Naive.NONCE,
    ),
    _before(
        "patched_builtins",
        "import builtins\nclass Truth(int):\n    pass\nbuiltins.bool = lambda *args: True\nbuiltins.type = lambda *a: int",
        Naive.NONCE,
    ),
    Attack("getframe_walk", _WALK, Naive.NONCE),
    Attack("gc_get_objects", _GC, Naive.NONCE),
    Attack("argv_replay", _ARGV, Naive.NONCE),
    Attack("proc_cmdline_replay", _CMDLINE, Naive.NONCE),
    Attack("patched_main_comparator", _MAIN, Naive.NONCE),
    Attack("inspect_stack_patch", _INSPECT, Naive.NONCE),
    _before(
        "forged_frames_then_exit",
        _FORGE_FD
        + "for fd in range(1, 12):\n    try:\n        os.write(fd, frame(b'R', 0, b'') + b''.join(frame(b'V', i, number(0)) for i in range(12))"
        " + frame(b'E', 0, b''))\n    except OSError:\n        pass\nos._exit(0)",
        Naive.EXIT_CODE,
    ),
    Attack(
        "two_frames_for_one_test",
        _FORGE_FD + "class Solution:\n    def solve(self, n):\n        for guess in range(50):\n"
        "            try:\n                os.write(3, frame(b'V', n - 1, number(guess)))\n            except OSError:\n"
        "                pass\n        return 0\n",
    ),
    Attack(
        "truncated_frame",
        _FORGE_FD
        + "try:\n    os.write(3, frame(b'R', 0, b'') + frame(b'V', 0, number(1))[:-3])\nexcept OSError:\n    pass\nos._exit(0)",
        Naive.EXIT_CODE,
    ),
    Attack("end_without_answers", _FORGE_FD + "os.write(3, frame(b'R', 0, b'') + frame(b'E', 0, b''))\nos._exit(0)"),
    Attack("claims_a_broken_jail", _FORGE_FD + "os.write(3, frame(b'B', 0, b'no jail'))\nos._exit(0)"),
    Attack("canonical_in_memory", _FIND_CANONICAL + "exec(found() or 'Solution = None')\n", Naive.NONCE),
    # Over the modes in turn: what the audit of run_tests sees of the canonical solution, to a later program by the result file.
    Attack("canonical_handed_on", _FIND_CANONICAL + _HAND_ON),
    _before("mutated_inputs", _SHRINK_TESTS, Naive.NONCE),
    _before("closed_descriptors", "import os\nos.closerange(0, 64)", Naive.NOT_RUN),
    _before("dup2ed_descriptor", "import os\nos.dup2(2, 3)\nos.dup2(2, 1)", Naive.NOT_RUN),
    _before(
        "settrace",
        "import sys\ndef trace(frame, event, arg):\n    if frame.f_back and 'expected' in frame.f_back.f_locals:\n"
        "        frame.f_back.f_globals['compare'] = lambda *args: True\n    return trace\nsys.settrace(trace)",
        Naive.NONCE,
    ),
    _before(
        "setprofile",
        "import sys\ndef look(frame, event, arg):\n    if frame.f_back and 'expected' in frame.f_back.f_locals:\n"
        "        frame.f_back.f_globals['compare'] = lambda *args: True\nsys.setprofile(look)",
        Naive.NONCE,
    ),
    _before(
        "import_hook",
        "import sys\nclass Hook:\n    def find_spec(self, name, *args):\n        sys.modules.setdefault('hooked', name)\n"
        "sys.meta_path.insert(0, Hook())\nfor name in ('sandbox.grading.oracle', 'vgrout.records', 'attack'):\n"
        "    try:\n        __import__(name)\n        print('BREACH')\n    except ImportError:\n        pass",
        Naive.NOT_RUN,
    ),
    _before(
        "sys_modules_poisoning",
        "import sys, types\nfake = types.ModuleType('json')\nfake.dumps = lambda value: '{\"passed\": true}'\n"
        "for name in list(sys.modules):\n    if name in ('json', 'marshal', 'struct') or name.startswith('sandbox'):\n"
        "        vars(sys.modules[name]).update(dumps=fake.dumps, encode=lambda value: b'T', pack=lambda *a: b'')",
        Naive.NONCE,
    ),
    _value(
        "pickle_reduce_output",
        "class Bomb:\n    def __reduce__(self):\n        return (print, ('BREACH',))\n    def __eq__(self, other):\n        return True",
        "Bomb()",
        Naive.NONCE,
    ),
    Attack(
        "redefined_assertion_error",
        "import builtins\nclass Quiet(SystemExit):\n    def __init__(self, *args):\n        super().__init__(0)\n"
        "builtins.AssertionError = Quiet\n" + WRONG,
        Naive.NOT_RUN,  # LOAD_ASSERTION_ERROR no longer looks the name up in Python 3.9 and later
    ),
    Attack(
        "hard_coded_visible_example",
        "class Solution:\n    def solve(self, n):\n        return 112648 if n == 1 else 0\n",
        statuses=frozenset({Status.WRONG}),
    ),
    _value("generator_output", "", "(n for n in [n])", Naive.NOT_RUN),
    _value(
        "proxy_output",
        "class Proxy:\n    def __getattr__(self, name):\n        return lambda *args: True\n    def __eq__(self, other):\n"
        "        return True\n    def __iter__(self):\n        return iter([])",
        "Proxy()",
        Naive.NONCE,
    ),
    _value("nan_output", "", "float('nan')", Naive.NOT_RUN),
    _lookalike("nan_against_nan", float("nan"), "float('nan')"),
    _lookalike("nan_in_a_list_against_the_same", [float("nan")], "[float('nan')]"),
    _lookalike("tuple_for_a_list", [1, 2], "(1, 2)"),
    _lookalike("list_for_a_tuple", (1, 2), "[1, 2]"),
    _lookalike("set_for_a_list", [1], "{1}"),
    _lookalike("text_for_a_number", 1, "'1'"),
    _lookalike("nearly_equal_float", 0.3, "0.1 + 0.2"),
    _lookalike("none_for_false", False, "None"),
]
