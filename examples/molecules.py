"""Distil a deep GIN over atoms and bonds into a small GCN over atoms, for labels of whole graphs.

    python examples/molecules.py                                        # generated, a minute or two
    python examples/molecules.py --dataset ogbg-molhiv --root data      # needs ogb
    python examples/molecules.py --dataset tox21 --root data            # needs rdkit
    python examples/molecules.py --dataset esol --root data --methods none kd kd+gcrd

The default data are generated: random graphs that look like molecules. They have single atoms and
rings of five or six, four elements and three kinds of bonds; valences are not kept. Three labels
say whether a pair of elements lies exactly three bonds apart, without double bonds: N and O, O and
F, N and F. Three fifths of the training labels are missing. There the student learns only from the
teacher's prediction, unless --known-only is set. The student does not see the kinds of bonds.

ogbg-molhiv (one label, scaffold split) comes through ogb. tox21 (12 labels, many of them missing)
and other MoleculeNet sets come through PyG, split once at random, 80:10:10. The scores are areas
under the ROC curve, averaged over labels; for esol, freesolv and lipo, root mean squared errors.
"""

from functools import partial

import _common
import torch
import torch.nn.functional as F
from _common import Setting
from study.files import read
from torch import Tensor, nn
from torch.utils.data import random_split
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GCN, MLP, GINEConv, global_mean_pool
from torch_geometric.nn.models.basic_gnn import BasicGNN
from torchmetrics.functional.classification import binary_auroc
from torchmetrics.functional.regression import mean_squared_error

import graphkd

REGRESSION = ["esol", "freesolv", "lipo"]
DATASETS = ["generated", "ogbg-molhiv", "tox21", "bbbp", "bace", "sider", "clintox", *REGRESSION]
METHODS = ["none", "kd", "at", "lsp", "gcrd", "kd+gcrd"]
# KD, G-CRD and their sum have the best of twelve settings on the validation molecules of the
# generated data, seeds 0 to 2 (benchmarks/tune.py). Those of AT and LSP are from a few values.
SETTINGS = {
    "kd": Setting(10.0, 1.0),
    "at": Setting(100.0),
    "lsp": Setting(100.0),
    "gcrd": Setting(1.0, 0.075),
    "kd+gcrd": Setting(0.1, 0.075),
}

parser = _common.parser(__doc__, methods=METHODS, epochs=25)
parser.set_defaults(methods=[name for name in METHODS if name != "lsp"])
parser.add_argument("--dataset", default="generated", choices=DATASETS, help="to learn from")
parser.add_argument("--known-only", action="store_true", help="distil where the label is known")
parser.add_argument("--batch-size", type=int, default=64, help="molecules")
parser.add_argument("--teacher-width", type=int, default=64, help="channels")
parser.add_argument("--student-width", type=int, default=32, help="channels")
args = parser.parse_args()
SETTINGS.update(args.settings)
regression = args.dataset in REGRESSION
if regression:  # which has no temperature
    SETTINGS["kd"] = Setting(SETTINGS["kd"].weight)
kd = partial(graphkd.KDLoss, task="regression" if regression else "multilabel")

# Data ---------------------------------------------------------------------------------------------

names = {"generated": "Molecules", "ogbg-molhiv": "ogbg-molhiv"}
sets = [*read(names.get(args.dataset, f"MoleculeNet:{args.dataset}"), args.root).values()]
if len(sets) == 1:
    sets = random_split(sets[0], [0.8, 0.1, 0.1], generator=torch.Generator().manual_seed(0))
train_set, val_set, test_set = ([*part] for part in sets)

# Molecules have ids, and so have their atoms. The teacher's outputs are stored by these ids.
atoms = 0
for i, data in enumerate(train_set):
    data.idx, data.n_id = i, torch.arange(atoms, atoms + data.num_nodes)
    atoms += data.num_nodes
every = [*train_set, *val_set, *test_set]
x_sizes, bond_sizes = (torch.cat([d[k] for d in every]).amax(0) + 1 for k in ("x", "edge_attr"))
y = torch.cat([data.y for data in train_set]).float()
mean, spread = (y.mean().item(), y.std().item()) if regression else (0.0, 1.0)

# Models -------------------------------------------------------------------------------------------


class GINE(BasicGNN):
    """PyG's GIN, with edge features."""

    supports_edge_weight, supports_edge_attr = False, True

    def init_conv(self, in_channels: int, out_channels: int, **kwargs) -> GINEConv:
        return GINEConv(MLP([in_channels, 2 * out_channels, out_channels]), **kwargs)


class Codes(nn.Module):
    """The sum of the embeddings of several columns of categories."""

    def __init__(self, sizes: Tensor, width: int) -> None:
        super().__init__()
        self.register_buffer("first", sizes.cumsum(0) - sizes)
        self.embedding = nn.EmbeddingBag(int(sizes.sum()), width, mode="sum")

    def forward(self, codes: Tensor) -> Tensor:
        return self.embedding(codes + self.first)


class Net(nn.Module):
    """Embeddings of atoms, embeddings of molecules, and predictions for molecules."""

    def __init__(self, gnn: BasicGNN) -> None:
        super().__init__()
        self.gnn, self.atoms = gnn, Codes(x_sizes, gnn.in_channels)
        self.bonds = Codes(bond_sizes, gnn.in_channels) if gnn.supports_edge_attr else None
        self.predict = nn.Linear(gnn.out_channels, y.size(1))

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, batch: Tensor, size: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        edge_attr = self.bonds(edge_attr) if self.bonds else None
        h = self.gnn(self.atoms(x), edge_index, edge_attr=edge_attr)
        g = global_mean_pool(h, batch, size)
        return h, g, self.predict(g)


