"""Projection heads: learned maps that bring student and teacher embeddings to one width."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from graphkd._checks import check_choice, check_count, describe
from graphkd._precision import upcast
from graphkd.distributed import Ranks
from graphkd.ops.ring.batch_norm import batch_norm

HEADS = ("linear", "mlp", "gcn", "identity")

HeadSpec: TypeAlias = str | Sequence[nn.Module]


class ProjectionHead(nn.Module):
    r"""A learned map of embeddings to another width.

    ``"linear"`` is :math:`hW + b`. ``"mlp"`` adds BatchNorm and ReLU, as in the paper of G-CRD.
    ``"gcn"`` is ``"mlp"`` with a :class:`~torch_geometric.nn.conv.GCNConv` instead of the linear
    map; it needs ``edge_index``. ``"identity"`` changes nothing.

    Args:
        kind: One of these names.
        dim_in: The width of the embeddings.
        dim_out: The width of the result.

    Shapes:
        - **h:** :math:`[N, d_{in}]`
        - **edge_index:** :math:`[2, E]`, for ``"gcn"``
        - **output:** :math:`[N, d_{out}]`

    Raises:
        ValueError: If ``kind`` is unknown, or ``"identity"`` would have to change the width.

    Example:
        >>> head = ProjectionHead("mlp", 64, 16)
        >>> head(torch.randn(10, 64)).shape
        torch.Size([10, 16])
    """

    def __init__(self, kind: str, dim_in: int, dim_out: int) -> None:
        super().__init__()
        check_choice("head", kind, HEADS)
        check_count("dim_in", dim_in, least=1)
        check_count("dim_out", dim_out, least=1)
        if kind == "identity" and dim_in != dim_out:
            raise ValueError(
                f"head='identity' cannot change the width; got {dim_in} and {dim_out}. Use "
                "head='linear' or 'mlp'."
            )
        self.takes_edges = kind == "gcn"
        self.map: nn.Module = nn.Identity()
        if kind == "gcn":
            from torch_geometric.nn import GCNConv

            self.map = GCNConv(dim_in, dim_out)
        elif kind != "identity":
            self.map = nn.Linear(dim_in, dim_out)
        self.norm = nn.BatchNorm1d(dim_out) if kind in ("mlp", "gcn") else None

    def reset_parameters(self) -> None:
        """Draw new parameters and reset the running statistics."""
        reset_parameters(self.map)
        if self.norm is not None:
            reset_parameters(self.norm)

    def forward(
        self, h: Tensor, edge_index: Tensor | None = None, ranks: Ranks | None = None
    ) -> Tensor:
        """Project the rows; with ``ranks``, BatchNorm takes its moments over all ranks' rows."""
        out: Tensor = self.map(h, edge_index) if self.takes_edges else self.map(h)
        if self.norm is None:
            return out
        return (self.norm(out) if ranks is None else batch_norm(self.norm, out, ranks)).relu()


def changes_nothing(head: nn.Module) -> bool:
    """Whether a head gives its rows back as they are."""
    return isinstance(head.map if isinstance(head, ProjectionHead) else head, nn.Identity)


def reset_parameters(module: nn.Module) -> None:
    """Call a module's own ``reset_parameters``, or its children's if it has none."""
    if callable(reset := getattr(module, "reset_parameters", None)):
        reset()
    else:
        for child in module.children():
            reset_parameters(child)


def head_pair(
    loss: str,
    head: Any,
    dim_s: int,
    dim_t: int,
    proj_dim: int,
    choices: Sequence[str] = HEADS,
) -> tuple[nn.Module, nn.Module]:
    """The student's and the teacher's head: two of a named kind, or the user's pair.

    If the choices have ``"student"``, it is a linear head of the student's to the teacher's width.
    """
    for name, value in {"dim_s": dim_s, "dim_t": dim_t, "proj_dim": proj_dim}.items():
        check_count(f"{loss}: {name}", value, least=1)
    if isinstance(head, str):
        check_choice(f"{loss}: head", head, choices)
        if head == "student":
            return student_head(loss, "linear", dim_s, dim_t)
        if head == "identity":
            if dim_s != dim_t:
                raise ValueError(
                    f"{loss}: head='identity' needs embeddings of one width; got dim_s={dim_s} "
                    f"and dim_t={dim_t}. Use head='linear' or 'mlp'."
                )
            proj_dim = dim_s
        return ProjectionHead(head, dim_s, proj_dim), ProjectionHead(head, dim_t, proj_dim)
    pair = list(head) if isinstance(head, (Sequence, nn.ModuleList)) else [head]
    if len(pair) != 2 or not all(isinstance(module, nn.Module) for module in pair):
        raise ValueError(
            f"{loss}: head must be one of {', '.join(map(repr, choices))} or a pair of modules "
            f"(student's, teacher's); got {', '.join(map(describe, pair))}. Pass two modules that "
            "are built, such as (torch.nn.Linear(64, 256), torch.nn.Identity())."
        )
    return pair[0], pair[1]


