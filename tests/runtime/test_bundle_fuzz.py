"""Whatever is done to a bundle's files: a VariorumError or the same bundle; no other exception, no other content."""

import json
import os
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samples.bundles import bundle
from variorum.core import VariorumError
from variorum.runtime import bundle as module
from variorum.runtime.bundle import load, save

FILES = ("bundle.json", "weights.safetensors", "README.md")
SEALED = int(os.environ.get("VARIORUM_FUZZ", "60"))
many = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return save(bundle("linear"), tmp_path_factory.mktemp("whole") / "b")


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "b")


def refuses(folder):
    with pytest.raises(VariorumError) as caught:
        load(folder)
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("name", FILES)
@many
@given(data=st.data())
def test_flipped_bytes(name, folder, whole, data):
    raw = bytearray((whole / name).read_bytes())
    places = data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=4, unique=True))
    for place in places:
        raw[place] ^= data.draw(st.integers(1, 255))
    (folder / name).write_bytes(raw)
    refuses(folder)
    shutil.copy(whole / name, folder / name)


@pytest.mark.parametrize("name", FILES)
@many
@given(data=st.data())
def test_truncated_and_lengthened(name, folder, whole, data):
    raw = (whole / name).read_bytes()
    cut = data.draw(st.integers(0, len(raw) - 1))
    (folder / name).write_bytes(
        data.draw(st.sampled_from([raw[:cut], raw + raw[cut:], raw[cut + 1 :], raw[:cut] + b"\0" + raw[cut:]]))
    )
    refuses(folder)
    shutil.copy(whole / name, folder / name)


@pytest.mark.parametrize("name", ["weights.safetensors"])
@many
@given(data=st.data())
def test_flipped_headers_with_the_hash_brought_up_to_date(name, folder, whole, data):
    """Someone who changes the weights file and writes the right hash still gets nothing but the spec's tensors."""
    raw = bytearray((whole / name).read_bytes())
    header = 8 + int.from_bytes(raw[:8], "little")
    place = data.draw(st.integers(0, header - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    (folder / name).write_bytes(raw)
    seal(folder, json.loads((whole / "bundle.json").read_text()))
    try:
        back = load(folder)
    except VariorumError:
        pass
    else:
        assert {n: t.shape for n, t in back.model.state_dict().items()} == {
            "linear.weight": (3, 4),
            "linear.bias": (3,),
        }
    shutil.copy(whole / name, folder / name)


def seal(folder, content):
    content.pop("sha256", None)
    content["files"] = [module._entry(folder / name) for name in ("weights.safetensors", "README.md")]
    (folder / "bundle.json").write_bytes(module._sealed(content))


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["LinearModel", "Stack", "TableTask", "Descent", "F32", "linear.weight", "../README.md", [], {}]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["part", "args", "name", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def paths(value, here=()):
    yield here
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from paths(child, (*here, key))


@pytest.fixture(scope="module", params=["linear", "table", "text"])
def several(request, tmp_path_factory):
    return save(bundle(request.param), tmp_path_factory.mktemp("several") / "b")


@settings(many, max_examples=SEALED)
@given(data=st.data())
def test_mutated_json_sealed_again(several, tmp_path, data):
    """Whatever stands in a well-sealed bundle.json, loading gives a model of the right tensors or a VariorumError."""
    whole, folder = several, tmp_path / "b"
    shutil.copytree(whole, folder, dirs_exist_ok=True)
    content = json.loads((whole / "bundle.json").read_text())
    place = data.draw(st.sampled_from([p for p in paths(content) if p and p[0] not in ("sha256", "files")]))
    owner = content
    for key in place[:-1]:
        owner = owner[key]
    if data.draw(st.booleans()):
        owner[place[-1]] = data.draw(ANYTHING)
    else:
        del owner[place[-1]]
    seal(folder, content)
    try:
        back = load(folder)
    except VariorumError:
        return
    assert isinstance(back.labels, tuple) and isinstance(back.provenance, dict)
    shapes = {name: shape for name, (_, shape) in content["tensors"].items()}
    assert {name: list(t.shape) for name, t in back.model.state_dict().items() if name in shapes} == shapes


@settings(many, max_examples=100)
@given(raw=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes(folder, raw):
    (folder / "bundle.json").write_bytes(raw)
    refuses(folder)
