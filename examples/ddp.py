"""Distil over several processes, with losses that are exact over all of them.

    python examples/ddp.py                                           # one process, one minute
    torchrun --nproc-per-node 2 examples/ddp.py                      # the same numbers on two
    torchrun --nproc-per-node 2 examples/ddp.py --dataset Physics --root data      # Coauthor

The nodes are cut into one part for each rank. A rank computes its part, and the neighbours that the
teacher's layers reach (the halo). G-CRD and Global LSP compare all pairs of nodes of all ranks. LSP
compares the ends of every edge. With process_group=, each rank's loss is the loss of the whole
graph, and DistributedDataParallel's averaging gives its gradient. Unless --no-check is given, one
process also does the first step on the whole graph, for a comparison of loss and gradients. The
teacher is a GraphSAGE, the student an MLP.

The default data are the 1,797 handwritten digits that ship inside scikit-learn. The images are
real. The graph is built: each image is joined to the 8 images with the nearest pixels. Five labels
per class are known, twenty in Physics. Another 500 nodes validate, and one half of all nodes tests.
A truncated SVD reduces the 8,415 features of Physics to 256.
"""

import argparse
import os
from functools import partial

import _common
import torch
import torch.distributed as dist
import torch.nn.functional as F
from _common import Setting
from scipy.sparse.csgraph import reverse_cuthill_mckee
from study.data import reduced
from study.files import read
from torch.nn.parallel import DistributedDataParallel
from torch_geometric import transforms
from torch_geometric.data import Data
from torch_geometric.nn import MLP, GraphSAGE
from torch_geometric.utils import k_hop_subgraph, to_scipy_sparse_matrix

import graphkd

METHODS = ["none", "kd", "lsp", "glsp", "gcrd", "kd+gcrd"]
LAYERS, WIDTH, TEACHER_WIDTH = 2, 64, 128
# KD, G-CRD and their sum have the best of twelve settings on the validation nodes of the digits,
# seeds 0 to 2 (benchmarks/tune.py). The weights of LSP and Global LSP are from a few values.
SETTINGS = {
    "kd": Setting(10.0, 1.0),
    "lsp": Setting(100.0),
    "glsp": Setting(10.0),
    "gcrd": Setting(100.0, 1.0),
    "kd+gcrd": Setting(0.1, 0.075),
}

parser = _common.parser(__doc__, methods=METHODS, epochs=60)
parser.add_argument(
    "--dataset", default="Digits", choices=["Digits", "Physics"], help="to learn from"
)
parser.add_argument(
    "--check", action=argparse.BooleanOptionalAction, default=True,
    help="compare the first step with that of one process",
)  # fmt: skip
args = parser.parse_args()
SETTINGS.update(args.settings)

# Ranks: torchrun says which one this is; without it, there is one ---------------------------------

backend = "nccl" if args.device.type == "cuda" else "gloo"
if "RANK" in os.environ:
    dist.init_process_group(backend)
else:
    dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
rank, world = dist.get_rank(), dist.get_world_size()
if args.device.type == "cuda":
    args.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    torch.cuda.set_device(args.device)
_common.console.quiet = rank > 0

# Data: every process reads all of it, and keeps its part ------------------------------------------

_common.seed_everything(0)
for turn in range(2):  # the first rank downloads and processes the data, then the others read
    if turn == min(rank, 1):
        [whole] = read(args.dataset, args.root)["all"]
    dist.barrier()
