"""Each student row against all teacher rows: G-CRD.

The formula in its plain form is ``infonce`` in ``ops/reference/infonce.py``.
"""

from typing import Any

import torch
from torch import Tensor

from graphkd._checks import (
    check_count,
    check_devices,
    check_flag,
    check_matrix,
    check_positive,
    check_temperature,
    describe,
)
from graphkd._precision import full_precision, has_rows, recorded
from graphkd.distributed import refuse, reporting
from graphkd.functional._options import PairOptions
from graphkd.functional._rows import (
    matched_rows,
    reduce_rows,
    row_weights,
    sample_rows,
    select_rows,
)
from graphkd.functional.contrast.positives import (
    LabelPositives,
    PairPositives,
    resolve_positives,
)
from graphkd.functional.contrast.targets import soft_targets, with_further
from graphkd.graph import Edges
from graphkd.ops.contrast_primitives import infonce, soft_infonce, symmetric_infonce
from graphkd.ops.primitives import edge_similarity
from graphkd.ops.reference.soft_infonce import Targets
from graphkd.similarity import KERNELS


def check_gcrd_options(
    loss: str,
    *,
    temperature: float | Tensor,
    teacher_temperature: float | None,
    symmetric: bool,
    num_negatives: int | None,
    **pairs: Any,
) -> None:
    """Raise on an option of G-CRD that is out of range."""
    check_temperature(f"{loss}: temperature", temperature)
    check_flag(f"{loss}: symmetric", symmetric)
    how = PairOptions(**pairs)
    how.check(loss)
    if teacher_temperature is not None:
        check_positive(f"{loss}: teacher_temperature", teacher_temperature)
        if how.backend == "triton":
            raise ValueError(
                f"{loss}: teacher_temperature has no programs for GPUs; got backend='triton'. Pass "
                "backend='auto', which runs on GPUs too."
            )
    if num_negatives is None:
        return
    if teacher_temperature is not None:
        raise ValueError(
            f"{loss}: num_negatives draws negatives, but with teacher_temperature each key is a "
            "positive to some degree; got both. Leave one out, or draw rows by max_samples."
        )
    # Of one key, the row that it belongs to would have no negative.
    check_count(f"{loss}: num_negatives", num_negatives, least=2)
    if how.max_samples is not None:
        raise ValueError(
            f"{loss}: num_negatives keeps all rows as anchors, max_samples draws them too; got "
            "both. Leave one out."
        )


