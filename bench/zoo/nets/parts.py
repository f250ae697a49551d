"""What networks of the zoo share: activations, normalisations and initialisations by name."""

from torch import nn

__all__ = ["activation", "he", "normalisation", "xavier"]


def activation(name: str) -> nn.Module:
    """An activation by the name of its class in `torch.nn`."""
    module: nn.Module = getattr(nn, name)()
    return module


def normalisation(name: str, width: int) -> nn.Module:
    """A normalisation of (samples, width)."""
    return nn.BatchNorm1d(width) if name == "batch" else nn.LayerNorm(width)


def he(model: nn.Module) -> None:
    """He's initialisation for all weights of linear layers and convolutions, biases zero."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def xavier(model: nn.Module) -> None:
    """Xavier's initialisation for all weights of linear layers, biases zero."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
