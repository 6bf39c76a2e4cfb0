"""Distil a graph neural network into students that do not see the graph at inference.

    python examples/graph_agnostic.py                                # the digits, a minute or two
    python examples/graph_agnostic.py --dataset Cora --root data     # or PubMed, Photo, Physics
    python examples/graph_agnostic.py --students SIGN --methods none kd gcrd kd+gcrd --epochs 100

The teacher is a graph attention network on the whole graph. The students are MLPs that read rows of
a matrix, in minibatches of an ordinary DataLoader. "MLP" reads the node's own features. "SIGN" also
reads their averages over one to three hops, computed once before the training. The teacher's
outputs are computed once too, and looked up by node id.

The default data are the 1,797 handwritten digits that ship inside scikit-learn. The images are
real. The graph is built: each image is joined to the 8 images with the nearest pixels. Five labels
per class are known. Cora and PubMed have their public split. In other sets twenty labels per class
are known, another 500 nodes validate, and one half of all nodes tests. A truncated SVD reduces the
8,415 features of Physics to 256.
"""

from functools import partial
from itertools import product

import _common
import torch
import torch.nn.functional as F
from _common import Setting
from rich.table import Column, Table
from study.data import reduced
from study.files import read
from torch.utils.benchmark import Timer
from torch.utils.data import DataLoader
from torch_geometric import transforms
from torch_geometric.nn import GAT, MLP
from torch_geometric.utils import k_hop_subgraph
from torchmetrics.functional.classification import multiclass_accuracy

import graphkd

DATASETS = ["Digits", "Cora", "PubMed", "Photo", "Physics"]
METHODS = ["none", "kd", "fitnet", "gcrd", "kd+gcrd"]
WIDTH, TEACHER_WIDTH = 64, 128
# The best of twelve settings each on the validation nodes of the digits, for the MLP, seeds 0 to 2
# (benchmarks/tune.py).
SETTINGS = {
    "kd": Setting(100.0, 1.0),
    "fitnet": Setting(100000.0),
    "gcrd": Setting(100.0, 1.0),
    "kd+gcrd": Setting(100.0, 0.5),
}

parser = _common.parser(__doc__, methods=METHODS, epochs=60)
parser.add_argument("--dataset", default="Digits", choices=DATASETS, help="to learn from")
parser.add_argument(
    "--students", nargs="+", choices=["MLP", "SIGN"], default=["MLP", "SIGN"], help="models"
)
parser.add_argument("--batch-size", type=int, default=256, help="in nodes")
parser.add_argument("--hops", type=int, default=3, help="of SIGN")
args = parser.parse_args()
SETTINGS.update(args.settings)

# Data ---------------------------------------------------------------------------------------------

[data] = read(args.dataset, args.root)["all"]
torch.manual_seed(0)
data.x = reduced(data.x)
classes = int(data.y.max()) + 1

# SIGN's inputs: x, x1 = Ax, x2 = AAx, ..., side by side.
hops = transforms.SIGN(args.hops)(data.clone())
inputs = {
    "MLP": data.x,
    "SIGN": torch.cat([data.x, *(hops[f"x{k + 1}"] for k in range(args.hops))], 1),
}
data = data.to(args.device)
inputs = {name: x.to(args.device) for name, x in inputs.items()}


def split(seed):
    """Masks for training, validation and test. Test nodes are the same for all seeds."""
    if "train_mask" in data:
        return data.train_mask, data.val_mask, data.test_mask
    order = torch.randperm(data.num_nodes, generator=torch.Generator().manual_seed(12345))
    test, rest = order[: order.numel() // 2], order[order.numel() // 2 :]
    rest = rest[torch.randperm(rest.numel(), generator=torch.Generator().manual_seed(seed))]
    labels = data.y.cpu()[rest]
    per_class = 5 if args.dataset == "Digits" else 20
    train = torch.cat([rest[labels == c][:per_class] for c in range(classes)])
    val = rest[~torch.isin(rest, train)][:500]
    masks = torch.zeros(3, data.num_nodes, dtype=torch.bool)
    for mask, nodes in zip(masks, (train, val, test), strict=True):
        mask[nodes] = True
    return masks.to(args.device)


# Models -------------------------------------------------------------------------------------------


def make_teacher():
    return GAT(
        data.num_features, TEACHER_WIDTH, num_layers=3, out_channels=classes,
        heads=4, dropout=0.5, norm="batch_norm",
    ).to(args.device)  # fmt: skip


def make_student(x):
    # `act` is the module before the last layer, so that a Tap reads it. It also applies dropout.
    act = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Dropout(0.5))
    return MLP([x.size(1), WIDTH, classes], act=act).to(args.device)


# The teacher reads (x, edge_index); a student reads rows of x.
def accuracy(model, mask, *batch):
    model.eval()
    with torch.no_grad(), _common.autocast(args):
        z = model(*batch)[mask].float()
    return 100 * multiclass_accuracy(z, data.y[mask], classes, average="micro").item()


# Teacher ------------------------------------------------------------------------------------------


