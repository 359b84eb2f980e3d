"""What kind of layer a module is: convolution, norm or activation, whichever library it comes from."""

from __future__ import annotations

from typing import TypeGuard

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.conv import _ConvNd

CONVOLUTION = _ConvNd
NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
ACTIVATIONS = {
    *("celu", "elu", "gelu", "gelutanh", "hardsigmoid", "hardswish", "hardtanh", "leakyrelu", "mish", "quickgelu"),
    *("relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softsign", "swish", "tanh"),
}


def is_norm(module: nn.Module) -> bool:
    """A normalisation layer: one of torch's, or one that calls itself so, has tensors of its own and holds no weights.

    The name decides for the classes that derive from none of torch's (`RmsNorm2d`, `FilterResponseNormAct2d`,
    `EvoNorm2dS0`, `FrozenBatchNorm2d`, `InplaceAbn`); what normalises and convolves (`ConvNorm`, `NormFreeBlock`) is none.
    """
    if isinstance(module, NORMS):
        return True
    name = type(module).__name__.lower()
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    return bool(own) and ("norm" in name or name.endswith("abn")) and not _weighs(module)


def is_activation(module: nn.Module) -> bool:
    """An elementwise activation without parameters."""
    return is_activation_name(type(module).__name__) and not any(True for _ in module.parameters())


def is_activation_name(name: str) -> bool:
    """Whether a class or function of this name is an elementwise activation: `ReLU`, `hard_swish`, `relu_`."""
    return name.lower().rstrip("_").replace("_", "") in ACTIVATIONS


def convolves(module: nn.Module) -> bool:
    """Whether a module is or holds a convolution."""
    return any(isinstance(part, CONVOLUTION) for part in module.modules())


def mixes_channels(module: nn.Module) -> bool:
    """Whether a module holds a convolution, and a convolution or linear layer in which channels meet: not depthwise alone."""
    convolutions = [part for part in module.modules() if isinstance(part, CONVOLUTION)]
    dense = any(part.groups == 1 or part.groups < part.in_channels for part in convolutions)
    return dense or (bool(convolutions) and any(isinstance(part, nn.Linear) for part in module.modules()))


def is_plain_convolution(module: nn.Module | None) -> TypeGuard[nn.Conv2d]:
    """A two-dimensional convolution that applies its kernel as it stands: what standardises it first is none."""
    return isinstance(module, nn.Conv2d) and (
        type(module).forward is nn.Conv2d.forward or type(module).__name__ == "Conv2dSame"
    )


def is_plain_batch_norm(module: nn.Module | None) -> TypeGuard[_BatchNorm]:
    """A batch norm with running statistics, torch's own or timm's, which applies an activation behind it."""
    named = type(module).__name__ in ("BatchNorm2d", "SyncBatchNorm", "BatchNormAct2d")
    return named and isinstance(module, _BatchNorm) and module.running_mean is not None


def _weighs(module: nn.Module) -> bool:
    return any(isinstance(part, (CONVOLUTION, nn.Linear)) for part in module.modules())
