"""How `mini` was made.

Pairs of synthesised sounds that belong together, and a network that learns which ones do.
"""
