# The public names of this package: what editors and type checkers see, and what Python loads when they are used.

from .agreement.consensus import majority as majority, readers_against_others as readers_against_others
from .agreement.dawid_skene import dawid_skene as dawid_skene, dawid_skene_categories as dawid_skene_categories
from .agreement.kappa import cohen_kappa as cohen_kappa, fleiss_kappa as fleiss_kappa
from .agreement.krippendorff import krippendorff_alpha as krippendorff_alpha
from .calibration.calibration import measure_calibration as measure_calibration
from .calibration.prior_shift import (
    estimate_prevalence as estimate_prevalence,
    shift_probabilities as shift_probabilities,
)
from .calibration.recalibration import (
    Recalibration as Recalibration,
    fit_recalibration as fit_recalibration,
    load_recalibrations as load_recalibrations,
    save_recalibrations as save_recalibrations,
)
from .clinical_use.abstention import choose_band as choose_band
from .clinical_use.decision_curve import decision_curve as decision_curve, net_benefit as net_benefit
from .clinical_use.deployment import deployment as deployment, deployment_from_outcomes as deployment_from_outcomes
from .clinical_use.triage import simulate_triage as simulate_triage, triage_effect as triage_effect
from .comparison.compare import compare as compare, compare_all as compare_all, comparison_table as comparison_table
from .comparison.pooling import PooledSites as PooledSites, pool_scores as pool_scores, pool_sites as pool_sites
from .comparison.published import (
    PublishedResult as PublishedResult,
    compare_all_published as compare_all_published,
    compare_published as compare_published,
    published_table as published_table,
)
from .comparison.unpaired import compare_unpaired as compare_unpaired
from .cross_validation.compare_folds import compare_folds as compare_folds
from .cross_validation.evaluate_folds import evaluate_folds as evaluate_folds
from .cross_validation.fold_scores import read_out_of_fold as read_out_of_fold
from .evaluate import evaluate as evaluate
from .label_errors.confident_learning import (
    Suspects as Suspects,
    find_suspects as find_suspects,
)
from .metrics import (
    average_precision as average_precision,
    confusion as confusion,
    precision_recall_curve as precision_recall_curve,
    roc_curve as roc_curve,
)
from .rates import rates as rates, rates_from_counts as rates_from_counts
from .readers.froc import froc as froc
from .readers.lesion_marks import marks_from_peaks as marks_from_peaks, match_marks as match_marks
from .readers.localization import afroc as afroc, afroc_curve as afroc_curve, afroc_figures as afroc_figures
from .readers.localization_study import LocalizationStudy as LocalizationStudy
from .readers.figures_of_merit import figures_of_merit as figures_of_merit
from .readers.mrmc import mrmc as mrmc, mrmc_all as mrmc_all, mrmc_localization as mrmc_localization
from .readers.reader_f1 import model_against_readers as model_against_readers
from .readers.reader_study import ReaderStudy as ReaderStudy, read_reader_study as read_reader_study
from .readers.roe_metz import (
    RatingModel as RatingModel,
    simulate_reader_study_power as simulate_reader_study_power,
    simulate_reader_study as simulate_reader_study,
)
from .reference_standard.imperfect import (
    ReferenceCorrected as ReferenceCorrected,
    correct_reference_error as correct_reference_error,
)
from .reference_standard.label_quality import judge_by_readers as judge_by_readers, label_quality as label_quality
from .reference_standard.latent import LatentTruth as LatentTruth, latent_truth as latent_truth
from .reference_standard.prevalence import true_prevalence as true_prevalence
from .reference_standard.readings import Readings as Readings, ReadingsSource as ReadingsSource
from .reference_standard.verification import (
    VerificationCorrected as VerificationCorrected,
    correct_verification_bias as correct_verification_bias,
)
from .robustness import perturbation_effects as perturbation_effects
from .sample_size.assumed_components import (
    conjectured_components as conjectured_components,
    roe_metz_components as roe_metz_components,
)
from .sample_size.auroc import (
    auc_standard_error as auc_standard_error,
    power_auc_difference as power_auc_difference,
    power_auc_lower_bound as power_auc_lower_bound,
    sample_size_auc as sample_size_auc,
    sample_size_auc_difference as sample_size_auc_difference,
    sample_size_auc_lower_bound as sample_size_auc_lower_bound,
)
from .sample_size.rate_difference import (
    power_paired_rates as power_paired_rates,
    power_unpaired_rates as power_unpaired_rates,
    sample_size_paired_rates as sample_size_paired_rates,
    sample_size_unpaired_rates as sample_size_unpaired_rates,
)
from .sample_size.rates import (
    design_effect as design_effect,
    power_lower_bound as power_lower_bound,
    sample_size_lower_bound as sample_size_lower_bound,
    sample_size_proportion as sample_size_proportion,
)
from .sample_size.reader_study import (
    power_reader_lower_bound as power_reader_lower_bound,
    power_reader_study as power_reader_study,
    sample_size_reader_lower_bound as sample_size_reader_lower_bound,
    sample_size_reader_study as sample_size_reader_study,
)
from .sampling_weights import (
    WeightedEvaluation as WeightedEvaluation,
    population_weights as population_weights,
    weighted_evaluation as weighted_evaluation,
)
from .scores import (
    Scores as Scores,
    read_scores as read_scores,
    scores_fingerprint as scores_fingerprint,
    write_scores as write_scores,
)
from .fixed_rate import (
    sensitivity_at_specificity as sensitivity_at_specificity,
    specificity_at_sensitivity as specificity_at_sensitivity,
)
from .group_columns import age_bands as age_bands
from .operating_region import compare_partial_auc as compare_partial_auc, partial_auc as partial_auc
from .subgroup_gaps import (
    equalized_odds_gap as equalized_odds_gap,
    subgroup_gaps as subgroup_gaps,
    subgroups_non_inferior as subgroups_non_inferior,
)
from .subgroups import subgroup_analyses as subgroup_analyses, subgroup_table as subgroup_table
from .thresholds import (
    RULES as RULES,
    choose_threshold as choose_threshold,
    choose_thresholds as choose_thresholds,
    positives_needed as positives_needed,
)
from .uncertainty.bootstrap import bootstrap_interval as bootstrap_interval
from .uncertainty.intervals import (
    auc_interval as auc_interval,
    average_precision_interval as average_precision_interval,
    clustered_proportion_interval as clustered_proportion_interval,
    macro_auc_interval as macro_auc_interval,
    mean_interval as mean_interval,
    proportion_interval as proportion_interval,
)
