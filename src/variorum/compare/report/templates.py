"""Pages of the templates that stand beside this file: each extends ``base.html`` and is one file in the end."""

from functools import cache
from importlib.resources import files
from typing import Any

import variorum


def page(template: str, **shown: Any) -> str:
    """The page of a template and of what it shows. Everything is escaped that is no ``Markup``."""
    from markupsafe import Markup

    style = Markup(beside("report.css"))
    return str(_templates().get_template(template).render(style=style, version=variorum.__version__, **shown))


def beside(name: str) -> str:
    """A file that stands beside this one."""
    return (files("variorum.compare.report") / name).read_text("utf-8")


@cache
def _templates() -> Any:
    from jinja2 import Environment, FunctionLoader

    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(beside))
