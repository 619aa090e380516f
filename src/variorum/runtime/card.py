"""The README of a bundle: a model card with a YAML head, written from what the bundle knows."""

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import variorum
from variorum.data.readers.reader import readers

if TYPE_CHECKING:
    from variorum.runtime.bundle import Bundle


def model_card(bundle: "Bundle", tensors: Mapping[str, list[Any]]) -> str:
    """Markdown. tensors: name -> [dtype, shape] of the stored weights."""
    parameters = sum(math.prod(shape) for _, shape in tensors.values())
    reader = readers().get(bundle.kind)
    head = {
        "library_name": "variorum",
        "pipeline_tag": reader.tag if reader else bundle.kind,
        "tags": ["variorum", bundle.kind, bundle.spec.part],
    }
    # A JSON value is a YAML value, and needs no care for special characters.
    yaml = "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in head.items())
    title = str(bundle.provenance.get("system", bundle.spec.part))
    labels = (
        f"\nClasses: {', '.join(map(str, bundle.labels[:50]))}{', ...' if len(bundle.labels) > 50 else ''}.\n"
        if bundle.labels
        else ""
    )
    facts = "".join(f"| {key} | {_cell(value)} |\n" for key, value in bundle.provenance.items())
    return f"""---
{yaml}---

# {title}

A model for {bundle.kind} with {parameters:,} stored numbers, made with Variorum {variorum.__version__}.
{labels}
```python
import variorum

bundle = variorum.load("this-folder")
bundle.predict(rows)
```
{"" if not facts else f"{chr(10)}## Where it comes from{chr(10)}{chr(10)}| | |{chr(10)}|---|---|{chr(10)}{facts}"}
## What it is built from

```json
{bundle.spec.to_json(indent=1)}
```
"""


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.replace("|", "\\|").replace("\n", " ")
