"""`vgrout view [RUN...]`: look at runs in the browser, while they run or afterwards."""

import argparse
from pathlib import Path

from vgrout.errors import UserError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("runs", nargs="*", type=Path, default=[Path("out")], help="run directories, suites, or folders of them")
    parser.add_argument("--port", type=int, default=8642, help="port on 127.0.0.1; 0 takes a free one")


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C. Raises UserError where no run is found or the port is taken."""
    import socket

    import uvicorn

    from vgrout_cli.view.reader import find_runs
    from vgrout_cli.view.server import app

    found = find_runs(args.runs)
    if not found:
        raise UserError(", ".join(map(str, args.runs)), "no run directory", "folders made by `vgrout train` or `vgrout suite`")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", args.port))
    except OSError as error:
        raise UserError(f"--port {args.port}", str(error.strerror), "a free port; 0 takes any") from None
    print(f"{len(found)} runs at http://127.0.0.1:{listener.getsockname()[1]}/ (Ctrl-C ends)", flush=True)
    config = uvicorn.Config(app(args.runs), log_level="warning", access_log=False)
    uvicorn.Server(config).run([listener])
    return 0
