"""The command line: one sub-command per module; bad input ends in one message on standard error and exit code 2."""

import argparse
import difflib
import io
import os
import sys
from collections.abc import Callable

if sys.platform == "win32":  # said before the imports below look for what only POSIX has
    print("operating system: found win32; expected Linux: WSL 2, a Linux container or a virtual machine", file=sys.stderr)
    sys.exit(2)

from vgrout_cli import own_packages

if hidden := own_packages.message():  # said before the imports below take the wrong one
    print(f"vgrout: {hidden}", file=sys.stderr)
    sys.exit(2)

from vgrout import __version__
from vgrout.fault import as_user_error, report_bug
from vgrout.progress import alive
from vgrout.signals import AtOnce, Interrupted, RunStopped
from vgrout_cli.commands import accept as accept_command
from vgrout_cli.commands import arms as arms_command
from vgrout_cli.commands import compare as compare_command
from vgrout_cli.commands import completion as completion_command
from vgrout_cli.commands import config as config_command
from vgrout_cli.commands import data as data_command
from vgrout_cli.commands import demo as demo_command
from vgrout_cli.commands import doctor as doctor_command
from vgrout_cli.commands import eval as eval_command
from vgrout_cli.commands import eval_curve as eval_curve_command
from vgrout_cli.commands import export as export_command
from vgrout_cli.commands import export_rollouts as export_rollouts_command
from vgrout_cli.commands import fetch as fetch_command
from vgrout_cli.commands import gate_null as gate_null_command
from vgrout_cli.commands import grade as grade_command
from vgrout_cli.commands import init as init_command
from vgrout_cli.commands import list as list_command
from vgrout_cli.commands import monitor as monitor_command
from vgrout_cli.commands import quarantine_sweep as quarantine_sweep_command
from vgrout_cli.commands import report as report_command
from vgrout_cli.commands import simulate as simulate_command
from vgrout_cli.commands import suite as suite_command
from vgrout_cli.commands import tiny as tiny_command
from vgrout_cli.commands import train as train_command
from vgrout_cli.commands import view as view_command
from vgrout_cli.commands import watch as watch_command
from vgrout_cli.commands.help_texts import ABOUT, GROUPS

COMMANDS = {
    "train": (train_command, "train one arm into a run directory"),
    "arms": (arms_command, "list the arms and what each one changes"),
    "config": (config_command, "say what the fields of the configuration mean"),
    "suite": (suite_command, "train and evaluate arms x seeds, resumable"),
    "eval": (eval_command, "score a run's checkpoint with the quarantine on and off"),
    "eval-curve": (eval_curve_command, "score all checkpoints of runs, or the monitoring subset, or novel markers"),
    "monitor": (monitor_command, "freeze the monitoring subset of the test split"),
    "export": (export_command, "write a checkpoint as a standard PEFT folder"),
    "export-rollouts": (export_rollouts_command, "write the rollouts of runs as one Parquet table"),
    "fetch": (fetch_command, "copy a run's deploy export and metrics to this machine"),
    "grade": (grade_command, "grade completions from a JSON Lines file"),
    "data": (data_command, "check problem files"),
    "tiny": (tiny_command, "build the tiny world (problems, pairs, tokenizer, model)"),
    "demo": (demo_command, "train vanilla and routev on the tiny world and compare them"),
    "quarantine-sweep": (quarantine_sweep_command, "score a run with its quarantine deleted in part"),
    "gate-null": (gate_null_command, "compare a run's gate with random directions"),
    "report": (report_command, "print the tables, figures and checks of runs and suites"),
    "simulate": (simulate_command, "try the asynchronous driver on a virtual cluster"),
    "list": (list_command, "list runs with their state and last rates"),
    "compare": (compare_command, "say how two runs differ, in settings and in metrics"),
    "watch": (watch_command, "follow a run in the terminal"),
    "view": (view_command, "look at runs and their rollouts in the browser"),
    "init": (init_command, "write a commented preset for your own model and problems"),
    "completion": (completion_command, "print a script that completes commands in bash or zsh"),
    "doctor": (doctor_command, "say what this machine can run"),
    "accept": (accept_command, "prove that this machine runs everything, in minutes"),
}


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    listed = [f"{group}:\n" + "".join(f"  {n:<17}{COMMANDS[n][1]}\n" for n in names) for group, names in GROUPS.items()]
    root = argparse.ArgumentParser(
        prog="vgrout",
        description="Vector gradient routing: train on graders that can be cheated, deploy without the cheating.\n\n"
        + "\n".join(listed),
        epilog="`vgrout COMMAND --help` explains a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"vgrout {__version__}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, text) in COMMANDS.items():
        sub = commands.add_parser(name, description=ABOUT.get(name, text))
        module.configure(sub)
        sub.set_defaults(run=module.run, root=root)
    return root


def main(argv: list[str] | None = None) -> int:
    """Parse and run; returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] not in COMMANDS and not words[0].startswith("-"):
        close = difflib.get_close_matches(words[0], COMMANDS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"one of {', '.join(COMMANDS)}"
        print(f"vgrout: command: found {words[0]!r}; expected {hint}", file=sys.stderr)
        return 2
    args = parser().parse_args(words)
    # Before torch is imported: threads that spin while they wait cost more than they gain where cores are few or shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    run: Callable[[argparse.Namespace], int] = args.run
    for output in (sys.stdout, sys.stderr):  # a terminal that knows no ± gets a `?`, and the command goes on
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="replace")
    try:
        with alive():
            return run(args)
    except BrokenPipeError:
        return 1
    except RunStopped as stop:
        print(f"vgrout: the run stopped: {stop}; go on with: {stop.resume_command}", file=sys.stderr)
        return 1
    except (Interrupted, AtOnce) as stop:
        how = "stopped at once" if isinstance(stop, AtOnce) else "stopped after a whole update"
        print(f"vgrout: {how} ({stop}); go on with: {stop.resume_command}", file=sys.stderr)
        return 128 + stop.signum
    except KeyboardInterrupt:
        print("vgrout: interrupted", file=sys.stderr)
        return 130
    except Exception as error:  # the one boundary: what the user can mend in one message, the rest as a bug with its account
        expected = as_user_error(error)
        print(f"vgrout: {expected or report_bug(error)}", file=sys.stderr)
        return 2 if expected else 1


if __name__ == "__main__":
    sys.exit(main())
