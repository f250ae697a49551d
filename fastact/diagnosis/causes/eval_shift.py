"""Why a layer puts out something else in evaluation than in training: the causes of `rules.EvalShift`."""

from typing import Final

from fastact.diagnosis.causes.cause import Cause

STATISTICS: Final = Cause(
    "running_statistics",
    "Its running mean and variance, which it uses in evaluation, are not those of the batches.",
    (
        "raise the momentum of the normalisation (PyTorch's default is 0.1), or train for more steps before evaluating",
        "recompute the running statistics by a pass over the training data in training mode",
        "use layer or group normalisation, which does the same in both modes",
    ),
    ("its input is of the same scale in both modes",),
)
LEFT: Final = Cause(
    "left_in_evaluation",
    "The model was not put back into training mode after an evaluation: dropout is off since then, and batch "
    "normalisation uses its running statistics and updates them no more.",
    ("call train() on the model after each evaluation, before the next training step",),
    proved=True,
)
LEFT_ON: Final = Cause(
    "dropout_left_on",
    "Dropout is on in evaluation too, so that answers are noisy, and worse than the model can give.",
    (
        "call `F.dropout` with training=self.training, which is True by default, or use a module of it",
        "call eval() on the whole model before it is evaluated, and train() on no part of it",
    ),
    ("it puts out zeros that it was not given",),
    proved=True,
)
UNSEEN: Final = Cause(
    "mode_dependence",
    "It computes something else in evaluation than in training, from the same input.",
    ("look for what depends on the mode here: a normalisation, a scale, a branch on `self.training`",),
)


def data(because: str) -> Cause:
    """Other data in evaluation than in training; `because` says how it shows."""
    return Cause(
        "data_changed",
        "The data of the evaluation is on another scale than that of the training, or is preprocessed in another way.",
        ("preprocess the data of the evaluation as that of the training",),
        (because,),
    )
