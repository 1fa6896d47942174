# The public names of this package: what editors and type checkers see, and what Python loads when they are used.

from .engines import Engine as Engine, load_engine as load_engine
from .ensemble import Ensemble as Ensemble, average_scores as average_scores
from .external import evaluate_external as evaluate_external
from .novelty import find_unlike as find_unlike, measure_novelty as measure_novelty
from .predictor import Predictor as Predictor
from .results_file import (
    FORMATS as FORMATS,
    ResultsFormat as ResultsFormat,
    read_results as read_results,
    write_results as write_results,
)
from .robustness import measure_robustness as measure_robustness
from .score_folder import score_folder as score_folder
from .shortcuts import measure_shortcuts as measure_shortcuts
from .test_time_augmentation import TestTimeAugmentation as TestTimeAugmentation, predict_augmented as predict_augmented
