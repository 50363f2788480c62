"""Catalogues keep collections of items and find neighbours in them."""

from __future__ import annotations

from soundalike.catalogue.base import Catalogue
from soundalike.catalogue.local import LocalCatalogue
from soundalike.catalogue.told import Answer, CollectionInfo

__all__ = ["Answer", "Catalogue", "CollectionInfo", "LocalCatalogue"]
