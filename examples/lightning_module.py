"""Distil in PyTorch Lightning: the user keeps the LightningModule, a loss is one more submodule.

    python examples/lightning_module.py                               # the digits, one process
    python examples/lightning_module.py --devices 2                   # two processes, by DDP
    python examples/lightning_module.py --dataset Physics --root data    # Coauthor

A GraphSAGE on the whole graph teaches an MLP, which reads batches of nodes. The lines that distil
are marked. With several devices, Lightning gives each its own batches. G-CRD then contrasts the
rows of all devices, so that two devices with batches of 256 train as one does with 512.

The default data are the 1,797 handwritten digits that ship inside scikit-learn. The images are
real. The graph is built: each image is joined to the 8 images with the nearest pixels. Five labels
per class are known, twenty in Physics. Another 500 nodes validate, and one half of all nodes tests.
A truncated SVD reduces the 8,415 features of Physics to 256. Needs lightning.
"""

import logging
import tempfile
import warnings
from functools import partial
from pathlib import Path

import _common
import torch
import torch.distributed as dist
import torch.nn.functional as F
from _common import Setting
from study.data import reduced
from study.files import read
from torch.utils.data import DataLoader, DistributedSampler
from torch_geometric import transforms
from torch_geometric.nn import MLP, GraphSAGE
from torchmetrics.classification import MulticlassAccuracy

import graphkd

try:
    import lightning
    from lightning.pytorch.callbacks import ModelCheckpoint
except ImportError:
    raise SystemExit(
        "This example needs lightning. Run: pip install 'graphkd[examples,lightning]'"
    ) from None

METHODS = ["none", "kd", "gcrd", "kd+gcrd"]
WIDTH, TEACHER_WIDTH = 64, 128
# The best of twelve settings each on the validation nodes of the digits, seeds 0 to 2
# (benchmarks/tune.py).
SETTINGS = {
    "kd": Setting(1.0, 1.0),
    "gcrd": Setting(10.0, 1.0),
    "kd+gcrd": Setting(0.1, 1.0),
}

parser = _common.parser(__doc__, methods=METHODS, epochs=60)
parser.add_argument(
    "--dataset", default="Digits", choices=["Digits", "Physics"], help="to learn from"
)
parser.add_argument("--devices", type=int, default=1, help="processes, by DDP")
parser.add_argument("--batch-size", type=int, default=256, help="of each device")
args = parser.parse_args()
SETTINGS.update(args.settings)

# Data ---------------------------------------------------------------------------------------------

