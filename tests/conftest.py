"""Shared set-up: one thread per worker, a fixed seed, Triton's interpreter if there is no GPU.

Tests marked ``sampler`` need PyG's samplers. Without samplers these tests are skipped, or fail if
the environment says REQUIRE_SAMPLER=1.
"""

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when triton is imported


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    torch.manual_seed(0)


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(1)


def pytest_runtest_setup(item: pytest.Item) -> None:
    from torch_geometric.typing import WITH_PYG_LIB, WITH_TORCH_SPARSE

    if item.get_closest_marker("sampler") and not (WITH_PYG_LIB or WITH_TORCH_SPARSE):
        why = "PyG's samplers need torch_sparse or pyg_lib"
        if os.environ.get("REQUIRE_SAMPLER") == "1":
            pytest.fail(why)
        pytest.skip(why)
