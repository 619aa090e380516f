"""Models small enough that an estimator is trained in a moment."""

from typing import Any

from variorum.core import Spec, find_entry
from variorum.layers.heads.regressor import Regressor

CLASSIFIER: Spec[Any] = find_entry("turner-introduction").fit("table", dim=16, depth=1, heads=2)
REGRESSOR: Spec[Any] = CLASSIFIER.but(head=Regressor.spec(pool=CLASSIFIER["head"]["pool"]))
