"""What ails a run of distillation: the Doctor, and its checks, one subject a file.

``doctor`` calls the objective and the checks. What they see of it is a ``call``, gathered by
``watch``. ``modules``, ``rows``, ``matching``, ``labels``, ``kernels``, ``values`` and
``gradients`` (with ``pulls``) hold the checks, ``windows`` their averages, ``finding`` and
``report`` their words.
"""

from graphkd.diagnostics.doctor.doctor import Doctor
from graphkd.diagnostics.doctor.finding import Finding

Doctor.__module__ = "graphkd.diagnostics"

__all__ = ["Doctor", "Finding"]
