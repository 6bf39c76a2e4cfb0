"""The contract table: one row per loss. A test of all losses runs on every row.

Each row is ``LOSS`` in a file of its loss's name, in the folder of its family under ``tests/rows``.
A new loss is one more file there and one oracle; it then inherits every check.
"""

import importlib
import pkgutil
from typing import Any

import pytest
import torch

from tests import rows
from tests.rows.row import DENSE, KERNELS, RELATIVE, SCATTER, TRITON, Loss, Options

__all__ = ["DENSE", "DTYPES", "KERNELS", "LOSSES", "RELATIVE", "SCATTER", "TRITON", "Loss", "every"]

LOSSES: tuple[Loss, ...] = tuple(
    importlib.import_module(name).LOSS
    for name in sorted(
        file.name
        for file in pkgutil.walk_packages(rows.__path__, f"{rows.__name__}.")
        if not file.ispkg and file.name != Loss.__module__
    )
)


def _label(options: Options) -> str:
    return "-".join(str(value) for value in options.values()) or "default"


def _adds_something(options: Options) -> bool:
    """Triton's interpreter is slow: there, one kernel of each statistic, and one divergence.

    Its programs know no divergence, and ``tests/test_triton.py`` runs each of them on every kernel.
    """
    if options.get("backend") != "triton":
        return True
    told = options.get("gamma") == "median" or options.get("kernel") not in ("linear", "rbf")
    return told and options.get("divergence") != "mse"


def every(
    *,
    variants: bool = False,
    backends: bool = False,
    where: Any = None,
    keep: Any = None,
) -> Any:
    """Parametrize over the rows of the table, and over their variants and backends if asked.

    ``where`` says which losses take part, and ``keep`` which of a loss's options.
    """
    cases = []
    for loss in LOSSES:
        if where is not None and not where(loss):
            continue
        for variant in loss.variants if variants else loss.variants[:1]:
            for backend in (loss.backends_for(variant) or (None,)) if backends else (None,):
                options = dict(variant, **({"backend": backend} if backend else {}))
                if _adds_something(options) and (keep is None or keep(loss, options)):
                    cases.append(pytest.param(loss, options, id=f"{loss.name}-{_label(options)}"))
    return pytest.mark.parametrize(("loss", "options"), cases)


DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