whole.x = reduced(whole.x)
known = 5 if args.dataset == "Digits" else 20
split = {"num_train_per_class": known, "num_val": 500, "num_test": whole.num_nodes // 2}
whole = transforms.RandomNodeSplit("random", **split)(whole)
classes, num_train = int(whole.y.max()) + 1, int(whole.train_mask.sum())

# This order puts neighbours near one another, so that a part has few neighbours outside.
adjacency = to_scipy_sparse_matrix(whole.edge_index, num_nodes=whole.num_nodes).tocsr()
order = torch.from_numpy(reverse_cuthill_mckee(adjacency, symmetric_mode=True).copy()).long()
own = order.tensor_split(world)[rank]
# LSP needs the embeddings of direct neighbours. For these, the teacher needs a hop more per layer.
nodes, edge_index, place, _ = k_hop_subgraph(own, LAYERS + 1, whole.edge_index, relabel_nodes=True)
part = Data(x=whole.x[nodes], y=whole.y[nodes], edge_index=edge_index, own=place)
for mask in ("train_mask", "val_mask", "test_mask"):
    part[mask] = torch.zeros(len(nodes), dtype=torch.bool)
    part[mask][place] = whole[mask][own]  # every node counts on one rank only
whole.own = torch.arange(whole.num_nodes)
part, whole = part.to(args.device), whole.to(args.device)
halo = len(nodes) - len(own)
_common.console.print(
    f"{world} rank(s); the first has {len(own):,} nodes, and {halo:,} in its halo"
)


def accuracy(model, mask, *inputs):
    with torch.no_grad(), _common.autocast(args):
        right = model.eval()(*inputs)[part[mask]].argmax(1) == part.y[part[mask]]
    counts = torch.tensor([right.sum(), right.numel()], dtype=torch.float, device=args.device)
    dist.all_reduce(counts)
    return 100 * float(counts[0] / counts[1])


def label_loss(z, data, ranks):
    z, y = z[data.train_mask].float(), data.y[data.train_mask]
    # A sum over this rank's nodes; DDP divides it by the number of ranks.
    return F.cross_entropy(z, y, reduction="sum") * ranks / num_train


# Teacher: trained over the ranks, too -------------------------------------------------------------


def train_teacher(seed):
    _common.seed_everything(seed)
    teacher = GraphSAGE(part.num_features, TEACHER_WIDTH, LAYERS, classes).to(args.device)
    parallel = DistributedDataParallel(teacher)
    optimizer = torch.optim.Adam(teacher.parameters(), lr=0.01, weight_decay=5e-4)

    def step():
        parallel.train()
        optimizer.zero_grad()
        with _common.autocast(args):
            z = parallel(part.x, part.edge_index)
        label_loss(z, part, world).backward()
        optimizer.step()

    def evaluate():
        return accuracy(teacher, "val_mask", part.x, part.edge_index)

    name = f"{seed}-teacher"
    _common.fit(name, args, teacher, step, evaluate, writes=rank == 0, optimizer=optimizer)
    score = accuracy(teacher, "test_mask", part.x, part.edge_index)
    # Computed once: the last hidden states and the logits of this rank's nodes and its halo.
    graphkd.freeze(teacher)
    for data in (part, whole) if args.check else (part,):
        with graphkd.Tap(teacher, "dropout") as tap:
            data.z_teacher = teacher(data.x, data.edge_index)
        data.h_teacher = tap.value
    return score


# Distillation -------------------------------------------------------------------------------------


def make_student(method, group):
    """Student and losses, for this rank's part of the group or alone for the whole graph."""
    ranks = 1 if group is None else world
    student = MLP([part.num_features, WIDTH, classes], norm=None).to(args.device)
    losses = {
        # A loss of single rows, like the labels' loss: a sum over this rank's, which DDP averages.
        "kd": partial(graphkd.KDLoss, reduction="sum"),
        # These compare rows. Each is the loss of all ranks' rows, with the same value on all ranks.
        "lsp": partial(graphkd.LSPLoss, process_group=group),
        "glsp": partial(graphkd.GlobalLSPLoss, process_group=group),
        "gcrd": partial(graphkd.GCRDLoss, WIDTH, TEACHER_WIDTH, 64, process_group=group),
    }
    terms = _common.terms(method, SETTINGS, losses)
    if "kd" in terms:
        terms["kd"] = terms["kd"][0] * ranks / whole.num_nodes, terms["kd"][1]
    return student, graphkd.WeightedSum(**terms).to(args.device)


def total_loss(student, distill, tap, data, ranks):
    with _common.autocast(args):
        z = student(data.x)
    # All rows on this rank, including its halo, and the numbers of its own rows.
    extra, _ = distill(
        h_s=tap.value, h_t=data.h_teacher, z_s=z, z_t=data.z_teacher,
        edge_index=data.edge_index, index=data.own,
        task_loss=(loss := label_loss(z, data, ranks)),
    )  # fmt: skip
    return loss + extra


def over_ranks(module):
    """Wrap the module in DDP, which refuses a module without parameters, such as LSP."""
    return DistributedDataParallel(module) if list(module.parameters()) else module


def check(method):
    """Compare loss and gradients over the ranks with the same of one process."""
    results = []
    for group in (dist.group.WORLD, None):
        _common.seed_everything(0)
        student, distill = make_student(method, group)
        tap = graphkd.Tap(student, "act")
        parameters = [*student.parameters(), *distill.parameters()]
        data, ranks = (whole, 1) if group is None else (part, world)
        if group is not None:
            student, distill = over_ranks(student), over_ranks(distill)
        loss = total_loss(student, distill, tap, data, ranks)
        loss.backward()
        dist.all_reduce(loss := loss.detach())  # one process has the same on each rank
        results.append((loss / world, torch.cat([p.grad.flatten() for p in parameters])))
    (loss, gradient), (loss_alone, gradient_alone) = results
    off = (gradient - gradient_alone).norm() / gradient_alone.norm()
    _common.console.print(
        f"{method}, first step: loss {loss:.6f}, of one process {loss_alone:.6f}; gradients differ "
        f"by {off:.0e} of their norm"
    )
    if off > (0.1 if args.amp else 1e-3):
        raise SystemExit("These are not the gradients of one process.")


def train_student(seed, method):
    _common.seed_everything(seed)  # every method starts from the same student, on every rank
    student, distill = make_student(method, dist.group.WORLD)
    tap = graphkd.Tap(student, "act")  # the last hidden layer
    _common.compiled(args, student)
    # A loss with heads is wrapped like any module, because the heads learn, too.
    parallel, parallel_distill = over_ranks(student), over_ranks(distill)
    optimizer = torch.optim.Adam([*student.parameters(), *distill.parameters()], lr=0.01)
    doctor = _common.watched(args, parallel_distill, student=student, optimizer=optimizer)

    def step():
        parallel.train()
        optimizer.zero_grad()
        total_loss(parallel, doctor, tap, part, world).backward()
        optimizer.step()

    def evaluate():
        return accuracy(student, "val_mask", part.x)

    name = _common.run_name(seed, method, SETTINGS)
    others = {"optimizer": optimizer, "distill": distill}
    best = _common.fit(name, args, student, step, evaluate, writes=rank == 0, **others)
    _common.tell(name, args, doctor)
    return best, accuracy(student, "test_mask", part.x)


# All seeds ----------------------------------------------------------------------------------------

teacher_tests, vals, tests = [], {}, {}
for seed in range(args.seeds):
    teacher_tests.append(train_teacher(seed))
    for method in args.methods:
        if args.check and seed == 0:
            check(method)
        for scores, score in zip((vals, tests), train_student(seed, method), strict=True):
            scores.setdefault(method, []).append(score)

if rank == 0:
    title = f"{args.dataset}, {whole.num_nodes:,} nodes, {num_train} labelled, {world} rank(s)"
    facts = {"validation": {key: _common.mean_std(x) for key, x in vals.items()}}
    _common.report(title, "accuracy", args, teacher_tests, tests, settings=SETTINGS, **facts)
dist.destroy_process_group()
