# The public names of this package: what editors and type checkers see, and what Python loads when they are used.

from . import presets as presets
from .overrides import with_settings as with_settings
from .presets import preset as preset
from .recipe import Loss as Loss, Recipe as Recipe, Stage as Stage, ThresholdRule as ThresholdRule
