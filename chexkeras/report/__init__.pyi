# The public names of this package: what editors and type checkers see, and what Python loads when they are used.

from .answers import load_answers as load_answers, write_answers_template as write_answers_template
from .experiments import write_cross_validation as write_cross_validation, write_sweep as write_sweep
from .facts.collect import collect_facts as collect_facts
from .facts.software import bill_of_materials as bill_of_materials
from .goals import PerformanceGoals as PerformanceGoals
from .html import write_html as write_html
from .lint.check import check_report as check_report, check_text as check_text
from .model_card import write_model_card as write_model_card
from .submission import open_fields as open_fields, show_report as show_report, write_report as write_report
from .word import write_docx as write_docx
from .suspects_page import write_suspects as write_suspects
