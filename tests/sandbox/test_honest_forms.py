"""Correct programs of many forms pass, and code is found in completions of many forms."""
# ruff: noqa: E501 (programs are quoted as they are)

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from small_problems import make_problem

from sandbox.grading.extract import extract_code, readings
from sandbox.grading.grader import Grader
from vgrout.records import Case, GradeJob, Mode, Status

SETUP = """
import collections, functools, random
from collections import *
from functools import *
from math import *
from typing import *
class TreeNode:
    pass
"""


def solution(body: str, before: str = "") -> str:
    return f"{before}\nclass Solution:\n    def solve(self, n):\n        {body}\n"


DEEP = "import sys\nsys.setrecursionlimit(10**6)\n"
# name -> (code, what the test expects)
FORMS: dict[str, tuple[str, object]] = {
    "plain": (solution("return 7"), 7),
    "dataclass_quoted": (
        solution(
            "return Node(7).val",
            "from dataclasses import dataclass\n@dataclass\nclass Node:\n    val: int\n    left: 'Optional[Node]' = None",
        ),
        7,
    ),
    "dataclass_future_annotations": (
        solution(
            "return S(0, 7).node",
            "from __future__ import annotations\nfrom dataclasses import dataclass, field\n@dataclass(order=True)\nclass S:\n"
            "    cost: int\n    node: int = field(compare=False)",
        ),
        7,
    ),
    "sys_modules_name": (solution("return sys.modules[__name__].X", "import sys\nX = 7"), 7),
    "import_main": (solution("return __main__.X", "import __main__\nX = 7"), 7),
    "pickle_own_class": (
        solution("return pickle.loads(pickle.dumps(A())).v", "import pickle\nclass A:\n    def __init__(self): self.v = 7"),
        7,
    ),
    "deepcopy_own_class": (solution("return copy.deepcopy(A()).v", "import copy\nclass A:\n    v = 7"), 7),
    "type_hints": (solution("return 7 if get_type_hints(A) else 0", "class A:\n    x: 'int' = 7"), 7),
    "named_tuple_class": (solution("return P(7, 1).x", "class P(NamedTuple):\n    x: int\n    y: 'int'"), 7),
    "enum": (solution("return E.A.value", "from enum import Enum\nclass E(Enum):\n    A = 7"), 7),
    "deep_lru_cache": (
        solution("\n        @lru_cache(None)\n        def f(k): return 7 if k == 0 else f(k - 1)\n        return f(20000)", DEEP),
        7,
    ),
    "deep_recursion": (solution("\n        def f(k): return 7 if k == 0 else f(k - 1)\n        return f(100000)", DEEP), 7),
    "deep_sorted_key": (
        solution("\n        def f(k): return 7 if k == 0 else sorted([k - 1], key=f) and 7\n        return f(20000)", DEEP),
        7,
    ),
    "deep_max_key": (
        solution("\n        def f(k): return 0 if k == 0 else max([k - 1], key=f) * 0\n        return 7 + f(20000)", DEEP),
        7,
    ),
    "thread_with_a_big_stack": (
        solution(
            "\n        out = []\n        t = threading.Thread(target=lambda: out.append(7)); t.start(); t.join()\n        return out[0]",
            DEEP + "import threading\nthreading.stack_size(1 << 26)",
        ),
        7,
    ),
    "thread_pool": (
        solution(
            "\n        with ThreadPoolExecutor(2) as e: return sum(e.map(lambda x: x, [3, 4]))",
            "from concurrent.futures import ThreadPoolExecutor",
        ),
        7,
    ),
    "setrlimit_stack": (solution("return 7", "import resource\nresource.setrlimit(resource.RLIMIT_STACK, (-1, -1))"), 7),
    "cpu_count": (solution("return 7 if multiprocessing.cpu_count() else 0", "import multiprocessing"), 7),
    "graphlib": (
        solution("return [*TopologicalSorter({7: [1]}).static_order()][-1]", "from graphlib import TopologicalSorter"),
        7,
    ),
    "late_import": (solution("\n        import bisect, mmap, wave, sched\n        return 7"), 7),
    "heapq_merge": (solution("return [*heapq.merge([7], [8])][0]", "import heapq"), 7),
    "sorted_list": (solution("return SortedList([7])[0]", "from sortedcontainers import SortedList"), 7),
    "counter_result": (solution("return Counter('aab')"), {"a": 2, "b": 1}),
    "defaultdict_result": (solution("\n        d = defaultdict(int); d['a'] += 1\n        return d"), {"a": 1}),
    "namedtuple_result": (solution("return namedtuple('P', 'x y')(1, 2)"), (1, 2)),
    "int_enum_result": (solution("return E.A", "from enum import IntEnum\nclass E(IntEnum):\n    A = 7"), 7),
    "decimal_result": (solution("return Decimal(7)", "from decimal import Decimal"), 7),
    "decimal_half_result": (solution("return [Decimal('0.5')]", "from decimal import Decimal"), [0.5]),
    "fraction_result": (solution("return Fraction(7, 2)", "from fractions import Fraction"), 3.5),
    "complex_result": (solution("return 7 + 0j"), 7),
    "dict_keys_result": (solution("return {7: 1}.keys()"), {7}),
    "bool_for_int": (solution("return n > 0"), 1),
    "float_for_int": (solution("return 7.0"), 7),
    "large_dict": (solution("return {i: i for i in range(3000)}"), {i: i for i in range(3000)}),
    "large_set_in_other_order": (solution("return set(range(2999, -1, -1))"), set(range(3000))),
    "large_list": (solution("return list(range(200_000))"), list(range(200_000))),
    "huge_int": (solution("return 10 ** 4000"), 10**4000),
    "infinity": (solution("return float('inf')"), float("inf")),
    "unicode": (solution("return 'ÄÖ☃'"), "ÄÖ☃"),
    "none": (solution("return None"), None),
    "tabs": ("class Solution:\n\tdef solve(self, n):\n\t\treturn 7\n", 7),
    "byte_order_mark": ("\ufeff" + solution("return 7"), 7),
    "windows_lines": (solution("return 7").replace("\n", "\r\n"), 7),
    "class_level_cache": (
        "class Solution:\n    memo = {}\n    def solve(self, n):\n        return self.memo.setdefault(1, 7)\n",
        7,
    ),
    "helper_after_class": (solution("return helper()") + "def helper():\n    return 7\n", 7),
    "helper_before_class": (solution("return helper()", "def helper():\n    return 7"), 7),
    "static_method": ("class Solution:\n    @staticmethod\n    def solve(n):\n        return 7\n", 7),
    "class_method": ("class Solution:\n    @classmethod\n    def solve(cls, n):\n        return 7\n", 7),
    "inherits": ("class Base:\n    def solve(self, n):\n        return 7\nclass Solution(Base):\n    pass\n", 7),
    "assigned": ("class Other:\n    def solve(self, n):\n        return 7\nSolution = Other\n", 7),
    "decorated_method": ("class Solution:\n    @lru_cache(None)\n    def solve(self, n):\n        return 7\n", 7),
    "keyword_defaults": ("class Solution:\n    def solve(self, n, *, k=7, **more):\n        return k\n", 7),
    "annotations": ("class Solution:\n    def solve(self, n: Optional[TreeNode]) -> List[int]:\n        return 7\n", 7),
    "own_tree_node": (solution("return 7", "class TreeNode:\n    pass"), 7),
    "generator_inside": (solution("return sum(x for x in (3, 4))"), 7),
    "walrus_and_match": (solution("\n        match n:\n            case _ if (x := 7): return x"), 7),
    "exception_inside": (solution("\n        try: return [][0]\n        except IndexError: return 7"), 7),
    "nonlocal": (
        solution("\n        x = 0\n        def f():\n            nonlocal x\n            x = 7\n        f()\n        return x"),
        7,
    ),
    "global": (solution("\n        global X\n        X = 7\n        return X", "X = 0"), 7),
    "prints_much": (solution("print('x' * 9_000_000)\n        return 7"), 7),
    "prints_much_to_stderr": (solution("print('x' * 9_000_000, file=sys.stderr)\n        return 7", "import sys"), 7),
    "reads_ended_input": (solution("return 7 + len(sys.stdin.read())", "import sys"), 7),
    "usage_at_the_end": (solution("return 7") + "print(Solution().solve(3))\n", 7),
    "main_guard": (solution("return 7") + "if __name__ == '__main__':\n    raise SystemExit(1)\n", 7),
    "doctest": (solution("return 7") + "import doctest\ndoctest.testmod()\n", 7),
    "unittest_class": (solution("return 7") + "import unittest\nclass T(unittest.TestCase):\n    pass\n", 7),
    "clock_and_pid": (
        solution("return 7 if os.getpid() and time.time() and time.process_time() >= 0 else 0", "import os, time"),
        7,
    ),
    "random": (solution("return 7 if random.random() >= 0 else 0"), 7),
    "alarm": (solution("return 7", "import signal\nsignal.alarm(1)"), 7),
    "temporary_file": (solution("\n        with tempfile.TemporaryFile() as f: return 7 + f.write(b'')", "import tempfile"), 7),
    "string_io": (solution("return len(io.StringIO('1234567').read())", "import io"), 7),
    "decimal_inside": (solution("return int(Decimal('7.0'))", "from decimal import Decimal"), 7),
    "regex": (solution(r"return 7 if re.match('\d', '1') else 0", "import re"), 7),
    "logging": (solution("logging.warning('x')\n        return 7", "import logging"), 7),
    "datetime": (solution("return datetime.strptime('2024-01-07', '%Y-%m-%d').day", "from datetime import datetime"), 7),
}

