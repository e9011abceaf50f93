"""Turn a row of another coding data set (MBPP, HumanEval, LeetCodeDataset and their like) into a problem of the published form.

Invariant: nothing is executed; the tests of a problem are all the asserts of its row, or the row is refused with the reason.
"""

import ast

from sandbox.problems.prompts import PHRASE
from vgrout.errors import UserError
from vgrout.rows import Row

# Our part of a problem -> the fields that it is looked for in, first one first. docs/reference/problems.md lists them.
SOURCES: dict[str, tuple[str, ...]] = {
    "id": ("id", "question_id", "task_id"),
    "question": ("question", "problem_description", "text", "description", "prompt"),
    "tests": ("gt_answer", "test_list", "tests", "test"),
    "solution": ("canonical_solution", "code", "completion", "solution"),
    "name": ("func_name", "entry_point", "function_name"),
    "setup": ("setup_code", "test_setup_code"),
}
ASKED = "Your solution should be a method of the class Solution called {name} " + PHRASE + "."


def convert(where: str, row: Row, number: int, fields: dict[str, str], phrase: str = PHRASE) -> Row:
    """The problem of a row. `number`: its id where the row has no integer; `fields`: part -> field, for other names; `phrase`:
    what a loophole's hint shall replace in its question, where it is there.

    Raises UserError naming the row and the part that could not be made.
    """
    part: Row = {name: row.get(fields[name]) if name in fields else _first(row, SOURCES[name]) for name in SOURCES}
    for name in ("question", "tests", "solution"):
        if not part[name]:
            raise UserError(
                f"{where}, {name}", "nothing", f"one of the fields {', '.join(SOURCES[name])}, or --field {name}=FIELD"
            )
    tests = part["tests"] if isinstance(part["tests"], list) else [part["tests"]]
    given = str(part["name"] or "").removesuffix("()").rpartition(".")[2]
    name = given or _called(where, tests)
    asked = part["question"]
    question = asked[-1].get("content") if isinstance(asked, list) and isinstance(asked[-1], dict) else asked
    if not isinstance(question, str):
        raise UserError(f"{where}, question", repr(asked)[:60], "text, or chat messages")
    kept = next((one for one in (phrase, PHRASE) if one in question), None)
    text = question if kept else f"{question.rstrip()}\n{ASKED.format(name=name)}"
    return {
        **({"phrase": phrase} if kept == phrase != PHRASE else {}),
        "id": part["id"] if type(part["id"]) is int else number,
        "prompt": [{"role": "user", "content": text}],
        "func_name": f"Solution().{name}",
        "setup_code": part["setup"] if isinstance(part["setup"], str) else "",
        "canonical_solution": _as_class(where, str(part["solution"]), name, row.get("prompt")),
        "gt_answer": [test for one in tests for test in _asserts(where, one, name)],
    }


def _first(row: Row, names: tuple[str, ...]) -> object:
    return next((row[name] for name in names if row.get(name)), None)


def _parsed(where: str, text: object) -> ast.Module:
    try:
        return ast.parse(str(text))
    except (SyntaxError, ValueError, RecursionError) as error:
        raise UserError(f"{where}, tests", f"no Python ({error})", "asserts") from None


def _called(where: str, tests: list[object]) -> str:
    """The function that the first assert calls."""
    for node in ast.walk(_parsed(where, tests[0])):
        left = node.test.left if isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare) else None
        if isinstance(left, ast.Call) and isinstance(left.func, ast.Name):
            return left.func.id
    raise UserError(f"{where}, tests", repr(tests[0])[:60], "an assert that calls a function by name, or --field name=FIELD")


def _asserts(where: str, test: object, name: str) -> list[str]:
    """Every assert of a test text, on `Solution().name`: at its top or in its `check(candidate)`."""
    found: list[ast.stmt] = []
    for node in _parsed(where, test).body:
        found += node.body if isinstance(node, ast.FunctionDef) and node.name == "check" else [node]
    kept = [node for node in found if isinstance(node, ast.Assert)]
    harmless = (ast.Assert, ast.Assign, ast.Expr, ast.Import, ast.ImportFrom, ast.Pass)
    if other := next((node for node in found if not isinstance(node, harmless)), None):
        raise UserError(f"{where}, tests", f"a {type(other).__name__}: {ast.unparse(other)[:60]}", "asserts alone")
    if not kept:
        raise UserError(f"{where}, tests", repr(test)[:60], "at least one assert")
    target = ast.parse(f"Solution().{name}", mode="eval").body

    class OnSolution(ast.NodeTransformer):
        def visit_Call(self, node: ast.Call) -> ast.AST:
            self.generic_visit(node)
            called = isinstance(node.func, ast.Name) and node.func.id in (name, "candidate")
            return ast.Call(target, node.args, node.keywords) if called else node

    return [ast.unparse(ast.fix_missing_locations(OnSolution().visit(node))) for node in kept]


def _as_class(where: str, solution: str, name: str, before: object) -> str:
    """The solution as a class `Solution` with the method; a function of that name becomes one."""
    for text in (solution, f"{before}{solution}"):
        try:
            body = ast.parse(text).body
        except (SyntaxError, ValueError, RecursionError):
            continue
        if any(isinstance(node, ast.ClassDef) and node.name == "Solution" for node in body):
            return text
        if any(isinstance(node, ast.FunctionDef) and node.name == name for node in body):
            return f"{text.rstrip()}\n\n\nclass Solution:\n    {name} = staticmethod({name})\n"
    raise UserError(f"{where}, solution", repr(solution)[:60], f"Python with a class Solution or a function {name}")
