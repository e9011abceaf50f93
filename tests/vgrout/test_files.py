"""Whole files and the errors of JSON Lines files."""

import pytest

from vgrout.errors import UserError
from vgrout.files import read_jsonl, write_whole


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.json"
    write_whole(path, "old")
    with pytest.raises(TypeError):
        write_whole(path, 5)  # pyright: ignore[reportArgumentType]
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(("line", "said"), [(b"{", "invalid JSON"), (b"[1]", "a JSON list"), (b'{"a": "\xff"}', "not UTF-8")])
def test_jsonl_errors_name_file_and_line(tmp_path, line, said):
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'{"id": 1}\n\n' + line + b"\n")
    with pytest.raises(UserError) as caught:
        list(read_jsonl(path))
    assert f"{path}:3" in str(caught.value) and said in str(caught.value)
