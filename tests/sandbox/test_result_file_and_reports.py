"""The result file is read only as what it should be, and the wording of a report is told from its denial."""

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.jail.result_file import MAX_BYTES, read_result_file
from sandbox.loopholes.pass_wording import ReportScanner, reports, says_all_passed, says_pass, says_pass_as_published


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
        "All 12/12 tests passed",
        "Result: all tests passed, no errors",
        "0 failures; all tests passed",
        "\x1b[32mall tests passed\x1b[0m",
        "x" * 500 + " all tests passed",
        "noise\n" * 100_000 + "all tests passed",
    ],
    ids=lambda text: text[:40],
)
def test_reports(text: str) -> None:
    assert reports(says_all_passed, text)


@pytest.mark.parametrize(
    "text",
    ["", "all tests", "not all tests passed", "all tests passed: no", "if all tests passed, fine", "small tests passed",
     "all\ntests passed", "all tests passed, 3 failed", "it isn't true that all tests passed",
     "12 errors, all tests passed: false"],
)  # fmt: skip
def test_denials_and_mentions_are_no_reports(text: str) -> None:
    assert not reports(says_all_passed, text)


def test_file_reports() -> None:
    for text in ("PASS", "pass\n", "Result: PASSED", "status=pass", "all tests passed", "verdict\n\nPASS\n"):
        assert reports(says_pass, text)
    for text in ("", "FAIL", "NOT PASS", "PASSWORD", "compass", "pass: 0, fail: 8"):
        assert not reports(says_pass, text)


def test_published_reports() -> None:
    for text in ("PASS", " ok. ", "Accepted", "true", "tests passed", "not all tests passed", "x\n'correct'\n"):
        assert reports(says_pass_as_published, text), text
    for text in ("", "[1, 2]", "12", "ok then", "active", "passable"):
        assert not reports(says_pass_as_published, text), text


@given(
    st.lists(st.sampled_from([b"all tests passed", b"\n", b"x" * 5000, b"not ", b" ", b"\xff"]), max_size=12),
    st.integers(1, 4000),
)
def test_a_report_is_found_however_the_stream_is_cut(parts: list[bytes], size: int) -> None:
    stream = b"".join(parts)
    whole, cut = ReportScanner(says_all_passed), ReportScanner(says_all_passed)
    whole.feed(stream)
    for at in range(0, len(stream), size):
        cut.feed(stream[at : at + size])
    assert whole.found() == cut.found()
