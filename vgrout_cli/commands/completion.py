"""`vgrout completion bash|zsh`: a script that completes commands, options, arms and presets in that shell."""

import argparse
import shlex

from vgrout.named_files import names
from vgrout.presets import packaged

SCRIPT = """\
_vgrout() {
  local current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" words=""
  COMPREPLY=()
  case "$before" in
    --arm) words=ARMS ;;
    vgrout) words=COMMANDS ;;
    *) case "${COMP_WORDS[1]}" in
CASES
    esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o bashdefault -o default -F _vgrout vgrout
"""
ZSH = "autoload -Uz +X compinit bashcompinit && compinit && bashcompinit\n"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "shell", choices=("bash", "zsh"), help='which shell: eval "$(vgrout completion bash)" in its start-up file'
    )


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    print((ZSH if args.shell == "zsh" else "") + script(args.root), end="")
    return 0


def script(root: argparse.ArgumentParser) -> str:
    """The script for a command line; completion of files is the shell's own."""
    commands = _actions(root)
    presets = names(packaged())
    cases = []
    for name, sub in commands.items():
        inner = _actions(sub)
        words = [*_options(sub), *inner, *(option for one in inner.values() for option in _options(one))]
        if any(action.dest == "config" for action in sub._actions):
            words += presets
        cases.append(f"      {name}) words={_list(words)} ;;")
    filled = SCRIPT.replace("ARMS", _list(names(packaged() / "arms"))).replace("COMMANDS", _list(list(commands)))
    return filled.replace("CASES", "\n".join(cases))


def _actions(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The sub-commands of a parser."""
    subs = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return {name: sub for action in subs for name, sub in action.choices.items()}


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return [text for action in parser._actions for text in action.option_strings if text.startswith("--")]


def _list(words: list[str]) -> str:
    return shlex.quote(" ".join(dict.fromkeys(words)))
