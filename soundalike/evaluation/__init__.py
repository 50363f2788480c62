"""How good neighbours are, measured."""
