"""What failed in a process of vLLM's own is in the error of the process that asked for it."""

import pytest

from actors.engines.vllm_process import cause_told, note_cause


def test_the_first_process_that_failed_is_the_cause():
    with pytest.raises(RuntimeError, match=r"did not start: ValueError: no weights in /x$"), cause_told():
        note_cause(ValueError("no weights\n  in /x"))  # as the worker, and then the core, do in processes of their own
        note_cause(RuntimeError("a worker failed"))
        raise RuntimeError("Engine core initialization failed. See root cause above.")


def test_an_error_of_this_process_stays_as_it_is():
    with pytest.raises(RuntimeError, match=r"^mine$"), cause_told():
        raise RuntimeError("mine")
    note_cause(ValueError("nobody asks"))