def gcrd_loss(
    h_s: Tensor,
    h_t: Tensor,
    *,
    temperature: float | Tensor = 0.075,
    teacher_temperature: float | None = None,
    symmetric: bool = False,
    weight: Tensor | None = None,
    index: Tensor | None = None,
    extra_keys: Tensor | None = None,
    extra_targets: Tensor | None = None,
    labels: Tensor | None = None,
    positives: Tensor | None = None,
    num_negatives: int | None = None,
    max_samples: int | None = None,
    generator: torch.Generator | None = None,
    reduction: str = "mean",
    backend: str = "auto",
    chunk_size: int | None = None,
    precision: str = "float32",
    process_group: Any = None,
    ddp: bool = True,
) -> Tensor:
    r"""Graph contrastive representation distillation between rows of one width.

    Replaces ``F.cross_entropy(unit(h_s) @ unit(h_t).T / temperature, torch.arange(N))``, exactly
    and without the :math:`N \times N` matrix.

    .. math::
        L = \frac1N \sum_i -\log \frac{\exp(\cos(h^s_i, h^t_i)/\tau)}
                                      {\sum_j \exp(\cos(h^s_i, h^t_j)/\tau)}

    A node's own teacher row is its positive; the teacher rows of all others are its negatives. The
    code computes :math:`\log(1 + \sum_{j \ne i} e^{(s_{ij} - s_{ii})/\tau})`, which is accurate
    near zero and does not overflow. Nothing is projected here: :class:`graphkd.GCRDLoss` projects
    both sides, by heads that learn.

    With several positives, the set P(i) of row i, which always holds i itself,

    .. math::
        L_i = -\frac1{|P(i)|} \sum_{p \in P(i)} \log
              \frac{\exp(\cos(h^s_i, h^t_p)/\tau)}{\sum_j \exp(\cos(h^s_i, h^t_j)/\tau)}

    P(i) are the rows of the same label (``labels``), or given pairs (``positives``), such as a
    graph's edges. The first takes one sum per label, the second one similarity per pair.

    All pairs of a million rows are too many. With ``num_negatives``, each call draws a set S of
    that many keys, without replacement, which are the negatives of all rows; each row keeps its own
    positive. Row i's sum over them is scaled to the number of all other rows,

    .. math::
        L_i = \log\Big(1 + \frac{N - 1}{|S \setminus \{i\}|} \sum_{j \in S \setminus \{i\}}
              e^{(s_{ij} - s_{ii})/\tau}\Big)

    so that the value estimates the exact one, whatever the number of keys. The sum is unbiased;
    its logarithm is a little below the exact value on average. Time is linear in N.

    A node may resemble others, of which the loss above takes none for a positive. With
    ``teacher_temperature``, the teacher says how much each key is one,

    .. math::
        L_i = \mathrm{KL}(a_i \,\Vert\, b_i), \qquad
        a_{ij} = \mathrm{softmax}_j \frac{\cos(h^t_i, h^t_j)}{\tau_t}, \quad
        b_{ij} = \mathrm{softmax}_j \frac{\cos(h^s_i, h^t_j)}{\tau}

    over all rows j, i among them. For :math:`\tau_t \to 0`, this is the loss above, if no two
    teacher rows have one direction, and none is zero. Its least value is 0. It keeps its digits
    near there.

    Args:
        h_s: Student rows.
        h_t: Teacher rows of the same width; they get no gradient.
        temperature: :math:`\tau`, without a unit; the paper uses 0.05 to 0.1. A number, or a 0-d
            tensor or Parameter, which gets an exact gradient if it requires one.
        teacher_temperature: :math:`\tau_t`: soft targets from the teacher's similarities. None:
            each row has its own key as its target. It does not go with ``labels``, ``positives``
            or ``num_negatives``.
        symmetric: Average with the loss whose anchors are the teacher's rows, with the same soft
            targets, if there are any.
        weight: A weight for each row as an anchor, not negative, before ``index``; the row stays a
            negative of the others. The mean divides by the weights' sum. It gets a gradient if it
            requires one.
        index: Boolean mask or row numbers; the selected rows are anchors and negatives alike.
            A row number given twice makes a row its own negative.
        extra_keys: Further teacher rows, as from a queue: negatives of every anchor (if symmetric,
            of every student anchor) and positives of none. They are neither selected nor sampled,
            and get no gradient. With ``teacher_temperature`` they are targets as all keys are.
        extra_targets: The teacher's rows that ``extra_keys`` belong to, for soft targets; default:
            the keys themselves.
        labels: The rows of one label are one another's positives. A row of label -1 (or any other
            negative number) has only itself.
        positives: Pairs (anchor, key) of row numbers, before ``index``, which drops the pairs of
            rows that it leaves out. The order of pairs, repeats, and pairs of a row with itself
            change nothing. With ``symmetric``, anchors are students in one direction and teachers
            in the other. ``edge_index`` fits: a row's positives are the rows it has an edge to.
        num_negatives: Draw this many keys anew in each call, at least 2, as the negatives of all
            rows. From as many keys as rows on, the loss is exact and draws nothing. ``extra_keys``
            come on top, each counted once; several positives stay exact. Both directions of a
            symmetric loss take the same rows.
        max_samples: Draw at most this many rows anew in each call, without replacement. The loss,
            also its sum, then takes the drawn rows among themselves.
        generator: Source of randomness for ``num_negatives`` and ``max_samples``; default: torch's
            global one.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (one value per row, in the order of index).
        backend: ``"auto"``, ``"reference"`` (dense), ``"chunked"`` (linear memory) or ``"triton"``
            (for GPUs).
        chunk_size: Rows of a tile of the chunked backend; changes memory, not the value.
        precision: Of the triton backend's products: ``"float32"``, ``"tf32"`` or ``"bf16"``.
        process_group: A ``torch.distributed`` group: the loss then takes the rows of all its ranks,
            and each rank gets the same value. See :doc:`/distributed`.
        ddp: With a group of W ranks: True delivers W times this rank's gradient, which
            DistributedDataParallel divides by W; False the gradient itself.

    Shapes:
        - **h_s:** :math:`[N, d]`
        - **h_t:** :math:`[N, d]`
        - **temperature:** a number, or :math:`[]`
        - **weight:** :math:`[N]`
        - **extra_keys, extra_targets:** :math:`[K, d]` both
        - **labels:** :math:`[N]`
        - **positives:** :math:`[2, P]`
        - **output:** scalar, or one value per selected row for ``reduction="none"``

    Raises:
        ValueError: If row counts, widths or devices differ, an input is not two-dimensional,
            ``weight`` is negative, an option is out of range, ``num_negatives`` is given with
            ``max_samples``, ``positives`` with ``labels`` or with an ``index`` that names a row
            twice, or ``teacher_temperature`` with what it does not go with.
        TypeError: If an input is not a floating-point tensor, or labels or pairs not integers.
        IndexError: If ``index`` or ``positives`` names a row that does not exist.
        ImportError: If ``backend="triton"`` and triton is not installed.

    Source: Joshi et al., TNNLS 2022, arXiv 2111.04964, equation of G-CRD. The authors' code samples
    8,192 or more rows and clamps norms at 1e-12; otherwise the value equals theirs. Several
    positives are averaged outside of the logarithm, as in Khosla et al., NeurIPS 2020,
    arXiv 2004.11362, who leave an anchor's own row out. Soft targets: SEED, Fang et al., ICLR 2021,
    arXiv 2101.04731, whose keys are a queue, and whose value is larger by the entropy of
    :math:`a_i`.

    Example:
        >>> import torch
        >>> from graphkd.functional import gcrd_loss
        >>> h = torch.eye(3)
        >>> gcrd_loss(h, h, temperature=1.0)     # log(1 + 2/e)
        tensor(0.5514)
        >>> gcrd_loss(torch.ones(8, 4), torch.ones(8, 4)).exp()   # uniform: log N
        tensor(8.0000)
        >>> gcrd_loss(h, h, temperature=1.0, labels=torch.tensor([0, 0, -1]))  # + 1/2, + 1/2, + 0
        tensor(0.8848)
        >>> gcrd_loss(h, h, temperature=1.0, teacher_temperature=0.5)
        tensor(0.0989)
        >>> gcrd_loss(h, h, temperature=1.0, teacher_temperature=0.01)     # a row alone: as above
        tensor(0.5514)
    """
    loss = "gcrd_loss"
    how = PairOptions(max_samples, reduction, backend, chunk_size, precision, process_group, ddp)
    with reporting(process_group):
        check_gcrd_options(
            loss,
            temperature=temperature,
            teacher_temperature=teacher_temperature,
            symmetric=symmetric,
            num_negatives=num_negatives,
            **how.by_name(),
        )
        remedy = "GCRDLoss(dim_s, dim_t) projects both to one width."
        s, t, chosen = matched_rows(loss, h_s, h_t, index, projecting=remedy)
        several = resolve_positives(loss, labels, positives, h_s)
        if several is not None:
            several = several.select(chosen)
        weight = row_weights(loss, weight, h_s, chosen)
        targets = soft_targets(loss, teacher_temperature, extra_keys, extra_targets)
    terms = temperature, symmetric, num_negatives
    return contrast(s, t, several, weight, *terms, extra_keys, generator, how, targets)


