"""The parts of a loss over the ranks of :mod:`torch.distributed`.

Each rank holds its own rows, of any number. The ranks meet once: they exchange their row counts,
and agree or fail together. Then they sum, or pass blocks of rows around a ring.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from graphkd._checks import describe

RANKED = ("auto", "chunked")
ALL_RANKS = "Its value is one, of all ranks' rows. Pass 'mean' or 'sum'."
# The most bytes that a rank can send about itself when the ranks meet.
_ROOM = 2048
_LONGEST_ERROR = 300


def check_group(loss: str, process_group: Any, ddp: Any) -> None:
    """Raise unless ``process_group`` is None or a group that this process belongs to."""
    if not isinstance(ddp, bool):
        raise TypeError(
            f"{loss}: ddp must be True (DistributedDataParallel averages the gradients over the "
            f"ranks) or False (you sum them); got {describe(ddp)}."
        )
    if process_group is None:
        return
    if not dist.is_available() or not isinstance(process_group, dist.ProcessGroup):
        raise TypeError(
            f"{loss}: process_group must be a torch.distributed.ProcessGroup that this process "
            f"belongs to, or None; got {describe(process_group)}. After init_process_group, pass "
            "torch.distributed.group.WORLD; of a DeviceMesh, mesh.get_group()."
        )


def refuse(loss: str, process_group: Any, **refused: tuple[bool, str]) -> None:
    """Raise a ValueError, with a remedy, for an option that does not go with a process group."""
    for name, (given, remedy) in refused.items():
        if process_group is not None and given:
            raise ValueError(f"{loss}: {name} does not go with process_group. {remedy}")


class OwnBuffers:
    """The names of the buffers that each rank fills from its own rows.

    DistributedDataParallel looks for this list at the module that it wraps, and leaves these
    buffers alone. It would overwrite them with the first rank's before each forward otherwise. A
    module names its own in ``_own_buffers``.
    """

    def __get__(self, module: nn.Module | None, owner: Any = None) -> list[str]:
        parts = () if module is None else module.named_modules()
        return [
            f"{path}.{name}" if path else name
            for path, part in parts
            for name in getattr(part, "_own_buffers", ())
        ]


def check_own_buffers(loss: str, module: nn.Module) -> None:
    """Raise if DistributedDataParallel overwrites the buffers that are this rank's own."""
    if torch.compiler.is_compiling() or not dist.is_available():
        return
    ddp = DistributedDataParallel._active_ddp_module
    if ddp is None or not ddp.broadcast_buffers or dist.get_world_size(ddp.process_group) == 1:
        return
    own = {id(buffer) for buffer in module.buffers(recurse=False)}
    names = [name for name, buffer in ddp.named_module_buffers.items() if id(buffer) in own]
    if names:
        raise ValueError(
            f"{loss}: each rank keeps {', '.join(names)} of its own rows, but the "
            f"DistributedDataParallel around {type(ddp.module).__name__} overwrites them with the "
            "first rank's in every forward. Keep the loss out of that module and wrap it alone, "
            "DistributedDataParallel(loss); or, before wrapping, set "
            f"module._ddp_params_and_buffers_to_ignore = {names}; or pass broadcast_buffers=False."
        )


