"""G-CRD of checked rows: which backend, further keys and positives, one process or several."""

from typing import Any

import torch
from torch import Tensor

from graphkd._checks import check_devices, check_matrix, describe
from graphkd._precision import full_precision
from graphkd.distributed import refuse, reporting
from graphkd.functional._rows import reduce_rows, sample_rows, select_rows
from graphkd.functional.contrast.positives import LabelPositives, PairPositives
from graphkd.functional.neighbours._sides import Sides
from graphkd.functional.neighbours.lsp import edge_values
from graphkd.graph import Edges
from graphkd.ops import check_precision, chunked, pick_backend, reference, triton_programs
from graphkd.similarity import KERNELS


def contrast(
    p: Tensor,
    q: Tensor,
    several: LabelPositives | PairPositives | None,
    *,
    temperature: float = 0.075,
    symmetric: bool = False,
    extra_keys: Tensor | None = None,
    max_samples: int | None = None,
    generator: torch.Generator | None = None,
    reduction: str = "mean",
    backend: str = "auto",
    chunk_size: int | None = None,
    precision: str = "float32",
    process_group: Any = None,
    ddp: bool = True,
) -> Tensor:
    """G-CRD of checked, upcast, selected rows; here both sides may learn, as with heads."""
    loss = "gcrd_loss"
    if process_group is not None:
        with reporting(process_group):
            given = {"labels= or positives=": (several is not None, "Leave them out.")}
            refuse(loss, process_group, **given)
            more = q[:0].detach() if extra_keys is None else checked_keys(loss, extra_keys, q)
        # Its module loads torch's compiler.
        from graphkd.functional._ranked import ranked_contrast

        value: Tensor = ranked_contrast(
            p,
            q,
            more,
            temperature=temperature,
            symmetric=symmetric,
            reduction=reduction,
            chunk_size=chunk_size,
            process_group=process_group,
            ddp=ddp,
        )
        return value
    with full_precision(p.device):
        sample = sample_rows(p.size(0), max_samples, generator, p.device)
        p, q = (select_rows(loss, h, sample) for h in (p, q))
        more = q[:0].detach() if extra_keys is None else checked_keys(loss, extra_keys, q)
        backend = pick_backend(loss, backend, p, chunk_size=chunk_size)
        check_precision(loss, precision, backend)
        name = "symmetric_infonce" if symmetric else "infonce"
        if backend == "triton":
            rows = getattr(triton_programs(), name)(p, q, more, temperature, precision)
        else:
            ops = reference if backend == "reference" else chunked
            rows = getattr(ops, name)(p, q, more, temperature, chunk_size)
        if several is not None:
            several = several.select(sample)

            def similarity(src: Tensor, dst: Tensor, edges: Edges) -> Tensor:
                unused = dst.new_ones(())
                return edge_values(Sides(src, dst), edges, KERNELS["cosine"], unused, backend, None)

            gap = several.gap(p, q, similarity)
            if symmetric:
                gap = (gap + several.gap(q, p, similarity)) / 2
            rows = rows + gap / temperature
        return reduce_rows(rows, reduction)


def checked_keys(loss: str, extra_keys: Tensor, q: Tensor) -> Tensor:
    """Further keys without a gradient, of the keys' width, device and dtype; else it raises."""
    check_matrix(loss, "extra_keys", extra_keys, "keys")
    check_devices(loss, embeddings=q, extra_keys=extra_keys)
    if extra_keys.size(1) != q.size(1):
        raise ValueError(
            f"{loss}: extra_keys must have the width of the (projected) rows, {q.size(1)}; got "
            f"{describe(extra_keys)}. Project them as the teacher's rows are."
        )
    return extra_keys.detach().to(q.dtype)
