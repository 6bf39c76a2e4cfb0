"""Distil a graph attention network into a small one: many labels per node, graphs never seen.

    python examples/multilabel.py                                  # generated, a minute or two
    python examples/multilabel.py --dataset PPI --root data        # PyG's PPI; needs networkx
    python examples/multilabel.py --student GCN --methods none kd kd+lsp

Training, validation and test nodes lie in different graphs (the inductive setting), and each node
has any number of labels. A batch holds several graphs, and all of its nodes are distilled.

The default data are generated: 32 graphs of 200 nodes, 20 of them for training. Each node belongs
to some of twelve overlapping communities, to each with probability 0.2. Nodes are more likely to be
joined if they share more communities. Each of 30 labels says whether a node belongs to exactly one
of two communities. Features show seven in ten memberships, by a projection that all graphs share,
under noise. The rest must be learned from the neighbours. PPI has 24 graphs of about 2,400 nodes,
50 features and 121 labels. Scores are micro-averaged F1.
"""

from functools import partial

import _common
import torch
import torch.nn.functional as F
from _common import Setting
from study.files import read
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GAT, GCN
from torchmetrics.functional.classification import multilabel_f1_score

import graphkd

METHODS = ["none", "kd", "lsp", "gcrd", "kd+gcrd"]
# KD, G-CRD and their sum have the best of twelve settings on the validation graphs of the generated
# data, seeds 0 to 2 (benchmarks/tune.py). The weights of LSP are from a few values.
SETTINGS = {
    "kd": Setting(100.0, 1.0),
    "lsp": Setting(1.0),
    "gcrd": Setting(0.1, 1.0),
    "kd+lsp": Setting(1.0),
    "kd+gcrd": Setting(1.0, 0.075),
}

parser = _common.parser(__doc__, methods=[*METHODS, "kd+lsp"], epochs=40)
parser.set_defaults(methods=METHODS)
parser.add_argument(
    "--dataset", default="generated", choices=["generated", "PPI"], help="to learn from"
)
parser.add_argument("--student", default="GAT", choices=["GAT", "GCN"], help="model")
parser.add_argument("--batch-size", type=int, default=2, help="graphs")
parser.add_argument("--teacher-width", type=int, default=128, help="channels")
parser.add_argument("--student-width", type=int, default=32, help="channels")
args = parser.parse_args()
SETTINGS.update(args.settings)

# Data ---------------------------------------------------------------------------------------------

name = "Communities" if args.dataset == "generated" else args.dataset
train_set, val_set, test_set = read(name, args.root).values()

# The nodes of the training graphs have ids. The teacher's outputs are stored by these ids.
nodes = 0
for data in train_set:
    data.n_id = torch.arange(nodes, nodes + data.num_nodes)
    nodes += data.num_nodes
features, labels = train_set[0].x.size(1), train_set[0].y.size(1)
loader = DataLoader(train_set, args.batch_size, shuffle=True)


def predict(model: nn.Module, data: Data) -> Tensor:
    with _common.autocast(args):
        return model(data.x, data.edge_index).float()


@torch.no_grad()
def score(model: nn.Module, graphs: list[Data]) -> float:
    model.eval()
    batches = [data.to(args.device) for data in graphs]
    z, y = torch.cat([predict(model, d) for d in batches]), torch.cat([d.y for d in batches])
    return 100 * multilabel_f1_score(z, y.long(), num_labels=labels, average="micro").item()


# Training -----------------------------------------------------------------------------------------


def train(
    name: str,
    model: nn.Module,
    lr: float,
    hidden: graphkd.Tap,
    distill: nn.Module | None = None,
    **taught: Tensor,
) -> tuple[float, float]:
    """Train the model and give its validation and test score; with losses, it is a student."""
    # New in a training loop: the heads of the losses learn, too ...
    heads = [] if distill is None else [*distill.parameters()]
    optimizer = torch.optim.Adam([*model.parameters(), *heads], lr=lr)
    if distill is not None:
        distill = _common.watched(args, distill, student=model, optimizer=optimizer)

    def step() -> None:
        model.train()
        for data in loader:
            data = data.to(args.device)
            z_s = predict(model, data)
            loss = F.binary_cross_entropy_with_logits(z_s, data.y)
            if distill is not None:
                # ... its hidden states are tapped, and the teacher's outputs come by node id.
                z_t, h_t = taught["z_t"][data.n_id], taught["h_t"][data.n_id]
                more, _ = distill(
                    z_s=z_s, z_t=z_t, h_s=hidden.value, h_t=h_t, edge_index=data.edge_index,
                    task_loss=loss, y=data.y,  # for the doctor
                )  # fmt: skip
                loss = loss + more
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    others = {"optimizer": optimizer, **({} if distill is None else {"distill": distill})}
    best = _common.fit(name, args, model, step, lambda: score(model, val_set), **others)
    return best, score(model, test_set)


wide, narrow = args.teacher_width, args.student_width
students = {"GAT": {"heads": 4}, "GCN": {}}
teachers = []
vals, tests = ({method: [] for method in args.methods} for _ in range(2))
for seed in range(args.seeds):
    _common.seed_everything(seed)
    # Jumping knowledge: the hidden states of all layers, side by side, make the prediction.
    options = {"heads": 4, "dropout": 0.2, "norm": "batch_norm", "jk": "cat"}
    teacher = GAT(features, wide, 3, labels, **options).to(args.device)
    hidden = graphkd.Tap(teacher, "jk")
    teachers.append(train(f"teacher-{seed}", teacher, 0.005, hidden)[1])
    graphkd.freeze(teacher)
    with torch.no_grad():
        rows = [(predict(teacher, data.to(args.device)), hidden.value) for data in train_set]
    z_t, h_t = (torch.cat(part).float() for part in zip(*rows, strict=True))
    for method in args.methods:
        _common.seed_everything(seed)
        build = {"GAT": GAT, "GCN": GCN}[args.student]
        student = build(features, narrow, 2, labels, norm="batch_norm", **students[args.student])
        losses = {
            "kd": partial(graphkd.KDLoss, task="multilabel"),
            "lsp": graphkd.LSPLoss,
            "gcrd": partial(graphkd.GCRDLoss, dim_s=narrow, dim_t=3 * wide, proj_dim=64),
        }
        terms = _common.terms(method, SETTINGS, losses)
        distill = graphkd.WeightedSum(**terms).to(args.device)
        _common.seed_everything(seed)  # the same order and dropout, whatever a head has drawn
        hidden = graphkd.Tap(student.to(args.device), "dropout")
        _common.compiled(args, student)  # after the Tap
        run = _common.run_name(seed, method, SETTINGS)
        val, test = train(run, student, 0.01, hidden, distill, h_t=h_t, z_t=z_t)
        vals[method].append(val)
        tests[method].append(test)

title = f"{args.dataset}, {len(train_set)} graphs with {labels} labels to learn from"
facts = {"validation": {key: _common.mean_std(x) for key, x in vals.items()}, "settings": SETTINGS}
_common.report(title, "micro-F1, %", args, teachers, tests, **facts)
