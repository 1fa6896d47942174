# The public names of this package: what editors and type checkers see, and what Python loads when they are used.

from . import presets as presets
from .overrides import with_settings as with_settings
from .presets import preset as preset
from .protocol import (
    SplitPlan as SplitPlan,
    own_split as own_split,
    reading_cautions as reading_cautions,
    source_reading as source_reading,
    source_split as source_split,
    split_for as split_for,
    split_like_source as split_like_source,
)
from .recipe import Loss as Loss, Recipe as Recipe, Stage as Stage, ThresholdRule as ThresholdRule
