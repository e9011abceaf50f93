"""The one boundary: what a user can mend is one message and exit code 2; the rest is a bug that says where its account is."""

import errno
import io
import re
import sys
from pathlib import Path

import pytest

from vgrout.errors import UserError
from vgrout.fault import EXPECTED, as_user_error
from vgrout_cli import main as command_line
from vgrout_cli.commands import doctor


@pytest.mark.parametrize("number", sorted(EXPECTED))
def test_what_a_machine_refuses_names_the_file_and_the_way_out(number):
    told = as_user_error(OSError(number, "Said So", "/some/place"))
    assert told is not None and told.where == "/some/place" and told.found and told.expected == EXPECTED[number]


@pytest.mark.parametrize(
    "error", [OSError(errno.EBADF, "bad descriptor", "/x"), OSError(errno.ENOSPC, "full"), KeyError("k"), ValueError("v")]
)
def test_what_nobody_can_mend_is_a_bug(error):
    assert as_user_error(error) is None


def command(monkeypatch, error):
    def run(args):
        raise error

    monkeypatch.setattr(doctor, "run", run)
    return command_line.main(["doctor"])


def test_a_bug_says_where_its_account_is(monkeypatch, capsys):
    assert command(monkeypatch, KeyError("a layer")) == 1
    said = capsys.readouterr().err
    assert "KeyError: 'a layer'" in said and "Traceback" not in said and "vgrout doctor" in said
    (place,) = re.findall(r"/\S+/vgrout-error-\S+\.txt", said)
    assert "Traceback" in Path(place).read_text()
    Path(place).unlink()


@pytest.mark.parametrize(
    "error",
    [
        UserError("here", "this", "that"),
        PermissionError(errno.EACCES, "Permission denied", "/x"),
        UnicodeEncodeError("utf-8", "ab\ud800cd", 2, 3, "surrogates not allowed"),
    ],
    ids=["bad input", "unwritable", "surrogate"],
)
def test_an_expected_error_is_one_line_and_exit_code_2(monkeypatch, capsys, error):
    assert command(monkeypatch, error) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "found" in said and "expected" in said


def test_an_ascii_terminal_gets_a_question_mark(monkeypatch):
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr(doctor, "run", lambda args: print("0.5 ± 0.1") or 0)
    assert command_line.main(["doctor"]) == 0
    output.flush()
    assert output.buffer.getvalue() == b"0.5 ? 0.1\n"  # type: ignore[attr-defined]