def apply(model: Net, data: Data) -> tuple[Tensor, Tensor, Tensor]:
    with _common.autocast(args):
        return model(data.x, data.edge_index, data.edge_attr, data.batch, data.num_graphs)


def task_loss(z: Tensor, y: Tensor) -> Tensor:
    """The loss over the known labels."""
    z, y = z[~y.isnan()].float(), y[~y.isnan()].float()
    if regression:
        return F.mse_loss(z, (y - mean) / spread)
    return F.binary_cross_entropy_with_logits(z, y, reduction="sum") / max(y.numel(), 1)


@torch.no_grad()
def score(model: Net, batches: list[Data]) -> float:
    """Larger is better: the area under the ROC curve in per cent, or minus the error."""
    model.eval()
    z = torch.cat([apply(model, data)[2].float() for data in batches])
    y = torch.cat([data.y for data in batches])
    if regression:
        return -mean_squared_error(z * spread + mean, y, squared=False).item()
    areas = []
    for z_k, y_k in zip(z.t(), y.t(), strict=True):
        known = ~y_k.isnan()
        if y_k[known].unique().numel() == 2:
            areas.append(binary_auroc(z_k[known], y_k[known].long()).item())
    return 100 * sum(areas) / len(areas)


# Training -----------------------------------------------------------------------------------------

# Heads of losses hold a BatchNorm, which cannot learn from a last batch of one molecule.
loader = DataLoader(train_set, args.batch_size, shuffle=True, drop_last=True)
val, test = ([d.to(args.device) for d in DataLoader(x, 1024)] for x in (val_set, test_set))


def train(
    name: str, model: Net, lr: float, distill: nn.ModuleDict, weights: dict[str, float]
) -> tuple[float, float]:
    """Train the model and give its validation and test score; with losses, it is a student."""
    # New in a training loop: the heads of the losses learn, too ...
    optimizer = torch.optim.Adam([*model.parameters(), *distill.parameters()], lr=lr)
    who = {"student": model, "optimizer": optimizer}
    distill = nn.ModuleDict({k: _common.watched(args, v, **who) for k, v in distill.items()})

    def step() -> None:
        model.train()
        for data in loader:
            data = data.to(args.device)
            h_s, g_s, z_s = apply(model, data)
            loss = task = task_loss(z_s, data.y)
            seen = {"task_loss": task, "y": data.y} if args.doctor else {}
            # ... predictions for molecules are compared, if wanted for missing labels too ...
            if "kd" in distill:
                mask = ~data.y.isnan() if args.known_only else None
                loss = loss + weights["kd"] * distill["kd"](z_s, z_t[data.idx], mask=mask, **seen)
            # ... embeddings of molecules are compared with the others of the batch ...
            if "gcrd" in distill:
                loss = loss + weights["gcrd"] * distill["gcrd"](g_s, g_t[data.idx], **seen)
            # ... and embeddings of atoms within each molecule.
            if "at" in distill:
                taught = h_t[data.n_id], data.batch
                loss = loss + weights["at"] * distill["at"](h_s, *taught, **seen)
            if "lsp" in distill:
                taught = h_t[data.n_id], data.edge_index
                loss = loss + weights["lsp"] * distill["lsp"](h_s, *taught, **seen)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    others = {"optimizer": optimizer, "distill": distill}
    best = _common.fit(name, args, model, step, lambda: score(model, val), **others)
    return best, abs(score(model, test))


wide, narrow = args.teacher_width, args.student_width
teachers = []
vals, tests = ({method: [] for method in args.methods} for _ in range(2))
for seed in range(args.seeds):
    _common.seed_everything(seed)
    options = {"norm": "batch_norm", "jk": "last"}  # with "last", a BatchNorm after the last layer
    teacher = Net(GINE(wide, wide, num_layers=4, dropout=0.2, **options)).to(args.device)
    teachers.append(train(f"teacher-{seed}", teacher, 0.003, nn.ModuleDict(), {})[1])
    # The teacher no longer changes: its outputs are computed once for every epoch and method.
    graphkd.freeze(teacher)
    with torch.no_grad():
        outputs = [apply(teacher, data.to(args.device)) for data in DataLoader(train_set, 1024)]
    h_t, g_t, z_t = (torch.cat(part).float() for part in zip(*outputs, strict=True))
    for method in args.methods:
        _common.seed_everything(seed)
        student = Net(GCN(narrow, narrow, num_layers=3, **options)).to(args.device)
        losses = {
            "kd": kd,
            "at": graphkd.AttentionTransferLoss,
            "lsp": graphkd.LSPLoss,
            "gcrd": partial(graphkd.GCRDLoss, dim_s=narrow, dim_t=wide, proj_dim=64),
        }
        terms = _common.terms(method, SETTINGS, losses)
        distill = nn.ModuleDict({name: loss for name, (_, loss) in terms.items()})
        weights = {name: weight for name, (weight, _) in terms.items()}
        _common.compiled(args, student)
        _common.seed_everything(seed)  # the same order of molecules, whatever a head has drawn
        run, distill = _common.run_name(seed, method, SETTINGS), distill.to(args.device)
        scores = train(run, student, 0.01, distill, weights)
        for found, value in zip((vals, tests), scores, strict=True):
            found[method].append(value)

title = f"{args.dataset}, {len(train_set):,} molecules to learn from"
metric, digits = ("RMSE (less is better)", 3) if regression else ("ROC-AUC, %", 1)
facts = {"validation": {key: _common.mean_std(x) for key, x in vals.items()}, "settings": SETTINGS}
_common.report(title, metric, args, teachers, tests, digits=digits, **facts)
