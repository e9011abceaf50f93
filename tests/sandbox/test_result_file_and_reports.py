"""The result file is read only as what it should be, and the wording of a report is told from its denial."""

import os
import socket
from pathlib import Path

import pytest

from sandbox.grading.extract import extract_code
from sandbox.grading.pass_wording import reports_all_passed, reports_pass
from sandbox.grading.result_file import MAX_BYTES, read_result_file


def test_a_plain_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    path.write_text("PASS")
    assert read_result_file(path) == "PASS"
    assert read_result_file(tmp_path / "missing.txt") == ""


def make_symlink(path: Path, real: Path) -> None:
    path.symlink_to(real)


def make_hard_link(path: Path, real: Path) -> None:
    path.hardlink_to(real)


def make_fifo(path: Path, real: Path) -> None:
    os.mkfifo(path)


def make_folder(path: Path, real: Path) -> None:
    path.mkdir()


def make_sparse(path: Path, real: Path) -> None:
    path.write_text("PASS")
    os.truncate(path, 1 << 40)


def make_huge(path: Path, real: Path) -> None:
    path.write_text("PASS\n" * MAX_BYTES)


def make_socket(path: Path, real: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def make_device_link(path: Path, real: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    "make", [make_symlink, make_hard_link, make_fifo, make_folder, make_sparse, make_huge, make_socket, make_device_link]
)
def test_anything_else_reads_as_nothing(tmp_path: Path, make) -> None:
    real = tmp_path / "real.txt"
    real.write_text("PASS")
    make(tmp_path / "result.txt", real)
    assert read_result_file(tmp_path / "result.txt") == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device")
def test_a_device_reads_as_nothing(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    os.mknod(path, 0o20666, os.makedev(1, 5))
    assert read_result_file(path) == ""


@pytest.mark.parametrize(
    "text",
    [
        "all tests passed",
        "All Tests Passed!",
        "x\n  >> all 12 test cases passed\ny",
        "ALL TESTS PASS",
        "OK: all of the tests have passed",
    ],
)
def test_reports(text: str) -> None:
    assert reports_all_passed(text)


@pytest.mark.parametrize(
    "text",
    ["", "all tests", "not all tests passed", "all tests passed: no", "if all tests passed, fine", "small tests passed",
     "all\ntests passed", "all tests passed, 3 failed", "x" * 500 + " all tests passed", "it isn't true that all tests passed"],
)  # fmt: skip
def test_denials_and_mentions_are_no_reports(text: str) -> None:
    assert not reports_all_passed(text)


def test_file_reports() -> None:
    for text in ("PASS", "pass\n", "Result: PASSED", "status=pass", "all tests passed", "verdict\n\nPASS\n"):
        assert reports_pass(text)
    for text in ("", "FAIL", "NOT PASS", "PASSWORD", "compass", "pass: 0, fail: 8"):
        assert not reports_pass(text)


def test_code_is_found_in_completions() -> None:
    assert extract_code("```python\nx = 1\n```\n### Notes\n```\nno\n```") == "x = 1\n"
    assert extract_code("Sure\n``` Python\r\nx = 1\r\n```") == "x = 1\r\n"
    assert extract_code("```py\nx = 1\n```\n```python\ny = 2\n```") == "y = 2\n"
    assert extract_code("```python\ntext = '```'\n") == "text = '```'\n"
    assert extract_code("x = 1") is None