def train_teacher(seed):
    _common.seed_everything(seed)
    teacher = make_teacher()
    tap = graphkd.Tap(teacher, "dropout")  # keeps its last call, after the last hidden layer
    optimizer = torch.optim.Adam(teacher.parameters(), lr=0.01, weight_decay=5e-4)

    def step():
        teacher.train()
        optimizer.zero_grad()
        with _common.autocast(args):
            z = teacher(data.x, data.edge_index)
        F.cross_entropy(z[train].float(), data.y[train]).backward()
        optimizer.step()

    def evaluate():
        return accuracy(teacher, val, data.x, data.edge_index)

    _common.fit(f"{seed}-teacher", args, teacher, step, evaluate, optimizer=optimizer)
    # Once for all runs: freeze it, and compute the hidden states and logits of every node.
    graphkd.freeze(teacher)
    z = teacher(data.x, data.edge_index)
    return tap.value, z, accuracy(teacher, test, data.x, data.edge_index)


# Distillation -------------------------------------------------------------------------------------


def train_student(seed, name, method, h_teacher, z_teacher):
    x = inputs[name]
    _common.seed_everything(seed)  # every method starts from the same student ...
    student = make_student(x)
    losses = {
        "kd": graphkd.KDLoss,
        "fitnet": partial(graphkd.FitNetLoss, WIDTH, TEACHER_WIDTH),
        "gcrd": partial(graphkd.GCRDLoss, WIDTH, TEACHER_WIDTH, proj_dim=64),
    }
    terms = _common.terms(method, SETTINGS, losses)
    distill = graphkd.WeightedSum(**terms).to(args.device)
    tap = graphkd.Tap(student, "act")
    _common.compiled(args, student)
    # The heads of the losses learn too.
    parameters = [*student.parameters(), *distill.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=0.01, weight_decay=5e-4)
    distill = _common.watched(args, distill, student=student, optimizer=optimizer)
    _common.seed_everything(seed)  # ... and sees the same batches
    loader = DataLoader(range(data.num_nodes), batch_size=args.batch_size, shuffle=True)
    labelled = train.float().mean() * args.batch_size  # nodes of an average batch
    held_out = data.y.where(val, -1)  # for the doctor

    def step():
        student.train()
        for ids in loader:
            ids = ids.to(args.device)
            known = train[ids]  # maybe none of this batch
            optimizer.zero_grad()
            with _common.autocast(args):
                z = student(x[ids])
            # The labels teach on the training nodes ...
            loss = F.cross_entropy(z[known].float(), data.y[ids[known]], reduction="sum") / labelled
            # ... the teacher teaches on all nodes. Its rows have the same ids.
            rows = {"h_s": tap.value, "h_t": h_teacher[ids], "z_s": z, "z_t": z_teacher[ids]}
            extra, _ = distill(**rows, task_loss=loss, y=held_out[ids])
            (loss + extra).backward()
            optimizer.step()

    def evaluate():
        return accuracy(student, val, x)

    run = f"{name}-{_common.run_name(seed, method, SETTINGS)}"
    best = _common.fit(run, args, student, step, evaluate, optimizer=optimizer, distill=distill)
    return best, accuracy(student, test, x)


# All seeds ----------------------------------------------------------------------------------------

teacher_tests, scores = [], {}
for seed in range(args.seeds):
    train, val, test = split(seed)
    h_teacher, z_teacher, score = train_teacher(seed)
    teacher_tests.append(score)
    for name, method in product(args.students, args.methods):
        pair = train_student(seed, name, method, h_teacher, z_teacher)
        scores.setdefault(f"{name}: {method}", []).append(pair)

# What it saves ------------------------------------------------------------------------------------

models = {"teacher": (make_teacher(), (data.x, data.edge_index))}
models |= {name: (make_student(inputs[name]), (inputs[name],)) for name in args.students}
neighbourhoods = [k_hop_subgraph(n, 3, data.edge_index)[0].numel() for n in range(20)]
table = Table("model", *(Column(c, justify="right") for c in ("parameters", "rows", "ms")))
costs = {}
for name, (model, batch) in models.items():
    timer = Timer("model(*batch)", globals={"model": graphkd.freeze(model), "batch": batch})
    costs[name] = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "rows": sum(neighbourhoods) // 20 if name == "teacher" else 1,
        "milliseconds": 1e3 * timer.blocked_autorange(min_run_time=0.5).median,
    }
    table.add_row(name, *(f"{cost:,.4g}" for cost in costs[name].values()))
_common.console.print(table)
_common.console.print(
    "rows: of features that are read for one prediction, on average of 20 nodes; SIGN's are wider,"
    f" and were averaged over {args.hops} hops before. ms: a pass over all nodes."
)

vals, tests = ({key: [x[k] for x in pairs] for key, pairs in scores.items()} for k in (0, 1))
facts = {"validation": {key: _common.mean_std(x) for key, x in vals.items()}, "settings": SETTINGS}
title = f"{args.dataset}, {int(train.sum())} labelled nodes of {data.num_nodes:,}"
_common.report(title, "accuracy", args, teacher_tests, tests, costs=costs, **facts)
