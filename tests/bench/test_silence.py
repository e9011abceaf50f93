"""bench.silence hears what a command says on a terminal, and after what it was silent."""

import json
import sys

from bench.silence import listen

SAYS = "import sys, time; print('one', flush=True); time.sleep(0.4); print('two', sys.stdout.isatty(), flush=True); sys.exit(3)"


def test_a_command_is_heard_to_its_end(tmp_path):
    heard = listen([sys.executable, "-S", "-c", SAYS], tmp_path / "log")
    pieces = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert "".join(text for _, text in pieces).split() == ["one", "two", "True"] and heard.code == 3
    assert heard.first_s <= pieces[-1][0] and heard.silence_s > 0 and heard.after in ("", "one")