_common.seed_everything(0)
[data] = read(args.dataset, args.root)["all"]
data.x = reduced(data.x)
known = 5 if args.dataset == "Digits" else 20
split = {"num_train_per_class": known, "num_val": 500, "num_test": data.num_nodes // 2}
data = transforms.RandomNodeSplit("random", **split)(data)
classes, share = int(data.y.max()) + 1, float(data.train_mask.float().mean())

# Teacher: as the user has it, in a plain loop -----------------------------------------------------


def train_teacher(seed):
    """The last hidden states and the logits of all nodes, and the test accuracy."""
    _common.seed_everything(seed)
    teacher = GraphSAGE(data.num_features, TEACHER_WIDTH, 2, classes, dropout=0.5)
    optimizer = torch.optim.Adam(teacher.parameters(), lr=0.01, weight_decay=5e-4)
    for _ in range(args.epochs):
        optimizer.zero_grad()
        z = teacher(data.x, data.edge_index)
        F.cross_entropy(z[data.train_mask], data.y[data.train_mask]).backward()
        optimizer.step()
    graphkd.freeze(teacher)
    with graphkd.Tap(teacher, "dropout") as tap:
        z = teacher(data.x, data.edge_index)
    right = (z.argmax(1) == data.y)[data.test_mask].float()
    return tap.value, z, 100 * float(right.mean())


# Student ------------------------------------------------------------------------------------------


class Student(lightning.LightningModule):
    def __init__(self, seed, method, h_teacher, z_teacher):
        super().__init__()
        self.seed = seed
        self.mlp = MLP([data.num_features, WIDTH, classes], norm=None, dropout=0.5)
        self.accuracy = MulticlassAccuracy(classes, average="micro")
        for name, value in {"x": data.x, "y": data.y, "known": data.train_mask}.items():
            self.register_buffer(name, value, persistent=False)
        # Distillation: the losses, and the teacher's outputs for every node.
        gcrd = partial(graphkd.GCRDLoss, WIDTH, TEACHER_WIDTH, 64)
        terms = _common.terms(method, SETTINGS, {"kd": graphkd.KDLoss, "gcrd": gcrd})
        self.distill = _common.watched(args, graphkd.WeightedSum(**terms), student=self.mlp)
        self.register_buffer("h_teacher", h_teacher, persistent=False)
        self.register_buffer("z_teacher", z_teacher, persistent=False)

    def setup(self, stage):
        # Distillation over several devices: the group exists from here on.
        if dist.is_available() and dist.is_initialized():
            for loss in self.distill.losses.values():
                if hasattr(loss, "process_group"):
                    loss.process_group = dist.group.WORLD

    def training_step(self, ids, _):
        h, z = self(ids)
        labelled = ids[self.known[ids]]
        # The labels teach on the few training nodes of the batch. A batch may have none.
        loss = F.cross_entropy(z[self.known[ids]].float(), self.y[labelled], reduction="sum")
        loss = loss / (share * len(ids))
        # Distillation: rows of both sides by node id.
        rows = {"h_s": h, "h_t": self.h_teacher[ids], "z_s": z, "z_t": self.z_teacher[ids]}
        extra, parts = self.distill(**rows, task_loss=loss)
        self.log_dict(parts, on_step=False, on_epoch=True, batch_size=len(ids))
        return loss + extra

    def configure_optimizers(self):
        # The heads of the losses are among the parameters, because the losses are submodules.
        optimizer = torch.optim.Adam(self.parameters(), lr=0.01, weight_decay=5e-4)
        if args.doctor:
            self.distill.optimizer = optimizer
        return optimizer

    # From here on nothing distils.

    def train_dataloader(self):
        # Called in each epoch, so that the order is the same after a resumption.
        trainer, nodes = self.trainer, range(data.num_nodes)
        shares = {"num_replicas": trainer.world_size, "rank": trainer.global_rank}
        sampler = DistributedSampler(nodes, **shares, seed=self.seed)
        sampler.set_epoch(self.current_epoch)
        # A generator of its own, so that it draws nothing from the generator of dropout.
        return DataLoader(nodes, args.batch_size, sampler=sampler, generator=torch.Generator())

    def on_train_epoch_start(self):
        torch.manual_seed(1000 * self.seed + self.current_epoch)  # so is dropout

    def forward(self, ids):
        z, h = self.mlp(self.x[ids], return_emb=True)
        return h, z

    def validation_step(self, ids, _):
        self.accuracy(self(ids)[1], self.y[ids])
        self.log("accuracy", self.accuracy, on_epoch=True, batch_size=len(ids))

    test_step = validation_step


def nodes_of(mask):
    return DataLoader(mask.nonzero().view(-1), data.num_nodes)


def train_student(seed, method, h_teacher, z_teacher, folder):
    lightning.seed_everything(seed, verbose=False)
    student = Student(seed, method, h_teacher, z_teacher)
    if args.compile:
        student.mlp.compile(dynamic=True)
    folder = folder / _common.run_name(seed, method, SETTINGS)
    best = ModelCheckpoint(
        folder, monitor="accuracy", mode="max", save_last=True,
        save_on_train_epoch_end=True, enable_version_counter=False,
    )  # fmt: skip
    trainer = lightning.Trainer(
        max_epochs=args.epochs, accelerator="cpu" if args.device.type == "cpu" else "auto",
        devices=args.devices, strategy="ddp" if args.devices > 1 else "auto",
        precision="bf16-mixed" if args.amp else "32-true", callbacks=best, logger=False,
        num_sanity_val_steps=0, use_distributed_sampler=False, reload_dataloaders_every_n_epochs=1,
        enable_progress_bar=_common.console.is_terminal, enable_model_summary=False,
    )  # fmt: skip
    last = folder / "last.ckpt"
    trainer.fit(student, val_dataloaders=nodes_of(data.val_mask),
                ckpt_path=last if last.exists() else None)  # fmt: skip
    path = trainer.strategy.broadcast(best.best_model_path)
    (scores,) = trainer.test(student, nodes_of(data.test_mask), path, verbose=False)
    _common.tell(folder.name, args, student.distill)
    return 100 * float(best.best_model_score), 100 * scores["accuracy"]


# All seeds ----------------------------------------------------------------------------------------

logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", module="lightning")
teacher_tests, vals, tests = [], {}, {}
with tempfile.TemporaryDirectory() as temporary:
    for seed in range(args.seeds):
        h_teacher, z_teacher, score = train_teacher(seed)
        teacher_tests.append(score)
        for method in args.methods:
            folder = args.checkpoint or Path(temporary)
            val, test = train_student(seed, method, h_teacher, z_teacher, folder)
            vals.setdefault(method, []).append(val)
            tests.setdefault(method, []).append(test)

if not dist.is_initialized() or dist.get_rank() == 0:
    title = f"{args.dataset}, {data.num_nodes:,} nodes, {args.devices} device(s)"
    facts = {"validation": {key: _common.mean_std(x) for key, x in vals.items()}}
    _common.report(title, "accuracy", args, teacher_tests, tests, settings=SETTINGS, **facts)
