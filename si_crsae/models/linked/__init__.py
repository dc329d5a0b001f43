"""Linked dictionaries: several views of one sparse code.

`model` has the dictionaries that share a code and the rule by which they learn, `dictionaries` their scikit-learn-like
face, `views` how each view is made. `ordinal` has neurons that belong to classes.
"""

from si_crsae.models.linked.dictionaries import LinkedDictionaries
from si_crsae.models.linked.model import HebbianTraining, LinkedFitting, LinkedModel, ViewLayout
from si_crsae.models.linked.ordinal import block_purity, class_blocks, strongest_block
from si_crsae.models.linked.views import View

__all__ = [
    "HebbianTraining",
    "LinkedDictionaries",
    "LinkedFitting",
    "LinkedModel",
    "View",
    "ViewLayout",
    "block_purity",
    "class_blocks",
    "strongest_block",
]
