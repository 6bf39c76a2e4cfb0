"""The study on heterogeneous graphs: what is classified, R-GCNs, losses by type, whole runs."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_geometric.data import HeteroData

import graphkd
from examples.study import data, files, fit, hetero, methods, models, plan, schedule, work

WRITES, CITES = ("author", "writes", "paper"), ("paper", "cites", "paper")
OPTIONS = {"width": 8, "layers": 2, "dropout": 0.0}


def academic() -> HeteroData:
    """Papers with words and one of three classes, and authors without features, whom none cites."""
    rng = torch.Generator().manual_seed(0)
    graph, y = HeteroData(), torch.arange(90) % 3
    graph["paper"].x = (torch.rand(90, 40, generator=rng) < 0.02).float()
    graph["paper"].x[torch.arange(90), y] = 1.0
    graph["paper"].y, graph["author"].num_nodes = y, 30
    graph[WRITES].edge_index = torch.stack([torch.arange(180) % 30, torch.arange(180) % 90])
    graph[CITES].edge_index = torch.randint(90, (2, 300), generator=rng)
    for part, ids in {"train": (0, 30), "val": (30, 60), "test": (60, 90)}.items():
        graph["paper"][f"{part}_mask"] = torch.zeros(90, dtype=torch.bool)
        graph["paper"][f"{part}_mask"][slice(*ids)] = True
    return graph


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(files.GENERATED, "Academic", lambda: {"all": [academic()]})
    data.load.cache_clear()


def test_the_classified_type_is_found() -> None:
    problem = data.problem("Academic", "", 0)
    (graph,) = problem.learn
    assert (problem.task, problem.kind, problem.outputs, graph.target) == (
        "hetero", "multiclass", 3, "paper",
    )  # fmt: skip
    assert graph["paper"].x.layout == torch.sparse_csr
    rows = graph["paper"].x.to_dense()
    torch.testing.assert_close(rows.sum(1), torch.ones(90))  # words are shares
    assert {edge_type[2] for edge_type in graph.edge_types} == {"paper", "author"}
    assert torch.equal(data.rows(graph, "val").nonzero().view(-1), torch.arange(30, 60))
    assert data.load("Papers", "")["all"][0].num_nodes == 4760


def test_labels_in_other_forms() -> None:
    """Without masks, without validation nodes, and as the numbers of the labelled nodes."""
    graph = academic()
    del graph["paper"].val_mask
    splits = [data.split(hetero.labels(graph), seed, 5) for seed in range(2)]
    for split in splits:
        assert int(split.val_mask.sum()) == 6
        assert torch.equal(split.train_mask | split.val_mask, graph["paper"].train_mask)
        assert torch.equal(split.test_mask, graph["paper"].test_mask)
    assert not torch.equal(splits[0].val_mask, splits[1].val_mask)
    del graph["paper"].train_mask, graph["paper"].test_mask
    assert int(data.split(hetero.labels(graph), 0, 5).train_mask.sum()) == 15
    known = torch.tensor([4, 1, 7])
    graph["paper"].update({"train_idx": known, "train_y": known % 3})
    graph["paper"].update({"test_idx": known + 10, "test_y": known % 2})
    del graph["paper"].y
    found = hetero.labels(graph)
    assert found.train_mask.nonzero().view(-1).tolist() == [1, 4, 7]
    assert found.y[[4, 1, 7, 14, 11, 17, 0]].tolist() == [1, 1, 1, 0, 1, 1, -1]
    graph["author"].y = torch.zeros(30)
    with pytest.raises(SystemExit, match=r"of Academic has .* paper and author have labels"):
        hetero.prepared(graph, "Academic")


def test_what_is_not_asked_for_is_not_computed() -> None:
    """And what is asked for stays the same, whatever the format of edges and features."""
    graph = data.problem("Academic", "", 0).learn[0]
    model = models.build("RGCN", data.problem("Academic", "", 0), OPTIONS).gnn
    inputs = {**graph.n_id_dict, **graph.x_dict}
    h, z = model(inputs, graph.adj_t_dict)
    dense, _ = model({**inputs, "paper": graph["paper"].x.to_dense()}, graph.edge_index_dict)
    few, same = model(inputs, graph.adj_t_dict, {"paper"})
    assert (set(h), set(few)) == ({"paper", "author"}, {"paper"})
    torch.testing.assert_close(few["paper"], h["paper"])
    torch.testing.assert_close(same, z)
    torch.testing.assert_close(dense["author"], h["author"])


def test_the_objective_is_a_hetero_loss(tmp_path: Path) -> None:
    """LSP's weight is shared by the two edge types that end in papers; KD is of papers."""
    problem = data.problem("Academic", "", 0)
    (graph,) = problem.learn
    teacher = graphkd.freeze(models.build("RGCN", problem, {**OPTIONS, "width": 16}))
    taught = hetero.taught(graph, teacher, tmp_path / "teacher")
    h_t, z_t = teacher.gnn({**graph.n_id_dict, **graph.x_dict}, graph.adj_t_dict)
    torch.testing.assert_close(taught.h_node, h_t)
    torch.testing.assert_close(taught.z_t, z_t)
    student = models.build("RGCN", problem, {**OPTIONS, "layers": 1})
    settings = {"kd": methods.Setting(2.0, 4.0), "kd+lsp": methods.Setting(10.0)}
    case = methods.Case(8, 16, None, methods.Teacher(teacher, h_t["paper"], z_t))
    loss, given = hetero.objective("kd+lsp", settings, case, taught)
    student.types = loss.types
    lesson = fit.Taught(loss, given, "kd+lsp", case)
    with graphkd.Tap(student, student.layers["node"]) as tap:
        z_s = student(graph)
    value = fit.distilled(lesson, tap.value, taught, z_s, torch.zeros(()))
    by_hand = 2 * graphkd.functional.kd_loss(z_s, z_t, temperature=4.0)
    for src, relation, dst in (WRITES, CITES):
        edges, pair = graph[src, relation, dst].edge_index, (src, dst)
        h_s, h = (tuple(side[name] for name in pair) for side in (tap.value, h_t))
        by_hand = by_hand + 5 * graphkd.functional.lsp_loss(h_s, h, edges)
    torch.testing.assert_close(value, by_hand)