def student_head(
    loss: str, head: Any, dim_s: int, dim_t: int, choices: Sequence[str] = HEADS
) -> tuple[nn.Module, nn.Module]:
    """A named head to the teacher's width, and the identity for the teacher; or the user's pair."""
    if not isinstance(head, str):
        return head_pair(loss, head, dim_s, dim_t, dim_t)
    for name, value in {"dim_s": dim_s, "dim_t": dim_t}.items():
        check_count(f"{loss}: {name}", value, least=1)
    check_choice(f"{loss}: head", head, choices)
    return ProjectionHead(head, dim_s, dim_t), ProjectionHead("identity", dim_t, dim_t)


def check_ranked(loss: str, *heads: nn.Module) -> None:
    """Raise if BatchNorm in a user's head would take its moments on one rank."""
    for head in heads:
        for module in head.modules() if not isinstance(head, ProjectionHead) else ():
            if isinstance(module, _BatchNorm) and not isinstance(module, nn.SyncBatchNorm):
                raise ValueError(
                    f"{loss}: a head of the user's takes BatchNorm's moments on one rank, and the "
                    f"loss would not be that of all ranks' rows; got {module}. Use head='mlp', a "
                    "pair of graphkd.heads.ProjectionHead, or on GPUs "
                    "torch.nn.SyncBatchNorm.convert_sync_batchnorm(head, process_group)."
                )


def project(
    loss: str,
    head: nn.Module,
    h: Tensor,
    edge_index: Tensor | None,
    name: str,
    ranks: Ranks | None = None,
) -> Tensor:
    """Run a head, after checks for mistakes whose own errors would be hard to understand."""
    dtype = _dtype(head)
    if dtype not in (None, h.dtype):
        if dtype in (torch.float16, torch.bfloat16):
            remedy = (
                f"Call .to({h.dtype}) on the loss. If it is FSDP's mixed-precision policy that "
                "casts the loss in each forward pass, shard the loss on its own without a policy, "
                "or leave it out: FullyShardedDataParallel(..., ignored_modules=[loss])."
            )
        else:
            remedy = f"Call .to({h.dtype}) on the loss, or convert the embeddings."
        raise ValueError(
            f"{loss}: the head of {name} is {_name(dtype)}, but the student's embeddings come as "
            f"{_name(h.dtype)} (half precision is upcast to float32). {remedy}"
        )
    if (
        not torch.compiler.is_compiling()
        and (h.size(0) if ranks is None else ranks.total()) == 1
        and any(_uses_batch_statistics(module) for module in head.modules())
    ):
        raise ValueError(
            f"{loss}: BatchNorm in the head of {name} needs at least two rows in training mode; "
            "got 1. Select more rows, use head='linear', or call .eval() on the loss."
        )
    if ranks is not None and isinstance(head, ProjectionHead):
        return head(h, ranks=ranks)  # type: ignore[no-any-return]
    out: Any = head(h) if edge_index is None else head(h, edge_index)
    if not isinstance(out, Tensor):
        raise TypeError(f"{loss}: the head of {name} must return a tensor; got {describe(out)}.")
    return upcast(out)  # a head that FSDP shards on its own returns half precision


def _dtype(head: nn.Module) -> torch.dtype | None:
    """That of a head's parameters; None if it has none."""
    for parameter in head.parameters():
        return parameter.dtype
    if not torch.compiler.is_compiling():
        for module in head.modules():
            for value in vars(module).values():
                # FullyShardedDataParallel puts plain tensors in the place of parameters.
                if isinstance(value, Tensor) and value.requires_grad:
                    return value.dtype
    return None


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _uses_batch_statistics(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and (module.training or module.running_mean is None)
