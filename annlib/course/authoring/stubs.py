"""The learner's and the teacher's form of a code cell that holds a solution."""

import ast
import re

LINE_MARKER = re.compile(r"^( *)# solution$")
INLINE_MARKER = re.compile(r"^(\s*[^=]+?=)(?!=).*  # solution$")


def finished(code: str) -> str:
    """The whole solution, without the markers."""
    lines = [line for line in code.splitlines() if not LINE_MARKER.match(line)]
    return "\n".join(line.removesuffix("  # solution") for line in lines)


def stub(code: str) -> str:
    """What the learner gets: `...` in the place of everything that a marker hides."""
    lines = [INLINE_MARKER.sub(r"\1 ...", line) for line in code.splitlines()]
    for start in reversed(range(len(lines))):
        if marker := LINE_MARKER.match(lines[start]):
            end = end_of_function(lines, start)
            lines[start:end] = [f"{marker[1]}..."]
    ast.parse("\n".join(lines))
    return "\n".join(lines)


def end_of_function(lines: list[str], start: int) -> int:
    """Index after the last line of the function around line `start`; of the cell, outside any."""
    functions = [
        node
        for node in ast.walk(ast.parse("\n".join(lines)))
        if isinstance(node, ast.FunctionDef) and node.lineno <= start < node.end_lineno
    ]
    if functions:
        return max(functions, key=lambda node: node.lineno).end_lineno
    if lines[start].startswith(" "):
        raise ValueError(
            f"The indented marker after {lines[start - 1]!r} is in no function, or nothing follows "
            "it there, so what it hides has no end. Put it in the function, before the solution."
        )
    return len(lines)


def hidden_lines(code: str) -> list[str]:
    """The stripped lines that the learner does not see, in order."""
    shown = stub(code).splitlines()
    return [
        line.strip() for line in finished(code).splitlines() if line.strip() and line not in shown
    ]
