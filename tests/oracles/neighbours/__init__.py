"""The oracles of the losses along edges."""