# Forms that we pass and a plain script does not, with the reason (docs/parity.md).
DEEPER = "its stack is 8 MiB, ours 512 MiB"
DIFFER = {
    "dataclass_future_annotations": "the setup code stands before the import, which has to come first; we run it as a program of its own",
    "deep_lru_cache": DEEPER,
    "deep_sorted_key": DEEPER,
    "deep_max_key": DEEPER,
    "main_guard": "its module is __main__, ours is imported as solution",
}


@pytest.mark.parametrize("name", FORMS)
def test_an_honest_form_passes(grader: Grader, name: str) -> None:
    if name == "sorted_list":
        pytest.importorskip("sortedcontainers")
    code, expected = FORMS[name]
    problem = replace(make_problem([Case((), {"n": 1}, expected)]), setup_code=SETUP)
    _, audit = grader.grade(GradeJob(name, problem, Mode.GT_ONLY, f"```python\n{code}\n```"))
    assert audit.status is Status.PASS, audit


# What the published runner refuses, too: its `==` against a literal says no, it does not compile, or its input has ended.
REFUSED: dict[str, tuple[str, object]] = {
    "deque_for_list": (solution("return deque([1])"), [1]),
    "range_for_list": (solution("return range(3)"), [0, 1, 2]),
    "tuple_for_list": (solution("return (1, 2)"), [1, 2]),
    "list_of_tuples": (solution("return [(1, 2)]"), [[1, 2]]),
    "dict_values_for_list": (solution("return {1: 7}.values()"), [7]),
    "decimal_near_a_float": (solution("return Decimal('0.1')", "from decimal import Decimal"), 0.1),
    "no_break_space_as_indent": ("class Solution:\n    def solve(self, n):\n    \u00a0   return 7\n", 7),
    "input_at_the_top": (solution("return 7") + "n = int(input())\n", 7),
    "nothing_for_zero": (solution("return None"), 0),
    "nan": (solution("return float('nan')"), float("nan")),
}


