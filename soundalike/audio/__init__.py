"""From bytes to clips, from clips to windows, from windows to spectra."""
