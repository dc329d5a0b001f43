"""Units of two sortings of the same tissue, linked."""

from si_crsae.sorting.linking.sortings import LinkedSortings, LinkingSettings, link_sortings

__all__ = ["LinkedSortings", "LinkingSettings", "link_sortings"]