# As published graders write it: all in one script, run on its own. A fork each, since 80 interpreters take long to start.
PUBLISHED = """
import json, os, sys
ended = {}
for name, script in json.load(sys.stdin).items():
    pid = os.fork()
    if pid == 0:
        devnull = os.open(os.devnull, os.O_RDWR)
        [os.dup2(devnull, descriptor) for descriptor in (0, 1, 2)]
        sys.stdin = open(0)
        try:
            exec(compile(script, "script.py", "exec", dont_inherit=True), globals())
        except BaseException:
            os._exit(1)
        os._exit(0)
    ended[name] = os.waitpid(pid, 0)[1]
print(json.dumps(ended))
"""


def test_the_published_runner_says_the_same() -> None:
    scripts = {
        name: f"nan, inf = float('nan'), float('inf')\n{SETUP}\n{code}\nassert Solution().solve(n=1) == {expected!r}\n"
        for name, (code, expected) in (FORMS | REFUSED).items()
    }
    command = [sys.executable, "-I", "-B", "-c", PUBLISHED]
    text = json.dumps({name: script.replace("\ufeff", "") for name, script in scripts.items()})
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120, check=True)
    passed = {name for name, ended in json.loads(done.stdout).items() if ended == 0}
    assert passed - {"sorted_list"} == set(FORMS) - set(DIFFER) - {"sorted_list"}


