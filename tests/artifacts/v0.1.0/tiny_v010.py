"""The small network over which the run in this folder was made: six basic blocks over four resolutions."""

from timm.models.resnet import BasicBlock, ResNet


def tiny_resnet(num_classes=7):
    return ResNet(
        BasicBlock,
        layers=(2, 2, 1, 1),
        num_classes=num_classes,
        channels=(8, 8, 16, 16),
        stem_type="deep",
        stem_width=4,
    )
