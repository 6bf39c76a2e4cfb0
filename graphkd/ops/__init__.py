"""The hot primitives, and which backend runs each.

A primitive carries a loss whose obvious form is quadratic in memory, or holds all edges at once.
``primitives.py`` has one function for each; losses call these. A function names its backends and
lets ``backends.py`` choose:

- ``reference/``: the obvious form, dense, the law for the others,
- ``chunked/``: plain torch with linear memory,
- ``triton/``: programs for GPUs,
- ``scatter``: sums over edges by torch_scatter.

``ring/`` has those that several ranks compute together. All take rows as they are, and normalise
them themselves where the formula says so.
"""