class Ranks:
    """The ranks of a process group after they met: how many rows each holds, and ways to share.

    All methods except ``rows``, ``total`` and ``needed`` are collective: every rank calls them, in
    the same order.

    Args:
        group: The group.
        facts: What each rank said about itself.
    """

    def __init__(self, group: "dist.ProcessGroup", facts: Sequence[dict[str, Any]]) -> None:
        self.group, self.rank, self.world = group, dist.get_rank(group), len(facts)
        self._facts = facts

    def rows(self, kind: int = 0) -> list[int]:
        """The number of rows of each rank, of the given kind if the loss has several kinds."""
        return [fact["rows"][kind] for fact in self._facts]

    def total(self, kind: int = 0) -> int:
        """The number of rows of all ranks."""
        return sum(self.rows(kind))

    def needed(self, place: int) -> bool:
        """Whether any rank needs the gradient that is listed at ``place``."""
        return any(fact["needs"][place] for fact in self._facts)

    def sum(self, x: Tensor) -> Tensor:
        """The sum over the ranks, in place. It is the same on all ranks to the last bit."""
        dist.all_reduce(x, group=self.group)
        return x

    def all(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is true on every rank."""
        return not self.sum(torch.tensor(int(not flag), device=device)).item()

    def pick(self, x: Tensor, numbers: Tensor) -> Tensor:
        """The rows with these numbers, which count through the rows ``x`` of all ranks in order.

        Each row is added to zeros, which is exact.
        """
        local = numbers.to(x.device) - sum(self.rows()[: self.rank])
        here = (local >= 0) & (local < x.size(0))
        picked = x.new_zeros(numbers.numel(), x.size(1))
        picked[here] = x.detach()[local[here]]
        return self.sum(picked)

    def draw(self, most: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        """The numbers of at most ``most`` rows of all ranks, drawn by the first rank."""
        total = self.total()
        if total <= most:
            return torch.arange(total, device=device)
        at = device if generator is None else generator.device
        # All ranks draw, so that their generators stay in step.
        numbers = torch.randperm(total, generator=generator, device=at)[:most].to(device)
        dist.broadcast(numbers, dist.get_global_rank(self.group, 0), group=self.group)
        return numbers

    def ring(self, block: Tensor, rows: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """Yield the ranks' blocks of rows in turn, each with its owner's rank; the own comes first.

        The next block travels while one is used. A rank holds at most three blocks, for any number
        of ranks.

        Args:
            block: This rank's rows.
            rows: How many rows each rank has.
        """
        after, before = (self.rank + 1) % self.world, (self.rank - 1) % self.world
        owner, current = self.rank, block.contiguous()
        for step in range(self.world):
            follower, coming, transfers = (owner - 1) % self.world, current, []
            if step + 1 < self.world:
                coming = block.new_empty(rows[follower], block.size(1))
                # gloo takes no empty message; both ends know which block is empty.
                moves = [
                    dist.P2POp(move, x, dist.get_global_rank(self.group, peer), self.group)
                    for move, x, peer in (
                        (dist.isend, current, after),
                        (dist.irecv, coming, before),
                    )
                    if x.numel()
                ]
                transfers = dist.batch_isend_irecv(moves) if moves else []
            yield owner, current
            for transfer in transfers:
                transfer.wait()
            owner, current = follower, coming

    def median(self, lengths: Tensor) -> Tensor:
        """The lower median of the non-negative numbers of all ranks; infinite if there are none.

        Such floats are in the same order as the integers with the same bits. Counting finds eight
        bits at a time.
        """
        whole = torch.int64 if lengths.dtype == torch.float64 else torch.int32
        bits = lengths.abs().view(whole).long().sort().values
        count = self.sum(torch.tensor(bits.numel(), device=bits.device))
        if not count.item():
            return lengths.new_full((), torch.inf)
        low = torch.zeros_like(count)
        for shift in range(8 * lengths.element_size() - 8, -1, -8):
            # Count the numbers below each inner border of 256 intervals; 128 with the sign bit.
            borders = torch.arange(1, 256 if shift < 56 else 128, device=low.device)
            ends = low + (borders << shift)
            below = self.sum(torch.searchsorted(bits, ends))
            low = low + ((below <= (count - 1) // 2).sum() << shift)
        return low.to(whole).view(lengths.dtype)


def reporting(group: Any) -> AbstractContextManager[None]:
    """Report an error inside, before the ranks meet, to the ranks that wait at the meeting."""
    return nullcontext() if group is None else _reporting(group)


@contextmanager
def _reporting(group: Any) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(group, dist.ProcessGroup):
            # ASCII has one byte per character, so that the cut limits the bytes.
            text = f"{type(error).__name__}: {error}".encode("ascii", "replace").decode()
            _exchange(group, {"error": text[:_LONGEST_ERROR]})
        raise


def meet(
    loss: str,
    group: "dist.ProcessGroup",
    *,
    rows: Sequence[int],
    needs: Sequence[bool] = (),
    **same: Any,
) -> Ranks:
    """Let the ranks learn about one another, or raise on all of them.

    Args:
        loss: The loss's name.
        group: The process group.
        rows: How many rows this rank has, of each kind.
        needs: Which gradients this rank needs.
        same: Values that must be equal on all ranks: widths, dtype, options.

    Raises:
        ValueError: If a rank failed before, or these values differ.
    """
    agreed = {"loss": loss, **{name: str(value) for name, value in same.items()}}
    facts = _exchange(group, {"rows": list(rows), "needs": list(needs), "same": agreed})
    for rank, fact in enumerate(facts):
        if "error" in fact:
            raise ValueError(f"{loss}: rank {rank} raised {fact['error']}")
    for name in agreed:
        said = [fact["same"].get(name, "nothing") for fact in facts]
        if len(Counter(said)) > 1:
            listed = "; ".join(
                f"{value} on {_listed([r for r, other in enumerate(said) if other == value])}"
                for value in dict.fromkeys(said)
            )
            raise ValueError(
                f"{loss}: the ranks of process_group differ in {name}: {listed}. Call the same "
                "loss on every rank, with the same widths, dtype and options."
            )
    return Ranks(group, facts)


def _listed(ranks: list[int]) -> str:
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"


def _exchange(group: "dist.ProcessGroup", fact: dict[str, Any]) -> list[dict[str, Any]]:
    """The facts of every rank, sent as JSON in messages of one size."""
    text = json.dumps(fact).encode()
    if len(text) > _ROOM:
        raise ValueError(f"What a rank says of itself must fit in {_ROOM} bytes; got {len(text)}.")
    device = torch.device("cuda" if dist.get_backend(group) == "nccl" else "cpu")
    mine = torch.frombuffer(bytearray(text.ljust(_ROOM)), dtype=torch.uint8).to(device)
    said = [torch.empty_like(mine) for _ in range(dist.get_world_size(group))]
    dist.all_gather(said, mine, group=group)
    return [json.loads(bytes(x.cpu().numpy())) for x in said]
