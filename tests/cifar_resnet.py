"""The CIFAR ResNets of He et al. (2016, section 4.2), as a user would bring them.

    nettailor adapt --backbone cifar_resnet:resnet20 --weights FILE

Three stages of 16, 32 and 64 channels. A shortcut has no parameters: where a block halves the resolution, it takes every
second pixel and pads the new channels with zeros.
"""

from torch import Tensor, nn
from torch.nn.functional import pad, relu

PICTURES = {  # timm's way of saying which pictures a model reads; nettailor goes by it
    "input_size": (3, 32, 32),
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "interpolation": "bilinear",
    "crop_pct": 1.0,
}


class Block(nn.Module):
    def __init__(self, wide_in: int, wide: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(wide_in, wide, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(wide)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(wide)
        self.stride, self.extra = stride, wide - wide_in

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        return relu(y + pad(shortcut, (0, 0, 0, 0, self.extra // 2, self.extra // 2)))


class CifarResNet(nn.Module):
    def __init__(self, depth: int, num_classes: int = 10) -> None:
        super().__init__()
        self.pretrained_cfg = PICTURES
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(blocks)))
        self.layer2 = nn.Sequential(Block(16, 32, 2), *(Block(32, 32, 1) for _ in range(blocks - 1)))
        self.layer3 = nn.Sequential(Block(32, 64, 2), *(Block(64, 64, 1) for _ in range(blocks - 1)))
        self.linear = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


def resnet20() -> CifarResNet:
    return CifarResNet(20)


def resnet56() -> CifarResNet:
    return CifarResNet(56)
