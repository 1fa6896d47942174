# The public names of this package: what editors and type checkers see, and what Python loads when they are used.

from .boxes import compare_with_boxes as compare_with_boxes, localization_study as localization_study
from .explain import WHAT_IT_IS_NOT as WHAT_IT_IS_NOT, Explainer as Explainer, explain as explain
from .heatmaps import Heatmaps as Heatmaps
from .methods import METHODS as METHODS, MapMethod as MapMethod
from .network import MapNetwork as MapNetwork, spatial_layers as spatial_layers
from .of_files import (
    DrawableMaps as DrawableMaps,
    ExplainedFile as ExplainedFile,
    drawable_maps as drawable_maps,
    explain_files as explain_files,
)
from .sanity_checks import check_maps as check_maps
from .study import StudiedMaps as StudiedMaps, study_heatmaps as study_heatmaps
