"""The hot primitives, and which backend runs each.

A primitive carries a loss whose obvious form is quadratic in memory, or holds all edges at once.
``primitives.py``, and ``contrast_primitives.py`` for the contrastive losses, have one function for
each primitive; losses call these functions. A function names its backends, and ``backends.py``
chooses among them:

- ``reference/``: the obvious form, dense, which all others must match,
- ``chunked/``: plain torch with linear memory,
- ``triton/``: programs for GPUs,
- ``scatter``: sums over edges by torch_scatter.

``ring/`` has the primitives that several ranks compute together. Every primitive takes rows as they
are, and normalises them itself if its formula says so.
"""
