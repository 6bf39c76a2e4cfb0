"""Every loss of the contract table as a term of WeightedSum and HeteroLoss, called by name."""

import copy

import pytest
import torch
from torch import Tensor, nn

from graphkd import HeteroLoss, WeightedSum
from graphkd.losses.several.weighted import VOCABULARY, arguments_of
from tests.contract import Loss, every
from tests.test_contract_weights import WEIGHT


def module_and_arguments(loss: Loss, options: dict) -> tuple[nn.Module, dict]:
    h_s, h_t, edge_index = loss.inputs()
    module = loss.build(h_s.size(1), h_t.size(1), **options).double()
    takes, _ = arguments_of(module)
    student, teacher = loss.arrange(h_s, h_t)
    given = {takes[0]: student, takes[1]: teacher}
    given |= {name: value for name, value in loss.more(h_s, h_t).items() if name in takes}
    if loss.edges:
        given["edge_index"] = edge_index
    if loss.row_wise:
        given["weight"] = WEIGHT
    return module, given


def value_of(module: nn.Module, given: dict) -> Tensor:
    torch.manual_seed(0)
    return copy.deepcopy(module)(**given)


@every()
def test_a_weighted_sum_takes_it(loss: Loss, options: dict) -> None:
    module, given = module_and_arguments(loss, options)
    expected = value_of(module, given)
    objective = WeightedSum(term=(0.5, copy.deepcopy(module)))
    torch.manual_seed(0)
    total, parts = objective(**given)
    assert torch.equal(parts["term"], expected.detach())
    torch.testing.assert_close(total, expected / 2)
    total.backward()
    for name in arguments_of(module)[1]:
        with pytest.raises(TypeError, match=f"needs {name}="):
            objective(**{key: value for key, value in given.items() if key != name})


@every(where=lambda loss: not loss.row_wise)
def test_what_has_no_rows_says_where_to_put_it(loss: Loss, options: dict) -> None:
    module, given = module_and_arguments(loss, options)
    with pytest.raises(ValueError, match=r"loss 'term'.*weight .*beside a WeightedSum"):
        WeightedSum(term=(1.0, module))(**given, weight=WEIGHT)


@every()
def test_its_names_may_be_passed_to_any_sum(loss: Loss, options: dict) -> None:
    """A call stays as it is when a term is taken out."""
    h_s, h_t, _ = loss.inputs()
    takes, needs = arguments_of(loss.build(h_s.size(1), h_t.size(1), **options))
    assert set(needs) <= set(takes)
    missing = set(takes) - VOCABULARY
    assert not missing, f"VOCABULARY in graphkd/losses/several/weighted.py lacks {sorted(missing)}"


@every()
def test_its_gradients_are_balanced(loss: Loss, options: dict) -> None:
    module, given = module_and_arguments(loss, options)
    student = next(iter(given.values()))
    layers = list(student) if isinstance(student, list | tuple) else [student]
    task = sum(h.square().sum() for h in layers)
    objective = WeightedSum(term=(1.0, copy.deepcopy(module)), balance=True)
    total, _ = objective(task_loss=task, **{"h_s": student, **given})
    assert total.isfinite()


@every()
def test_a_hetero_loss_takes_it(loss: Loss, options: dict) -> None:
    module, given = module_and_arguments(loss, options)
    expected = value_of(module, given)
    kind = ("paper", "cites", "paper") if "edge_index" in given else "paper"
    objective = HeteroLoss({kind: (1.0, copy.deepcopy(module))})
    by_type = {name: {"paper": value} for name, value in given.items() if name != "edge_index"}
    if "edge_index" in given:
        by_type["edge_index"] = {kind: given["edge_index"]}
    torch.manual_seed(0)
    total, _ = objective(**by_type)
    torch.testing.assert_close(total, expected)
