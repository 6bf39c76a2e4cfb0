"""The rows of the contract table: each file here adds those in its ``LOSSES``."""
