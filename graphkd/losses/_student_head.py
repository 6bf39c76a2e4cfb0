"""Heads of losses that project the student alone, to the teacher's width."""

from graphkd._checks import check_choice
from graphkd.heads import HEADS, HeadSpec, ProjectionHead


def student_head(
    loss: str, head: HeadSpec, dim_s: int, dim_t: int, choices: tuple[str, ...] = HEADS
) -> HeadSpec:
    """A pair for ``ProjectedLoss``: the named head, and none for the teacher; or the user's."""
    if not isinstance(head, str):
        return head
    check_choice(f"{loss}: head", head, choices)
    return ProjectionHead(head, dim_s, dim_t), ProjectionHead("identity", dim_t, dim_t)
