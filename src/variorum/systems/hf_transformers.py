"""HuggingFace's Transformers. Wolf et al. 2019, arXiv:1910.03771.

A model, its tokenizer and its configuration are one folder. Here such a folder is read as a Spec built from parts that
every other system uses too, so that a published checkpoint can be taken apart, compared, compressed and explained like
any model; and written back in the same layout.
"""

from pathlib import Path

from variorum.core import entry
from variorum.runtime.huggingface.folder import Loaded, load_folder


@entry("hf-transformers")
def from_folder(folder: str | Path) -> Loaded:
    """The model, tokenizer and configuration of a folder that ``save_pretrained`` wrote; nothing is downloaded.

    >>> loaded = from_folder("all-MiniLM-L6-v2")
    >>> ids, layout = loaded.tokenizer.pack(["A first sentence.", "And another, longer one."])
    >>> tokens, _ = loaded.model.hidden(ids, layout)
    """
    return load_folder(folder)
