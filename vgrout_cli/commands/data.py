"""`vgrout data check FILE...`: report everything that is wrong with problem files, and with the split that they make.
`vgrout data check-pairs FILE`: see vgrout_cli/commands/data_check_pairs.py.
`vgrout data check-loophole FILE...`: see vgrout_cli/commands/data_check_loophole.py.
`vgrout data fetch SOURCE DEST`: see vgrout_cli/commands/data_fetch.py.
`vgrout data convert SOURCE DEST`: see vgrout_cli/commands/data_convert.py.

Invariant: all findings of all files are printed, not the first; the exit code is 0 only if there is none.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.problems.load import Finding
from vgrout.errors import UserError
from vgrout.records import Mode, Problem
from vgrout_cli.commands import data_check_loophole as check_loophole_command
from vgrout_cli.commands import data_check_pairs as check_pairs_command
from vgrout_cli.commands import data_convert as convert_data
from vgrout_cli.commands import data_fetch as fetch_data
from vgrout_cli.commands.help_texts import ABOUT

if TYPE_CHECKING:
    from vgrout.config import Config


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vgrout data`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser("check", help="check problem files", description=ABOUT["data check"])
    check.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="problem files; several are a split, train before test"
    )
    check.add_argument("--pairs", type=Path, metavar="FILE", help="authored pairs, which must ask none of the problems")
    check.add_argument(
        "--config", type=Path, metavar="PRESET", help="measure every prompt with this preset's tokenizer, hints and limit"
    )
    check.set_defaults(act=_check)
    pairs = actions.add_parser(
        "check-pairs", help="grade both sides of every authored pair", description=ABOUT["data check-pairs"]
    )
    check_pairs_command.configure(pairs)
    pairs.set_defaults(act=check_pairs_command.run)
    loophole = actions.add_parser(
        "check-loophole", help="grade the programs of a loophole of your own", description=ABOUT["data check-loophole"]
    )
    check_loophole_command.configure(loophole)
    loophole.set_defaults(act=check_loophole_command.run)
    get = actions.add_parser("fetch", help="copy a JSON Lines file from a path or URL", description=ABOUT["data fetch"])
    fetch_data.configure(get)
    get.set_defaults(act=fetch_data.run)
    make = actions.add_parser("convert", help="make problems of another coding data set", description=ABOUT["data convert"])
    convert_data.configure(make)
    make.set_defaults(act=convert_data.run)


def run(args: argparse.Namespace) -> int:
    """Do the action."""
    return args.act(args)


def _check(args: argparse.Namespace) -> int:
    """Check and report. Returns 0 for sound files, 2 where anything was found."""
    from sandbox.loopholes.plug_in import read
    from sandbox.problems.contamination import pair_overlaps, prompt_overlaps
    from sandbox.problems.load import prompt_findings, scan, split_findings
    from sandbox.problems.prompts import hints_with
    from vgrout import pairs as pair_file
    from vgrout.config import load
    from vgrout.records import LOOPHOLES

    config = load(args.config) if args.config else None
    plug_ins = read(config.data.plug_ins.values()) if config else {}
    findings: list[Finding] = []
    splits = []
    for path in args.files:
        try:
            problems, faults = scan(path)
        except UserError as error:
            problems, faults = [], [Finding(error.where, error.found, error.expected)]
        faults = faults + prompt_findings(path, problems)
        tests = sum(len(problem.cases) for problem in problems)
        unsplit = sum(fault.test > 0 for fault in faults)
        print(
            f"{path}: {len(problems)} sound problems with {tests} tests; {unsplit} tests refused that do not split; "
            f"{len(faults)} findings"
        )
        findings += faults
        splits.append((path, problems))
    for place, (older_path, older) in enumerate(splits):
        for newer_path, newer in splits[place + 1 :]:
            faults = split_findings(older, newer) + prompt_overlaps(older, newer)
            print(f"{older_path} (older) and {newer_path} (newer): {len(faults)} findings")
            findings += faults
    if args.pairs:
        pairs = pair_file.load(args.pairs, modes=(*LOOPHOLES, *plug_ins))
        problems = [problem for _, problems in splits for problem in problems]
        faults = pair_overlaps(args.pairs, pairs, problems, hints_with(plug_ins))
        print(f"{args.pairs}: {len(pairs)} pairs, {len(faults)} findings")
        findings += faults
    if config:
        findings += _measured(config, hints_with(plug_ins), splits)
    for finding in findings:
        print(finding)
    return 2 if findings else 0


def _measured(config: "Config", hints: dict[str, str], splits: list[tuple[Path, list[Problem]]]) -> list[Finding]:
    """Prompts that are too long for a preset, with the longest of its hints, and control tokens in their text."""
    from actors.rollouts.input_check import control_tokens, longest_prompts
    from learner.tokenizer import load_tokenizer

    tokenizer, limit, findings = load_tokenizer(config.model.path), config.rollout.prompt_limit, []
    modes = [*config.data.mode_names, Mode.GT_ONLY]
    for path, problems in splits:
        lengths = longest_prompts(tokenizer, [(problem, modes) for problem in problems], limit, hints)
        findings += [
            Finding(f"{path}, problem {problem.id}", f"a prompt of {tokens} tokens", f"at most {limit}")
            for problem, tokens in zip(problems, lengths, strict=True)
            if tokens > limit
        ]
        findings += control_tokens(tokenizer, problems, f"{path}, ")
    return findings