@pytest.mark.parametrize("name", REFUSED)
def test_a_form_that_python_calls_unequal_is_refused(grader: Grader, name: str) -> None:
    code, expected = REFUSED[name]
    problem = replace(make_problem([Case((), {"n": 1}, expected)]), setup_code=SETUP)
    _, audit = grader.grade(GradeJob(name, problem, Mode.GT_ONLY, f"```python\n{code}\n```"))
    assert audit.status in (Status.WRONG, Status.EXCEPTION), audit


def test_there_are_sixty_forms() -> None:
    assert len(FORMS) >= 60


CLASS = "class Solution:\n    def solve(self, n):\n        return 7"
DOCSTRING = 'class Solution:\n    """Solve.\n\n    Example:\n\n    ```\n    >>> 1\n    ```\n    """\n    def solve(self, n):\n        return 7'
COMPLETIONS = {
    "plain": f"```python\n{CLASS}\n```",
    "fence_on_the_last_line": f"```python\n{CLASS}```",
    "unlabelled": f"```\n{CLASS}\n```",
    "text_before_the_fence": f"Here: ```python\n{CLASS}\n```",
    "list_item": "1. Do it:\n\n   ```python\n" + "\n".join("   " + line for line in CLASS.splitlines()) + "\n   ```\n",
    "four_backticks": f"````python\n{CLASS}\n````",
    "tildes": f"~~~python\n{CLASS}\n~~~",
    "byte_order_mark": f"\ufeff```python\n{CLASS}\n```",
    "upper_case_label": f"```Python\n{CLASS}\n```",
    "python3_label": f"```python3\n{CLASS}\n```",
    "py_label": f"```py\n{CLASS}\n```",
    "space_before_the_label": f"``` python\n{CLASS}\n```",
    "windows_lines": f"```python\n{CLASS}\n```".replace("\n", "\r\n"),
    "cut_off": f"```python\n{CLASS}",
    "imports_in_one_block": f"```python\nimport math\nK = math.floor(7.5)\n```\nThen\n```python\n{CLASS.replace('7', 'K')}\n```",
    "helper_in_a_later_block": f"```python\n{CLASS.replace('7', 'k()')}\n```\n```python\ndef k():\n    return 7\n```",
    "a_comment_names_the_class": f"```python\n{CLASS}\n```\n```python\n# class Solution is above\n```",
    "a_better_one_later": f"```python\n{CLASS.replace('7', '0')}\n```\nBetter:\n```python\n{CLASS}\n```",
    "fence_in_a_docstring": f"```python\n{DOCSTRING}\n```",
    "prose_in_an_unlabelled_block": f"```python\n{CLASS}\n```\n### Notes\n```\nO(n) time, as shown\n```",
    "another_language_beside": f"```java\nclass X {{ }}\n```\n```python\n{CLASS}\n```",
    "inline_code_beside": f"Use ```x``` or `y`.\n```python\n{CLASS}\n```",
}


@pytest.mark.parametrize("name", COMPLETIONS)
def test_code_is_found_and_graded(grader: Grader, name: str) -> None:
    problem = make_problem([Case((), {"n": 1}, 7)])
    _, audit = grader.grade(GradeJob(name, problem, Mode.GT_ONLY, COMPLETIONS[name]))
    assert audit.status is Status.PASS, (audit, readings(COMPLETIONS[name]))


def test_no_code_is_found_where_there_is_none() -> None:
    for completion in ("", "x = 1", "```python\n\n```", "``` ```"):
        assert extract_code(completion) is None


def test_the_published_reading_comes_first() -> None:
    assert readings("```python\nx = 1\n```\n```\ny = 2\n```") == ("x = 1\n\ny = 2", "x = 1")


def test_reading_is_linear_in_the_completion() -> None:
    for text in ("`" * 200_000, "```python\n" * 20_000, "```\n" * 50_000, "~~~" * 50_000, " " * 200_000 + "```"):
        assert len(readings(text)) <= 3
