"""Parts of the teacher that two losses hold: factor transfer's paraphraser, SimKD's classifier."""

import copy
import pickle
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import graphkd
import graphkd.functional as G


def test_pretraining_restores_the_teacher_and_freezes() -> None:
    loss, h_t = graphkd.FactorTransferLoss(4, 8), torch.randn(60, 8) @ torch.randn(8, 8)
    before = loss.paraphrase_loss(h_t)
    after = loss.pretrain(h_t, epochs=300, lr=0.01)
    assert after < before / 2
    assert torch.equal(after, F.mse_loss(loss.paraphraser.reconstruct(h_t), h_t))
    assert loss.pretrained
    for parameter in loss.paraphraser.parameters():
        assert not parameter.requires_grad
        assert parameter.grad is None
    state = copy.deepcopy(loss.paraphraser.state_dict())
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.1, weight_decay=0.1)
    loss(torch.randn(60, 4), h_t).backward()
    optimizer.step()
    for name, value in loss.paraphraser.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_distillation_never_trains_the_paraphraser() -> None:
    loss = graphkd.FactorTransferLoss(4, 8)
    loss.paraphraser.requires_grad_()
    loss(torch.randn(9, 4), torch.randn(9, 8)).backward()
    assert all(p.grad is None for p in loss.paraphraser.parameters())
    assert all(p.grad is not None for p in loss.head_s.parameters())


def test_pretraining_in_batches_follows_its_generator() -> None:
    h_t = torch.randn(50, 8)
    first = graphkd.FactorTransferLoss(4, 8)
    second, third = copy.deepcopy(first), copy.deepcopy(first)
    ends = [
        loss.pretrain(h_t, epochs=3, batch_size=16, generator=torch.Generator().manual_seed(seed))
        for loss, seed in ((first, 1), (second, 1), (third, 2))
    ]
    assert ends[0] == ends[1] != ends[2]


def test_pretraining_takes_what_a_teacher_gives() -> None:
    with torch.inference_mode():
        h_t = torch.randn(20, 8).half()
    loss = graphkd.FactorTransferLoss(4, 8)
    with torch.no_grad():
        loss.pretrain(h_t, epochs=2)
    loss.double().pretrain(h_t, epochs=2)
    for bad in ({"epochs": 0}, {"lr": 0.0}, {"batch_size": 0}):
        with pytest.raises(ValueError, match="got 0"):
            loss.pretrain(h_t, **bad)
    with pytest.raises(ValueError, match="dim_t=8"):
        loss.pretrain(torch.randn(20, 7))
    assert not any(p.requires_grad for p in loss.paraphraser.parameters())


def test_a_loop_of_ones_own() -> None:
    loss, h_t = graphkd.FactorTransferLoss(4, 8), torch.randn(40, 8)
    optimizer = torch.optim.SGD(loss.paraphraser.requires_grad_().parameters(), lr=0.1)
    before = loss.paraphrase_loss(h_t)
    for _ in range(50):
        optimizer.zero_grad()
        loss.paraphrase_loss(h_t, index=torch.arange(20)).backward()
        optimizer.step()
    assert loss.paraphrase_loss(h_t[:0]) == 0
    assert not loss.pretrained
    loss.freeze_paraphraser()
    assert loss.pretrained
    assert loss.paraphrase_loss(h_t) < before


def test_an_untrained_paraphraser_is_warned_of_once() -> None:
    h_s, h_t = torch.randn(9, 4), torch.randn(9, 8)
    loss = graphkd.FactorTransferLoss(4, 8)
    with pytest.warns(UserWarning, match=r"loss.pretrain\(h_t\)"):
        loss(h_s, h_t)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(h_s, h_t)
        fresh = graphkd.FactorTransferLoss(4, 8)
        fresh.pretrain(h_t, epochs=1)
        fresh(h_s, h_t)
        for other in (copy.deepcopy(fresh), pickle.loads(pickle.dumps(fresh))):
            other(h_s, h_t)
        loaded = graphkd.FactorTransferLoss(4, 8)
        loaded.load_state_dict(fresh.state_dict())
        torch.testing.assert_close(loaded(h_s, h_t), fresh(h_s, h_t))
        graphkd.FactorTransferLoss(8, 8, head="identity")(h_t, h_t)
    fresh.reset_parameters()
    with pytest.warns(UserWarning, match="not been trained"):
        fresh(h_s, h_t)


