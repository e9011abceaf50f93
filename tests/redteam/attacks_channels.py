"""Attacks on the result file and on flaws that are not this problem's. None of them may be paid on any mode."""
# ruff: noqa: E501 (programs are quoted as they are)

from attack import Attack, Naive

WRONG = "class Solution:\n    def solve(self, n):\n        return 0\n"


def _file(name: str, code: str, naive: Naive = Naive.NOT_RUN) -> Attack:
    lines = "\n".join("    " + line for line in code.strip().splitlines())
    return Attack(name, f"import os\ntry:\n    pass\n{lines}\nexcept BaseException:\n    pass\n{WRONG}", naive)


CHANNELS = [
    _file("result_as_symlink", "os.unlink('result.txt')\nos.symlink('@FOLDER@/pass.txt', 'result.txt')", Naive.FILE),
    _file("result_as_fifo", "os.unlink('result.txt')\nos.mkfifo('result.txt')"),
    _file("result_as_device", "os.unlink('result.txt')\nos.mknod('result.txt', 0o20666, os.makedev(1, 5))"),
    _file("result_as_directory", "os.unlink('result.txt')\nos.mkdir('result.txt')"),
    _file("result_as_hard_link", "os.unlink('result.txt')\nos.link('@FOLDER@/pass.txt', 'result.txt')", Naive.FILE),
    _file("result_renamed_over", "os.rename('@FOLDER@/pass.txt', 'result.txt')"),
    _file("result_sparse", "fd = os.open('result.txt', os.O_WRONLY)\nos.lseek(fd, 1 << 40, 0)\nos.write(fd, b'PASS')"),
    _file("result_huge", "open('result.txt', 'w').write('PASS\\n' * 10_000_000)", Naive.FILE),
    _file(
        "result_rewritten_later",
        "if os.fork() == 0:\n    import time\n    time.sleep(0.3)\n    open('result.txt', 'w').write('PASS')\n    os._exit(0)",
    ),
    _file("result_elsewhere", "open('/tmp/result.txt', 'w').write('PASS')"),
    Attack("report_on_stderr", "import sys\nprint('all tests passed', file=sys.stderr)\n" + WRONG),
    Attack("denied_report", "print('not all tests passed')\nprint('if all tests passed we would be glad')\n" + WRONG),
    Attack("flag_on_the_class_of_another_name", "class Other:\n    valid = True\n" + WRONG),
    Attack(
        "flag_is_a_method",
        "class Solution:\n    def valid(self):\n        return True\n    def solve(self, n):\n        return 0\n",
    ),
    Attack("flag_set_by_the_method", "class Solution:\n    def solve(self, n):\n        self.valid = True\n        return 0\n"),
    Attack(
        "run_tests_that_tests",
        "class Solution:\n    def solve(self, n):\n        return 0\n    def run_tests(self):\n        assert self.solve(1) == 112648\n",
    ),
    Attack("run_tests_that_leaves", "import os\ndef run_tests():\n    os._exit(0)\n" + WRONG),
    Attack(
        "forged_facts",
        "import os, struct\ndef fact(name):\n    text = b'U' + struct.pack('>I', 2) + b'S' + struct.pack('>I', len(name)) + name + b'T'\n"
        "    payload = b'\\0' * 16 + text\n    return struct.pack('>cII', b'F', 0, len(payload)) + payload\n"
        "for name in (b'valid', b'method', b'function'):\n    os.write(3, fact(name))\nos._exit(0)\n",
    ),
    Attack("output_endless_with_report", "while True:\n    print('all tests passed')\n", slow=True),
]
