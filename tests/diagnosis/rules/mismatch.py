"""What the tests of `output_mismatch` share: outputs, targets, and what is said of them."""

from fastact.diagnosis.diagnoser import Diagnoser
from fastact.diagnosis.finding import Finding

CLASSES = {"shape": [32], "dtype": "int64", "whole": True, "distinct": [0.0, 1.0, 2.0], "rows": {"max": 2.0}}
ONE_HOT = {"shape": [32, 3], "whole": True, "distinct": [0.0, 1.0], "sums_to_one": True, "one_hot": True,
           "rows": {"mean": 1 / 3}}  # fmt: skip
BINARY = {"shape": [32, 1], "whole": True, "distinct": [0.0, 1.0]}
ROWS = {"std": 1.0, "mean": 0.0, "abs_mean": 0.8, "min": -2.5, "max": 2.5}
VALUES = {"shape": [32, 1], "whole": False, "rows": ROWS}
PIXELS = {"shape": [32, 64], "whole": False, "rows": {"mean": 0.3, "min": 0.0, "max": 1.0}}
SOFTMAX = ("Softmax", {"min": 0.05, "max": 0.9, "mean": 1 / 3, "std": 0.1})
ONE = ("Softmax", {"min": 1.0, "max": 1.0, "mean": 1.0, "std": 0.0, "within_std": 0.0})
OF_3, OF_1, OF_64 = {"shape": [32, 3]}, {"shape": [32, 1]}, {"shape": [32, 64]}
SUMS = {**OF_3, "sums_to_one": True}


def found(diagnoser: Diagnoser) -> list[Finding]:
    return [finding for finding in diagnoser.diagnose().findings if finding.condition == "output_mismatch"]


def said(diagnoser: Diagnoser) -> list[tuple[str, str]]:
    return [(finding.cause_name, finding.severity) for finding in found(diagnoser)]
