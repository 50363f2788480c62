"""REST services over the soundalike library."""
