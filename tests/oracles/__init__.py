"""Every loss again, the obvious way: loops, float64, nothing shared with the package.

They are differentiable, so that the tests compare gradients as well as values. Each stands in a
file of its loss's name.
"""
