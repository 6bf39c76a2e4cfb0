"""What quickstart.py compares, and with which settings."""

from typing import Any

import numpy as np
from study.methods import CORE, FAMILY, LOSSES, RANGES, Setting

PAPER = ["none", *CORE, *(f"kd+{name}" for name in CORE if name != "kd")]
# "teachers" already is KD.
METHODS = [*PAPER, *FAMILY, *(f"kd+{name}" for name in FAMILY if name != "teachers")]
EVERY = ["none", *LOSSES]  # for --losses all
QUICK = ["none", *CORE, "kd+gcrd"]

# The paper's temperature of G-CRD is 0.075.
TEMPERATURES = {"kd": (1.0, 2.0, 4.0), "gcrd": (0.075, 0.5, 1.0)}
TRIALS = 12


def trials(method: str) -> list[Setting]:
    """As many candidates for each method: weights, or fewer weights at each temperature."""
    name = method.removeprefix("kd+")
    temperatures = TEMPERATURES.get(name, (None,))
    weights = np.geomspace(*RANGES[name], TRIALS // len(temperatures))
    return [Setting(float(f"{w:.2g}"), t) for t in temperatures for w in weights]


# The settings for the digits, chosen on validation nodes. `quickstart.py --full --tune` chose those
# of the paper's six, alone and beside KD, on three seeds. The others' weights are one of four, a
# decade apart, on one seed. Some lie at an edge of their grid, as do temperatures of KD and G-CRD.
# "kd+lsp" is the weight of LSP beside KD; KD keeps the settings that it has alone. A pair is
# (weight, temperature).
_CHOSEN: dict[str, dict[str, Any]] = {
    "MLP": {
        "kd": (10.0, 1.0), "fitnet": 19000.0, "at": 8100.0, "lsp": 350.0, "glsp": 150.0,
        "gcrd": (10.0, 1.0), "kd+fitnet": 1500.0, "kd+at": 8100.0, "kd+lsp": 350.0,
        "kd+glsp": 150.0, "kd+gcrd": (100.0, 1.0),
        "kd_std": 100.0, "dkd": 10.0, "dist": 100.0, "vid": 10000.0, "nst": 100.0, "ab": 0.1,
        "ft": 100.0, "fsp": 100.0, "simkd": 100.0, "sp": 100000.0, "rkd": 100.0, "pkt": 1000.0,
        "cc": 10000.0, "cka": 10.0, "crd": 10.0, "ff_g2m": 10.0, "krd": 100.0, "gkd": 10.0,
        "nosmog": 0.01, "llp": 10000.0, "vqgraph": 100.0, "mugsi": 1.0, "tined": 0.01,
        "layers": 100.0, "teachers": 1.0,
    },
    "GCN": {
        "kd": (100.0, 2.0), "fitnet": 8100.0, "at": 660.0, "lsp": 2.3, "glsp": 1900.0,
        "gcrd": (100.0, 0.5), "kd+fitnet": 280.0, "kd+at": 10.0, "kd+lsp": 2.3, "kd+glsp": 12.0,
        "kd+gcrd": (100.0, 1.0),
        "kd_std": 1.0, "dkd": 0.1, "dist": 10.0, "vid": 1000.0, "nst": 1000.0, "ab": 0.01,
        "ft": 1.0, "fsp": 100.0, "simkd": 10.0, "sp": 10000.0, "rkd": 1.0, "pkt": 10000.0,
        "cc": 10000.0, "cka": 1.0, "crd": 0.1, "ff_g2m": 100.0, "krd": 1.0, "gkd": 10.0,
        "nosmog": 0.01, "llp": 10.0, "vqgraph": 10.0, "mugsi": 0.01, "tined": 0.1, "layers": 100.0,
        "teachers": 10.0,
    },
}  # fmt: skip
SETTINGS = {
    student: {name: Setting(*(v if isinstance(v, tuple) else (v,))) for name, v in chosen.items()}
    for student, chosen in _CHOSEN.items()
}
