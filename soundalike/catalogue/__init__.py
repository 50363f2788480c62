"""Catalogues keep collections of items and find neighbours in them."""

from __future__ import annotations

from soundalike.catalogue.base import Answer, Catalogue, CollectionInfo
from soundalike.catalogue.local import LocalCatalogue

__all__ = ["Answer", "Catalogue", "CollectionInfo", "LocalCatalogue"]
