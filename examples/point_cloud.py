"""Segment point clouds: distil a wide network of edge convolutions into a thin one.

    python examples/point_cloud.py                                   # generated tiles, two minutes
    python examples/point_cloud.py --dataset ign --root data         # LiDAR tiles, see below
    python examples/point_cloud.py --dataset S3DIS --root data       # PyG's S3DIS; needs h5py

Teacher and student are DGCNNs. Their graph, the nearest neighbours of each point, is built once.
The teacher has three layers of 48 units, the student two layers of 16 units. One in ten of the
training points is labelled (--labelled); the teacher teaches on all of them. Its outputs are
computed once and travel in the blocks, as further attributes of PyG's Data. The losses see batches
of blocks, which are disjoint graphs side by side. Attention transfer normalises by block (batch=),
LSP compares each point's neighbours, and G-CRD compares all points of the batch.

Tiles are cut into square blocks. A block keeps --points of its points, drawn once, and is scored on
these. Four tiles train, one validates, one tests. The score is the mean IoU over the classes.

The default tiles, 30 m wide, are generated: ground with a wave in it, boxes as buildings, balls as
crowns and bushes. The classes differ in intensity by 0.3 on average, in noise of deviation 1.

--dataset ign reads ROOT/ign_lidar/ign_lidar_tiles.npz, as np.savez writes it. It has four arrays
for each of six tiles: "NAME/xyz_cm" int [N, 3], centimetres from the tile's corner;
"NAME/intensity" int [N]; "NAME/returns" int [N, 2], the number of the return and how many its pulse
had; "NAME/label" int [N], the LAS class: 2 ground, 3 to 5 low, medium and high vegetation, 6
building. Points of other classes stay in the blocks, without a label.

In S3DIS, areas 1 to 4 train, 5 validates and 6 tests.
"""

from functools import partial
from pathlib import Path

import _common
import torch
import torch.nn.functional as F
from _common import Setting
from study.files import read
from study.points import PointGNN, blocks, generate, neighbours, read_tiles
from torch_geometric.loader import DataLoader
from torchmetrics.classification import MulticlassJaccardIndex

import graphkd

METHODS = ["none", "kd", "at", "lsp", "gcrd", "kd+gcrd"]
WIDTH, TEACHER_WIDTH = 16, 48
# KD, G-CRD and their sum have the best of twelve settings on the validation tile of the generated
# data, seeds 0 to 2 (benchmarks/tune.py). The weights of AT and LSP are from a few values.
SETTINGS = {
    "kd": Setting(100.0, 2.0),
    "at": Setting(1000.0),
    "lsp": Setting(10.0),
    "gcrd": Setting(0.1, 0.5),
    "kd+gcrd": Setting(100.0, 1.0),
}

parser = _common.parser(__doc__, methods=METHODS, epochs=20)
parser.add_argument(
    "--dataset", default="generated", choices=["generated", "ign", "S3DIS"], help="to learn from"
)
parser.add_argument("--labelled", type=float, default=0.1, help="share of the training points")
parser.add_argument("--points", type=int, default=512, help="of a block")
parser.add_argument("--block", type=float, default=10.0, help="its edge in metres")
parser.add_argument("--batch-size", type=int, default=4, help="in blocks")
parser.add_argument("--neighbours", type=int, default=8, help="of a point")
args = parser.parse_args()
SETTINGS.update(args.settings)

# Data ---------------------------------------------------------------------------------------------

if args.dataset == "S3DIS":  # blocks of 4,096 points, whose x is colour and place in the room
    parts, classes = read("S3DIS", args.root).values(), 13
else:
    if args.dataset == "ign":
        path = Path(args.root) / "ign_lidar" / "ign_lidar_tiles.npz"
        scenes, classes = [*read_tiles(path)], 4
    else:
        scenes, classes = [generate(seed) for seed in range(6)], 3
    tiles = [[*blocks(*scene, args.block, args.points)] for scene in scenes]
    parts = [[block for tile in tiles[:4] for block in tile], *tiles[4:]]
parts = [[neighbours(block, args.neighbours) for block in part] for part in parts]
train_blocks, *held = parts
generator = torch.Generator().manual_seed(0)
for block in train_blocks:
    block.y[torch.rand(block.num_nodes, generator=generator) > args.labelled] = -1  # not labelled
channels = train_blocks[0].num_features
val_loader, test_loader = (DataLoader(part, args.batch_size) for part in held)

# Models -------------------------------------------------------------------------------------------