def test_a_pair_of_translator_and_trained_paraphraser() -> None:
    mine, theirs = nn.Linear(4, 3), nn.Sequential(nn.Linear(8, 3), nn.Dropout())
    loss = graphkd.FactorTransferLoss(4, 8, head=(mine, theirs)).train()
    h_s, h_t = torch.randn(9, 4), torch.randn(9, 8)
    wanted = G.factor_transfer_loss(mine(h_s), theirs[0](h_t))
    torch.testing.assert_close(loss(h_s, h_t), wanted)
    assert theirs[0].weight.requires_grad  # the loss froze a copy
    weight = loss.paraphraser[0].weight.clone()
    loss.reset_parameters()
    assert torch.equal(loss.paraphraser[0].weight, weight)
    with pytest.raises(TypeError, match="Train your own"):
        loss.pretrain(h_t)
    assert graphkd.FactorTransferLoss(4, 9).head_s[-2].out_features == 4
    with pytest.raises(ValueError, match="'factor', 'identity'"):
        graphkd.FactorTransferLoss(4, 8, head="mlp")
    with pytest.raises(ValueError, match="proj_dim"):
        graphkd.FactorTransferLoss(4, 8, 0)


def test_simkd_is_the_released_value() -> None:
    h_s = torch.randn(30, 6, dtype=torch.float64, requires_grad=True)
    h_t = torch.randn(30, 6, dtype=torch.float64)
    ours, released = G.simkd_loss(h_s, h_t), nn.MSELoss()(h_s, h_t)
    torch.testing.assert_close(ours, released)
    torch.testing.assert_close(torch.autograd.grad(ours, h_s), torch.autograd.grad(released, h_s))


def test_simkd_predicts_by_a_frozen_copy_of_the_classifier() -> None:
    classifier = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(8), nn.Linear(8, 3))
    classifier(torch.randn(40, 8))
    loss = graphkd.SimKDLoss(4, 8, classifier, head="mlp").train()
    h_s = torch.randn(20, 4, requires_grad=True)
    z = loss.predict(h_s)
    torch.testing.assert_close(z, copy.deepcopy(classifier).eval()(loss.head_s(h_s)))
    z.sum().backward()
    assert h_s.grad.abs().sum() > 0
    assert all(p.grad is not None for p in loss.head_s.parameters())
    assert all(p.grad is None and not p.requires_grad for p in loss.classifier.parameters())
    assert all(p.grad is None and p.requires_grad for p in classifier.parameters())
    assert not any(m.training for m in loss.classifier.modules())
    statistics = loss.classifier[1].running_mean.clone()
    loss.predict(h_s)
    assert torch.equal(loss.classifier[1].running_mean, statistics)
    loss.eval()
    torch.testing.assert_close(
        loss.predict(h_s, index=torch.tensor([3, 1])), loss.predict(h_s)[[3, 1]]
    )
    loaded = graphkd.SimKDLoss(4, 8, nn.Sequential(*map(copy.deepcopy, classifier)), head="mlp")
    nn.init.zeros_(loaded.classifier[2].weight)
    loaded.eval().load_state_dict(loss.state_dict())
    for other in (loaded, copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        torch.testing.assert_close(other.predict(h_s), loss.predict(h_s))


@pytest.mark.parametrize("outer", [False, True])
def test_simkds_classifier_stays_frozen_when_all_else_is_to_train(outer: bool) -> None:
    classifier = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(8), nn.Linear(8, 3))
    loss = graphkd.SimKDLoss(4, 8, classifier).eval()
    whole = graphkd.WeightedSum(simkd=(1.0, loss)) if outer else loss
    for other in (whole, copy.deepcopy(whole)):
        assert other.requires_grad_(True).train() is other
        found = other.losses["simkd"] if outer else other
        assert found.training
        assert all(p.requires_grad for p in found.head_s.parameters())
        assert not any(module.training for module in found.classifier.modules())
        assert not any(p.requires_grad for p in found.classifier.parameters())
    assert not loss.eval().training


def test_a_perfect_student_predicts_as_the_teacher() -> None:
    classifier, h_t = nn.Linear(8, 3), torch.randn(20, 8)
    loss = graphkd.SimKDLoss(8, 8, classifier, head="identity")
    assert loss(h_t, h_t) == 0
    assert torch.equal(loss.predict(h_t), classifier(h_t))
    assert loss.predict(h_t[:0]).shape == (0, 3)
    assert loss.predict(h_t.half()).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss.predict(h_t), loss.predict(h_t))
        assert loss.predict(h_t).dtype == torch.float32
    compiled = torch.compile(loss.predict, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(h_t), classifier(h_t))


