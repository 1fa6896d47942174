# The public names of this package: what editors and type checkers see, and what Python loads when they are used.

from .backbones import register_backbone as register_backbone
from .classifier import build_classifier as build_classifier
from .losses import (
    AsymmetricLoss as AsymmetricLoss,
    AucMarginLoss as AucMarginLoss,
    FocalLoss as FocalLoss,
    ThreeWayCrossentropy as ThreeWayCrossentropy,
    WeightedBinaryCrossentropy as WeightedBinaryCrossentropy,
    register_loss as register_loss,
)
from .partition import partition as partition
from .registry import Parameter as Parameter, number as number
from .scoring import predict_scores as predict_scores
from .stages import adapt_batchnorm as adapt_batchnorm, apply_stage as apply_stage