def contrast(
    p: Tensor,
    q: Tensor,
    several: LabelPositives | PairPositives | None,
    weight: Tensor | None,
    temperature: float | Tensor,
    symmetric: bool,
    num_negatives: int | None,
    extra_keys: Tensor | None,
    generator: torch.Generator | None,
    how: PairOptions,
    targets: Targets | None = None,
) -> Tensor:
    """G-CRD of rows that passed the checks; here both sides may learn, as with heads."""
    loss = "gcrd_loss"
    if isinstance(temperature, Tensor):
        with reporting(how.process_group):
            check_devices(loss, embeddings=p, temperature=temperature)
        temperature = recorded(temperature.to(p))
    if how.process_group is not None:
        with reporting(how.process_group):
            given = {"labels= or positives=": (several is not None, "Leave them out.")}
            refuse(loss, how.process_group, **given)
            more = q[:0].detach() if extra_keys is None else checked_keys(loss, extra_keys, q)
            if targets is not None:
                targets = with_further(loss, targets, q, more)
        # This import loads torch's compiler, so it is not at the top.
        from graphkd.functional.contrast._ranked import ranked_contrast

        terms = temperature, symmetric, num_negatives
        value: Tensor = ranked_contrast(p, q, more, weight, *terms, generator, how, targets)
        return value
    if several is not None and targets is not None:
        raise ValueError(
            f"{loss}: teacher_temperature lets the teacher say which keys are positives, and "
            f"labels= and positives= say it too; got {targets.temperature} and one of these. Leave "
            "one out."
        )
    with full_precision(p.device):
        sample = sample_rows(p.size(0), how.max_samples, generator, p.device)
        p, q = (select_rows(loss, h, sample) for h in (p, q))
        weight = None if weight is None else select_rows(loss, weight, sample)
        more = q[:0].detach() if extra_keys is None else checked_keys(loss, extra_keys, q)
        drawn = sample_rows(p.size(0), num_negatives, generator, p.device)
        if targets is None:
            formula = symmetric_infonce if symmetric else infonce
            blocks = how.backend, how.chunk_size, how.precision
            rows = formula(loss, p, q, more, drawn, temperature, *blocks, weight)
        else:
            targets = with_further(loss, targets, q, more, sample)
            rows = _soft_rows(loss, p, q, more, weight, targets, temperature, symmetric, how)
        if several is not None:
            several = several.select(sample)

            def similarity(src: Tensor, dst: Tensor, edges: Edges) -> Tensor:
                args = KERNELS["cosine"], dst.new_ones(()), how.backend, None
                return edge_similarity(loss, src, dst, edges, *args)

            gap = several.gap(p, q, similarity)
            if symmetric:
                gap = (gap + several.gap(q, p, similarity)) / 2
            rows = rows + gap / temperature
        if isinstance(temperature, Tensor) and not has_rows(rows):
            rows = rows / temperature  # which gets its zero gradient, as the rows do
        return reduce_rows(rows, how.reduction, weight)


def checked_keys(loss: str, extra_keys: Tensor, q: Tensor) -> Tensor:
    """Further keys without a gradient, of the keys' width, device and dtype; else it raises."""
    check_matrix(loss, "extra_keys", extra_keys, "keys")
    check_devices(loss, embeddings=q, extra_keys=extra_keys)
    if extra_keys.size(1) != q.size(1):
        raise ValueError(
            f"{loss}: extra_keys must have the width of the (projected) rows, {q.size(1)}; got "
            f"{describe(extra_keys)}. Project them as the teacher's rows are."
        )
    return recorded(extra_keys.detach().to(q.dtype))


def _soft_rows(
    loss: str,
    p: Tensor,
    q: Tensor,
    more: Tensor,
    weight: Tensor | None,
    targets: Targets,
    temperature: float | Tensor,
    symmetric: bool,
    how: PairOptions,
) -> Tensor:
    """The row values with soft targets; both directions have the same."""
    args = temperature, how.backend, how.chunk_size, weight
    rows: Tensor = soft_infonce(loss, p, q, more, targets, *args)
    if symmetric:
        rows = (rows + soft_infonce(loss, q, p, more[:0], targets.turned(q), *args)) / 2
    return rows