@pytest.mark.parametrize("head", ["linear", "gcn"])
def test_simkd_with_a_graph_convolution_as_classifier(head: str) -> None:
    from torch_geometric.nn import GCNConv

    classifier, edge_index = GCNConv(8, 3), torch.randint(0, 20, (2, 60))
    loss = graphkd.SimKDLoss(4, 8, classifier, head=head, classifier_takes_edges=True).eval()
    h_s, h_t = torch.randn(20, 4), torch.randn(20, 8)
    loss(h_s, h_t, edge_index)
    projected = loss.head_s(h_s, edge_index) if head == "gcn" else loss.head_s(h_s)
    wanted = classifier(projected, edge_index)
    torch.testing.assert_close(loss.predict(h_s, edge_index), wanted)
    some = torch.arange(20) % 3 == 0
    torch.testing.assert_close(loss.predict(h_s, edge_index, index=some), wanted[some])
    with pytest.raises(TypeError, match="need the graph"):
        loss.predict(h_s)


def test_simkd_refuses() -> None:
    with pytest.raises(TypeError, match="last layer"):
        graphkd.SimKDLoss(4, 8, torch.randn(8, 3))
    loss = graphkd.SimKDLoss(4, 8, nn.Linear(8, 3))
    with pytest.raises(ValueError, match="dim_s=4"):
        loss.predict(torch.randn(9, 5))
    with pytest.raises(TypeError, match="h_s must be a tensor"):
        loss.predict([[1.0]])
    with pytest.raises(ValueError, match="float64"):
        loss.predict(torch.randn(9, 4, dtype=torch.float64))


def test_simkd_refuses_a_classifier_that_it_could_not_call() -> None:
    from torch_geometric.nn import GCN, GCNConv

    edge_index = torch.randint(0, 9, (2, 20))
    with pytest.raises(ValueError, match=r"dim_t=8; got Linear with in_features=5.*dim_t=5"):
        graphkd.SimKDLoss(4, 8, nn.Linear(5, 3))
    with pytest.raises(ValueError, match="got GCNConv with in_channels=5"):
        graphkd.SimKDLoss(4, 8, GCNConv(5, 3), classifier_takes_edges=True)
    for classifier in (GCNConv(8, 3), GCN(8, 6, 2, 3), torch.compile(GCNConv(8, 3))):
        with pytest.raises(TypeError, match=r"needs edge_index.*classifier_takes_edges=True"):
            graphkd.SimKDLoss(4, 8, classifier, head="gcn")
    loss = graphkd.SimKDLoss(4, 8, nn.Linear(8, 3))
    with pytest.raises(TypeError, match=r"int64 tensor of shape.*classifier_takes_edges=True"):
        loss.predict(torch.randn(9, 4), edge_index)
    loss(torch.randn(9, 4), torch.randn(9, 8), edge_index)  # as a sum of losses may pass it
    head = graphkd.SimKDLoss(4, 8, nn.Linear(8, 3), head="gcn")
    assert head.predict(torch.randn(9, 4), edge_index).shape == (9, 3)


def test_in_a_weighted_sum() -> None:
    h_s, h_t = torch.randn(20, 4, requires_grad=True), torch.randn(20, 8)
    factors = graphkd.FactorTransferLoss(4, 8)
    factors.pretrain(h_t, epochs=1)
    objective = graphkd.WeightedSum(
        vid=(1.0, graphkd.VIDLoss(4, 8)),
        nst=(1.0, graphkd.NSTLoss()),
        ab=(1.0, graphkd.ABLoss(4, 8)),
        factors=(1.0, factors),
        simkd=(1.0, graphkd.SimKDLoss(4, 8, nn.Linear(8, 3))),
    )
    total, parts = objective(h_s=h_s, h_t=h_t, index=torch.arange(10))
    total.backward()
    assert set(parts) == {"vid", "nst", "ab", "factors", "simkd"}
    assert h_s.grad[:10].abs().sum() > 0
    assert (h_s.grad[10:] == 0).all()


def test_pretraining_in_inference_mode() -> None:
    loss = graphkd.FactorTransferLoss(4, 8)
    with torch.inference_mode():
        h_t = torch.randn(60, 8)
        before = loss.paraphrase_loss(h_t)
        assert loss.pretrain(h_t) < before


def test_a_teachers_own_layer_is_not_drawn_anew() -> None:
    theirs = nn.Linear(6, 6)
    before = theirs.weight.clone()
    loss = graphkd.SimKDLoss(5, 6, nn.Linear(6, 4), head=(nn.Linear(5, 6), theirs))
    mine = loss.head_s.weight.clone()
    loss.reset_parameters()
    assert torch.equal(theirs.weight, before)
    assert not torch.equal(loss.head_s.weight, mine)
    both = graphkd.FitNetLoss(4, 5, head=(nn.Linear(4, 3), theirs))  # there it learns
    both.reset_parameters()
    assert not torch.equal(theirs.weight, before)