def dgcnn(width, layers):
    return PointGNN("DGCNN", channels, width, layers, classes).to(args.device)


def predict(model, batch):
    batch = batch.to(args.device)
    with _common.autocast(args):
        return model(batch.x, batch.pos, batch.edge_index, batch.batch, batch.num_graphs)


def label_loss(z, y):
    loss = F.cross_entropy(z.float(), y, ignore_index=-1, reduction="sum")
    return loss / (y >= 0).sum().clamp(min=1)  # a batch may have no labelled point


@torch.no_grad()
def score(model, loader):
    """The mean over the classes of intersection over union, in per cent."""
    model.eval()
    metric = MulticlassJaccardIndex(classes, ignore_index=-1).to(args.device)
    for batch in loader:
        metric.update(predict(model, batch).float(), batch.y)
    return 100 * metric.compute().item()


# Teacher ------------------------------------------------------------------------------------------


def train_teacher(seed):
    _common.seed_everything(seed)
    teacher = dgcnn(TEACHER_WIDTH, layers=3)
    optimizer = torch.optim.Adam(teacher.parameters(), lr=0.01)
    loader = DataLoader(train_blocks, args.batch_size, shuffle=True)

    def step():
        teacher.train()
        for batch in loader:
            optimizer.zero_grad()
            z = predict(teacher, batch)
            label_loss(z, batch.y).backward()
            optimizer.step()

    def evaluate():
        return score(teacher, val_loader)

    _common.fit(f"{seed}-teacher", args, teacher, step, evaluate, optimizer=optimizer)
    # Once for all runs: freeze it; its hidden states and logits become attributes of the blocks.
    graphkd.freeze(teacher)
    taught = []
    with graphkd.Tap(teacher, "hidden") as tap:
        for block, batch in zip(train_blocks, DataLoader(train_blocks), strict=True):
            z_t = predict(teacher, batch)
            taught.append(block.clone().update({"h_t": tap.value, "z_t": z_t}).cpu())
    return taught, score(teacher, test_loader)


# Distillation -------------------------------------------------------------------------------------


def train_student(seed, method, taught):
    _common.seed_everything(seed)  # every method starts from the same student ...
    student = dgcnn(WIDTH, layers=2)
    losses = {
        "kd": graphkd.KDLoss,
        "at": graphkd.AttentionTransferLoss,
        "lsp": graphkd.LSPLoss,
        "gcrd": partial(graphkd.GCRDLoss, WIDTH, TEACHER_WIDTH, proj_dim=64),
    }
    terms = _common.terms(method, SETTINGS, losses)
    distill = graphkd.WeightedSum(**terms).to(args.device)
    tap = graphkd.Tap(student, "hidden")
    _common.compiled(args, student)
    # The heads of the losses learn too.
    optimizer = torch.optim.Adam([*student.parameters(), *distill.parameters()], lr=0.01)
    distill = _common.watched(args, distill, student=student, optimizer=optimizer)
    _common.seed_everything(seed)  # ... and sees the same batches
    loader = DataLoader(taught, args.batch_size, shuffle=True)

    def step():
        student.train()
        for batch in loader:
            optimizer.zero_grad()
            z = predict(student, batch)
            loss = label_loss(z, batch.y)
            # Each loss takes the arguments that it names: LSP the edges, AT the batch vector.
            extra, _ = distill(
                h_s=tap.value, h_t=batch.h_t, z_s=z, z_t=batch.z_t,
                edge_index=batch.edge_index, batch=batch.batch,
                task_loss=loss, y=batch.y,  # for the doctor
            )  # fmt: skip
            (loss + extra).backward()
            optimizer.step()

    def evaluate():
        return score(student, val_loader)

    run = _common.run_name(seed, method, SETTINGS)
    best = _common.fit(run, args, student, step, evaluate, optimizer=optimizer, distill=distill)
    return best, score(student, test_loader)


# All seeds ----------------------------------------------------------------------------------------

teacher_tests, scores = [], {method: [] for method in args.methods}
for seed in range(args.seeds):
    taught, test = train_teacher(seed)
    teacher_tests.append(test)
    for method in args.methods:
        scores[method].append(train_student(seed, method, taught))

vals, tests = ({key: [x[k] for x in pairs] for key, pairs in scores.items()} for k in (0, 1))
facts = {"validation": {key: _common.mean_std(x) for key, x in vals.items()}, "settings": SETTINGS}
title = f"{args.dataset} tiles, {args.labelled:.0%} of the training points labelled"
_common.report(title, "mean IoU", args, teacher_tests, tests, **facts)
