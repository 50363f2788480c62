"""Sounds of our own making: families of synthesised sound, numpy and scipy alone."""
