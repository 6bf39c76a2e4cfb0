"""The rows of the contract table: each file of a family here holds one, its ``LOSS``."""
