"""Collections of sound: formats of others, and a library of our own making."""
