"""Settings of the backbone: which pretrained network, and which pictures it reads."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from nettailor.schema import STRICT, Channels, Interpolation, PositiveChannels


@dataclass(config=STRICT, frozen=True)
class BackboneConfig:
    """Which pretrained network."""

    name: Annotated[
        str,
        Field(
            description="resnet34_tiny, efficientnet_lite0, timm/NAME, torchvision/NAME or package.module:callable; "
            ",argument=value"
        ),
    ] = "resnet34_tiny"
    weights: Annotated[
        str | None, Field(description="a local file with its weights, or a member of torchvision's weights enum")
    ] = None
    input_size: Annotated[
        int | None, Field(ge=8, description="side of the input in pixels; the backbone's own if left out")
    ] = None
    mean: Annotated[Channels | None, Field(description="of each channel; the backbone's own if left out")] = None
    std: Annotated[PositiveChannels | None, Field(description="of each channel; the backbone's own if left out")] = None
    interpolation: Annotated[
        Interpolation | None,
        Field(description="how pictures are resized; the backbone's own if left out"),
    ] = None
    crop: Annotated[
        float | None,
        Field(gt=0, le=1, description="part of the shorter side that is kept; the backbone's own if left out"),
    ] = None
