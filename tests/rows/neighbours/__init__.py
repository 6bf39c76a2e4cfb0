"""The contract rows of the losses along edges."""
