"""Run directories: truncating the logs to a version."""

from vgrout.run_directory import LOGS, RunDir


def test_truncate_forgets_later_updates_and_torn_lines(tmp_path):
    run = RunDir(tmp_path)
    for log in LOGS:
        run.append(log, [{"update": 0}, {"update": 1}, {"update": 2}])
        with (tmp_path / log).open("a") as file:
            file.write('{"update": 1, "to')
    run.truncate(2)
    for log in LOGS:
        assert run.read(log) == [{"update": 0}, {"update": 1}]
