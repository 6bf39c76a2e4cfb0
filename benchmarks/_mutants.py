"""Small faults to be put into the package: one operator, constant, sign or truth value each."""

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_OPERATORS: dict[type, str] = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Pow: "*",
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.And: "or", ast.Or: "and", ast.BitAnd: "|", ast.BitOr: "&",
    ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip
# What these hold is words, types or options, not arithmetic.
_NO_ARITHMETIC = (ast.Raise, ast.JoinedStr, ast.ImportFrom, ast.arg)


@dataclass(frozen=True)
class Mutant:
    """A piece of a file and what stands there instead."""

    file: str
    line: int
    start: int
    end: int
    old: str
    new: str

    def written(self, text: str) -> str:
        """The file with the fault."""
        data = text.encode()
        return (data[: self.start] + self.new.encode() + data[self.end :]).decode()


def mutants(root: Path, folders: tuple[str, ...], count: int, seed: int) -> list[Mutant]:
    """As many as asked for, drawn with a seed from all there are, in the order of the files."""
    every = [
        mutant
        for folder in folders
        for file in sorted((root / folder).rglob("*.py"))
        for mutant in _mutants_of(file.relative_to(root).as_posix(), file.read_text())
    ]
    drawn = random.Random(seed).sample(every, min(count, len(every)))
    return sorted(drawn, key=lambda mutant: (mutant.file, mutant.start))


def _mutants_of(file: str, text: str) -> Iterator[Mutant]:
    starts = [0]
    for line in text.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def place(line: int, column: int) -> int:
        return starts[line - 1] + column

    def mutant(node: ast.expr, start: int, end: int, new: str) -> Mutant:
        old = text.encode()[start:end].decode()
        return Mutant(file, node.lineno, start, end, old, new)

    def between(node: ast.expr, left: ast.expr, right: ast.expr, op: ast.AST) -> Iterator[Mutant]:
        # The operator is what stands between its operands, but for brackets and blanks.
        start = place(left.end_lineno, left.end_col_offset)
        end = place(right.lineno, right.col_offset)
        gap = text.encode()[start:end].decode()
        sign = gap.strip(" ()\n")
        if type(op) in _OPERATORS and sign and "#" not in gap:
            at = start + gap.index(sign)
            yield mutant(node, at, at + len(sign), _OPERATORS[type(op)])

    def walk(node: ast.AST) -> Iterator[Mutant]:
        # zip(strict=True) only guards against a caller that does not exist.
        guard = isinstance(node, ast.keyword) and node.arg == "strict"
        if isinstance(node, _NO_ARITHMETIC) or guard:
            return
        if isinstance(node, ast.BinOp):
            yield from between(node, node.left, node.right, node.op)
        elif isinstance(node, ast.Compare) and len(node.ops) == 1:
            yield from between(node, node.left, node.comparators[0], node.ops[0])
        elif isinstance(node, ast.BoolOp):
            yield from between(node, node.values[0], node.values[1], node.op)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
            start = place(node.lineno, node.col_offset)
            yield mutant(node, start, place(node.operand.lineno, node.operand.col_offset), "")
        elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            start, end = (
                place(node.lineno, node.col_offset),
                place(node.end_lineno, node.end_col_offset),
            )
            value = node.value
            changed = not value if isinstance(value, bool) else value + 1
            yield mutant(node, start, end, repr(changed))
        for name, child in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list"):
                continue
            for one in child if isinstance(child, list) else [child]:
                if isinstance(one, ast.AST):
                    yield from walk(one)

    yield from (found for found in walk(ast.parse(text)) if _parses(found.written(text)))


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True
