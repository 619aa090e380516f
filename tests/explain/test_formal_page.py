"""The documentation pages: every formula is a function that holds its shapes and has a test of its own."""

import ast
import dataclasses
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from variorum.core.errors import VariorumError
from variorum.explain.formal.formula import Formula
from variorum.explain.formal.gradient import arrays
from variorum.explain.formal.page import PAPERS, formulas, page
from variorum.explain.formal.samples import Sampler, arguments

PREFIX = {"formal-algorithms-transformers": "", "turner-introduction": "turner-"}
TRAINING = {"algorithm-11", "algorithm-12", "algorithm-13"}


def ids_on(name):
    return re.findall(r'<a id="([^"]+)"></a>', page(name))


ALL = [(name, id) for name in PAPERS for id in ids_on(name)]


@pytest.mark.row("formal-algorithms-transformers", 3)
def test_the_pages_number_1_to_15_one_to_one():
    """The documentation's numbers 1 to 15 and the functions map one to one."""
    assert ids_on("formal-algorithms-transformers") == [f"algorithm-{number}" for number in range(1, 16)]
    found = formulas("formal-algorithms-transformers")
    assert len({formula.function for formula in found.values()}) == 15


def test_the_numbers_are_those_of_the_paper():
    named = {
        1: "token_embedding", 2: "positional_embedding", 3: "single_query_attention", 4: "attention", 5: "mh_attention",
        6: "layer_norm", 7: "unembedding", 8: "ed_transformer", 9: "e_transformer", 10: "d_transformer",
        11: "ed_training", 12: "e_training", 13: "d_training", 14: "d_inference", 15: "ed_inference",
    }  # fmt: skip
    found = formulas("formal-algorithms-transformers")
    assert {number: found[f"algorithm-{number}"].__name__ for number in named} == named


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("name", "id"), ALL)
@pytest.mark.row("formal-algorithms-transformers", 3)
def test_declared_shapes_hold_for_random_hyper_parameters(name, id, seed):
    """Each algorithm's declared shapes hold at run time for random hyper-parameters."""
    """Every call holds arguments and result to the declaration; here the result is held to the sizes drawn, too."""
    formula = formulas(name)[id]
    rng = np.random.default_rng(seed)
    long = {"l_max": int(rng.integers(10, 14)), "N_max": int(rng.integers(6, 9))}
    small = {size: int(rng.integers(1, 3)) for size in ("H", "L", "L_enc", "L_dec", "M")}
    few = {size: 2 for size in ("d_mlp", "d_attn", "d_mid", "N_data", "N_epochs")} if id in TRAINING else {}
    few |= {size: 1 for size in ("H", "L", "L_enc", "L_dec")} if id in TRAINING else {}
    sampler = Sampler(rng, sizes=long | small | few)
    given = arguments(formula, sampler=sampler)
    first, *rest = given
    result = formula(given[first], **{argument: given[argument] for argument in rest})
    for path, array in leaves("result", result):
        assert np.isfinite(array).all(), path
    if isinstance(result, np.ndarray):
        named = {dim: size for dim, size in zip(formula.gives.dims, result.shape, strict=True) if dim != "_"}
        assert named == {dim: sampler.size(dim) for dim in named}


def leaves(path, value):
    """The arrays in a result: itself, those of a record, or those of a tuple of results."""
    if isinstance(value, tuple):
        for place, item in enumerate(value):
            yield from leaves(f"{path}[{place}]", item)
    else:
        assert isinstance(value, np.ndarray) or dataclasses.is_dataclass(value)
        yield from ((path, array) for array in arrays(value))


@pytest.mark.row("turner-introduction", 3)
def test_every_formula_has_an_oracle_test_that_names_it():
    """Every formula of the page is a function with a passing check of its own."""
    """A test is named after the id that it checks: test_algorithm_5_..., test_turner_mlp_..."""
    tests = [
        node.name
        for file in Path(__file__).parent.glob("test_formal_*.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    ]
    for name, id in ALL:
        start = f"test_{PREFIX[name]}{id}".replace("-", "_") + "_"
        assert [test for test in tests if test.startswith(start)], f"no test named {start}..."


@pytest.mark.parametrize(("name", "id"), ALL)
def test_a_section_shows_the_equation_the_shapes_and_the_source(name, id):
    formula = formulas(name)[id]
    text = page(name)
    section = re.split("<a id=|## Helpers", text.split(f'<a id="{id}"></a>')[1])[0]
    assert section.strip().startswith(f"## {formula.title}")
    assert f"def {formula.__name__}(" in section
    assert formula.__doc__.splitlines()[0] in section
    assert section.count('"""') == 0
    for argument, shape in formula.takes.items():
        if type(shape).__name__ in ("Entries", "Number"):
            assert f"| `{argument}` | `{shape}` |" in section
    [source] = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    ast.parse(source)


def test_a_record_is_shown_in_the_sizes_of_its_user():
    text = page("formal-algorithms-transformers")
    section = text.split('<a id="algorithm-10"></a>')[1].split("<a id=")[0]
    assert "| `theta.layers[1..L].W.W_qkv[1..H].W_v` | `R^(d_mid × d_e)` |" in section
    assert "| `theta.layers[1..L].W.W_o` | `R^(d_e × H·d_mid)` |" in section
    assert "| `x` | `[N_V]^(l)` |" in section
    assert "| `result` | `R^(N_V × l)` |" in section


def test_the_contents_link_to_every_section():
    for name in PAPERS:
        assert re.findall(r"\]\(#([^)]+)\)", page(name)) == ids_on(name)


def test_an_unknown_paper_is_refused():
    with pytest.raises(VariorumError, match="turner-introduction"):
        page("turner-introductoin")


def test_the_sources_call_nothing_that_the_page_does_not_show():
    for name, (_, modules) in PAPERS.items():
        sources = "\n".join(re.findall(r"```python\n(.*?)```", page(name), flags=re.DOTALL))
        shown = set(re.findall(r"^def (\w+)\(", sources, flags=re.MULTILINE))
        calls = (node.func for node in ast.walk(ast.parse(sources)) if isinstance(node, ast.Call))
        called = {function.id for function in calls if isinstance(function, ast.Name)}
        ours = {
            key
            for module in modules
            for key, value in vars(module).items()
            if isinstance(value, Formula) or (inspect.isfunction(value) and value.__module__ == module.__name__)
        }
        assert called & ours
        assert called & ours <= shown
        assert ":class:" not in page(name).split("## Helpers")[0]
