"""Names with arguments: "gcrd[head=student]" of methods, "Cora[labelled=5]" of data sets."""

import ast
import re
from typing import Any


def named(part: str) -> tuple[str, dict[str, Any]]:
    """("gcrd", {"head": "student"}) from "gcrd[head=student]"."""
    name, _, inside = part.removesuffix("]").partition("[")
    return name, arguments(inside)


def arguments(text: str) -> dict[str, Any]:
    """{"head": "student", "sizes": (9, 5)} from "head=student,sizes=(9,5)"."""
    every = re.split(r",(?=\w+=)", text)  # at commas before a name
    pairs = (one.partition("=") for one in every if one)
    return {key: _value(value) for key, _, value in pairs}


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