def study(folder: Path, stop_after: int | None = None) -> list[dict[str, Any]]:
    """The lines of a small study but for their times; perhaps it is killed on its way."""
    limits = work.Limits("", str(folder / "work"), 2, 1, 2, 3, 2)
    jobs = [work.Job("Academic", "transductive", "R-GCN", is_teacher=True)]
    jobs += [work.Job("Academic", "transductive", "R-GCN")]
    jobs += [jobs[1]._replace(teacher="R-GCN", method=name) for name in plan.METHODS]
    results = schedule.Results(folder, "Academic", "transductive", limits)
    add, kept = results.add, []

    def keep(*line: Any) -> None:
        if len(kept) == stop_after:
            raise KeyboardInterrupt
        kept.append(add(*line))

    results.add = keep
    schedule.run(jobs, [results], 1)
    lines = [json.loads(line) for line in results.path.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def test_a_study_is_taken_up_again(tmp_path: Path) -> None:
    """With every method, to the digit, after it was killed in a teacher's and a method's job."""
    for folder in ("whole", "stopped"):
        (tmp_path / folder).mkdir()
    whole = study(tmp_path / "whole")
    runs = [line for line in whole if "phase" in line]
    assert len(runs) == 4 * (len(plan.METHODS) + 2) + 2  # kd* has two more trials
    assert all(line["validation"] is not None for line in runs)
    for stop_after in (3, 20):
        with pytest.raises(KeyboardInterrupt):
            study(tmp_path / "stopped", stop_after)
    assert study(tmp_path / "stopped") == whole


def write_acm(folder: Path) -> None:
    """Write 40 papers, 10 authors and 4 fields in the layout of the benchmark HGB."""
    folder.mkdir(parents=True)
    kinds = {0: "paper", 1: "author", 2: "field"}
    links = {0: (0, 1, "paper-author"), 1: (1, 0, "author-paper"), 2: (0, 2, "paper-field"),
             3: (2, 0, "field-paper")}  # fmt: skip
    link_types = {
        k: dict(zip(("start", "end", "meaning"), v, strict=True)) for k, v in links.items()
    }
    info = {"node.dat": {"node type": kinds}, "link.dat": {"link type": link_types},
            "label.dat": {"node type": {"0": {"0": "a", "1": "b", "2": "c"}}}}  # fmt: skip
    (folder / "info.dat").write_text(json.dumps(info))
    kind = [0] * 40 + [1] * 10 + [2] * 4
    nodes = [
        f"{i}\tn{i}\t{k}" + (f"\t{i % 3},{i % 5},1" if k < 2 else "") for i, k in enumerate(kind)
    ]
    edges = [(i, 40 + i % 10, 0) for i in range(40)] + [(i, 50 + i % 4, 2) for i in range(40)]
    edges += [(j, i, relation + 1) for i, j, relation in edges]
    for name, rows in {
        "node.dat": nodes,
        "link.dat": [f"{i}\t{j}\t{relation}\t1.0" for i, j, relation in edges],
        "label.dat": [f"{i}\tn{i}\t0\t{i % 3}" for i in range(20)],
        "label.dat.test": [f"{i}\tn{i}\t0\t{i % 3}" for i in range(20, 30)],
    }.items():
        (folder / name).write_text("".join(f"{row}\n" for row in rows))


def test_a_set_of_pyg_by_name(tmp_path: Path) -> None:
    write_acm(tmp_path / "HGBDataset" / "acm" / "raw" / "ACM")
    problem = data.problem("HGBDataset:ACM", str(tmp_path), 0)
    assert (problem.learn[0].target, problem.outputs) == ("paper", 3)
    sizes = [int(problem.learn[0][f"{part}_mask"].sum()) for part in data.PARTS]
    assert sizes == [16, 4, 10]
    limits = work.Limits(str(tmp_path), str(tmp_path / "work"), epochs=5)
    known = work.Known(*({"dropout": 0.0, "lr": 0.01, "weight_decay": 0.0, **more} for more in (
        {}, {"width": 8, "layers": 2},
    )))  # fmt: skip
    job = work.Job("HGBDataset:ACM", "transductive", "R-GCN", "R-GCN", "lsp")
    model, problem, _ = work.train(job, {"weight": 1.0, "dropout": 0.0}, 0, known, limits)
    assert 0 <= fit.scores(model, problem)["test"] <= 100
