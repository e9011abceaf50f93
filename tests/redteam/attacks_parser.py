"""Attacks on the part of the trusted side that reads what the child sends."""

from attack import Attack

from vgrout.records import Status

# TIMEOUT: building some of these values alone takes the program longer than its deadline.
NOT_PASS = frozenset(Status) - {Status.PASS, Status.INFRA_ERROR}


def _value(name: str, lines: str, expression: str, slow: bool = False) -> Attack:
    body = f"class Solution:\n    def solve(self, n):\n{lines}        return {expression}\n"
    return Attack(name, body, statuses=NOT_PASS, slow=slow)


def _raw(name: str, expression: str) -> Attack:
    """Raw bytes as the value of the first test, straight to the result descriptor."""
    body = (
        "import os, struct\n"
        "def frame(kind, index, payload):\n    return struct.pack('>cII', kind, index, len(payload)) + payload\n"
        f"data = frame(b'R', 0, b'') + frame(b'V', 0, {expression})\n"
        "while data:\n    data = data[os.write(3, data):]\nos._exit(0)\n"
    )
    return Attack(name, body, statuses=NOT_PASS)


PARSER = [
    _value("depth_200k", "        value = []\n        for _ in range(200_000):\n            value = [value]\n", "value"),
    _value("five_thousand_digit_int", "", "10 ** 5000"),
    _value("huge_int", "", "1 << 10_000_000"),
    _value("nan_inf_surrogate_nul", "", "[float('nan'), 1e999, '\\udc80', '\\0']"),
    _value("hundred_megabytes", "", "'x' * 100_000_000", slow=True),
    _value("million_items", "", "[0] * 5_000_000"),
    _value("cycle", "        value = []\n        value.append(value)\n", "value"),
    _value(
        "shared_exponential", "        value = []\n        for _ in range(60):\n            value = [value, value]\n", "value"
    ),
    _value("colliding_keys", "", "{k * (2**61 - 1) for k in range(100_000)}", slow=True),
    _raw("raw_depth_200k", "b'L\\0\\0\\0\\1' * 200_000 + b'N'"),
    _raw("raw_lying_count", "b'L\\xff\\xff\\xff\\xff' + b'N'"),
    _raw("raw_lying_length", "b'S\\x7f\\xff\\xff\\xff' + b'x'"),
    _raw("raw_duplicate_keys", "b'M\\0\\0\\0\\2' + (b'T' + b'N') * 2"),
    _raw("raw_unhashable_key", "b'E\\0\\0\\0\\1' + b'L\\0\\0\\0\\0'"),
    _raw("raw_bad_utf8", "b'S\\0\\0\\0\\1\\xff'"),
    _raw(
        "raw_colliding_set",
        "b'E' + struct.pack('>I', 2000) + b''.join(b'J' + struct.pack('>q', k * (2**61 - 1)) for k in range(4))",
    ),
    _raw("raw_many_nodes", "b'L' + struct.pack('>I', 6_000_000) + b'T' * 6_000_000"),
    Attack(
        "raw_flood",
        "import os\nwhile True:\n    os.write(3, b'V' * 65536)\n",
        statuses=frozenset({Status.WRONG}),
    ),
    Attack(
        "raw_long_frame",
        "import os, struct\nos.write(3, struct.pack('>cII', b'R', 0, 0) + struct.pack('>cII', b'V', 0, 2**31))\n"
        "while True:\n    os.write(3, b'V' * 65536)\n",
        statuses=frozenset({Status.WRONG}),
    ),
]
