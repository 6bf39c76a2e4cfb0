"""Every loss again, the obvious way: loops, float64, nothing shared with the package.

The oracles are differentiable, so that the tests compare gradients as well as values. Each is in a
file of its loss's name.
"""
