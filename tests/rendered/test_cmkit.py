"""The folder of the template in a module: it leaves names to its owner, and works where Foundry imports it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from copier import run_copy, run_update

from foundry_cm.errors import CmError
from foundry_cm.module.coldstart import ColdStart
from foundry_cm.testing import Foundry, Pipeline
from tests.conftest import REPOSITORY, Render, commit, git, snapshot

FUNCTIONS: dict[str, list[str]] = {
    "search": ["search"],
    "blank": ["process"],
    "embedding": ["embed", "embed_query", "search"],
    "yolo": ["detect"],
}
PIPELINES = ["blank", "embedding", "yolo"]
EVERY = [
    *(({"example": example}, names) for example, names in FUNCTIONS.items()),
    *(({"example": example, "execution_mode": "pipeline"}, []) for example in PIPELINES),
    ({"example": "embedding", "weights_strategy": "downloaded", "weights_origin": "foundry"},
     FUNCTIONS["embedding"]),
    ({"example": "embedding", "weights_strategy": "downloaded", "weights_source": "Hub"},
     FUNCTIONS["embedding"]),
    ({"sources": ["Api"], "permissions": "application"}, FUNCTIONS["search"]),
    ({"execution_mode": "pipeline", "inputs": {"photos": "media_set"}}, []),
]  # fmt: skip
SERVED = [sys.executable, "src/app.py"]


def add(module: Path, name: str, text: str) -> None:
    """Write a file of the owner's."""
    file = module / "src" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def infer(module: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Foundry's static inference, as it runs when an image is built in Code Repositories."""
    return subprocess.run(
        [sys.executable, "-m", "compute_modules.bin.static_inference.infer", "src"],
        cwd=module,
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )


def inferred(module: Path) -> list[str]:
    """The functions that it finds; what else it prints would spoil its JSON."""
    done = infer(module)
    assert done.returncode == 0, done.stderr
    return sorted(function["functionName"] for function in json.loads(done.stdout))


def with_names_of_the_template(module: Path) -> None:
    """Give the owner's part of a module a file for each name that the template uses in its own."""
    names = {path.stem for path in (module / "src/cmkit").rglob("*.py")}
    names |= {path.name for path in (module / "src/cmkit").iterdir() if path.is_dir()}
    for name in names - {"__init__", "__pycache__"} - sys.stdlib_module_names:
        add(module, f"{name}.py", '"""The owner\'s."""\n\nOWNER = "mine"\n')


@pytest.mark.parametrize(("answers", "names"), EVERY, ids=str)
def test_static_inference_reads_every_example_beside_files_of_any_name(
    render: Render, answers: dict[str, Any], names: list[str]
) -> None:
    module = render(**answers)
    assert inferred(module) == names
    with_names_of_the_template(module)
    assert inferred(module) == names


def test_a_function_is_served_beside_files_of_any_name(render: Render, tmp_path: Path) -> None:
    module = render(tmp_path, example="blank")
    with_names_of_the_template(module)
    app = module / "src/app.py"
    text = app.read_text().replace("\nfrom cmkit", "\nfrom startup import OWNER\nfrom cmkit", 1)
    app.write_text(text.replace("text=event.text", "text=OWNER"))
    with Foundry(module, SERVED) as foundry:
        assert foundry.call("process", {"text": ""})["text"] == "mine"


@pytest.mark.slow
def test_a_pipeline_runs_beside_files_of_any_name(render: Render, tmp_path: Path) -> None:
    module = render(tmp_path / "module", execution_mode="pipeline")
    with_names_of_the_template(module)
    app = module / "src/app.py"
    app.write_text(
        app.read_text().replace("\nfrom cmkit", "\nfrom startup import OWNER\nfrom cmkit", 1)
    )
    pipeline = Pipeline(module, tmp_path / "root")
    pipeline.put("input", "a.jsonl", '{"text": "one"}\n')
    assert pipeline.run().written["output"] == 1


@pytest.mark.parametrize("mode", ["function", "pipeline"])
def test_the_log_of_a_start_says_in_one_line_what_took_how_long(
    render: Render, tmp_path: Path, mode: str
) -> None:
    module = render(tmp_path / "module", example="blank", execution_mode=mode)
    app = module / "src/app.py"
    slow = (
        "from cmkit import load\nfrom cmkit.startup import counted\n\n"
        "warm = counted('warm-up', 'Sleeping')(lambda: __import__('time').sleep(0.2))\nload(warm)\n"
    )
    app.write_text(f"{slow}{app.read_text()}")
    if mode == "function":
        with Foundry(module, SERVED) as foundry:
            log = foundry.output
    else:
        pipeline = Pipeline(module, tmp_path / "root")
        pipeline.run()
        log = pipeline.output
    start = ColdStart.last_in(log)
    assert start and list(start.steps) == ["import", "load", "warm-up"]
    assert start.steps["warm-up"] >= 0.2 and start.steps["import"] > 0
    assert start.ready == pytest.approx(sum(start.steps.values()), abs=0.011)


def test_another_package_of_this_name_is_reported_at_the_start(
    render: Render, tmp_path: Path
) -> None:
    module = render(tmp_path / "module")
    installed = tmp_path / "site" / "cmkit" / "__init__.py"
    installed.parent.mkdir(parents=True)
    installed.write_text("")
    site = str(tmp_path / "site")
    with Foundry(module, SERVED, env={"PYTHONPATH": site}) as foundry:
        assert list(foundry.functions) == ["search"]
        assert (
            f"Another package is called cmkit, {installed}: where Foundry reads the types of this "
            f"module, it is taken in place of {module / 'src/cmkit'}. Uninstall it: pip uninstall cmkit"
        ) in foundry.output
    done = infer(module, PYTHONPATH=site)
    assert f"from 'cmkit' ({installed})" in done.stderr


def test_a_failure_in_the_templates_code_is_shown_where_the_owner_called_it(
    render: Render, tmp_path: Path
) -> None:
    module = render(tmp_path / "module")
    app = module / "src/app.py"
    app.write_text(app.read_text().replace("load(read_catalogue)", "load(3)"))
    with pytest.raises(CmError) as ended, Foundry(module, SERVED):
        pass
    assert "TypeError: 'int' object is not callable" in ended.value.what
    assert ended.value.where is not None
    assert re.search(r"src/app\.py:\d+$", ended.value.where)


@pytest.mark.parametrize("name", ["lock", "download", "dataset"])
def test_the_code_for_weights_is_that_of_the_tool(render: Render, name: str) -> None:
    module = render(example="embedding", weights_strategy="downloaded", weights_origin="foundry")
    rendered = (module / f"src/cmkit/model/{name}.py").read_text()
    assert rendered == (REPOSITORY / f"foundry_cm/weights/{name}.py").read_text()
    assert "foundry_cm" not in rendered


@pytest.fixture
def two_files(render: Render, tmp_path: Path) -> Path:
    """A module with the second file of functions that its README shows, passed as it shows."""
    module = render(tmp_path / "module", example="blank")
    second, use = re.findall(r"```python\n(.*?)```", (module / "README.md").read_text(), re.S)
    add(module, "orders.py", second)
    app = module / "src/app.py"
    text = app.read_text()
    assert text.endswith('if __name__ == "__main__":\n    start()\n')
    line, start = use.split("\n", 1)
    text = text[: text.rindex("if __name__")] + start.lstrip()
    app.write_text(text.replace("from cmkit import", f"{line}\nfrom cmkit import"))
    return module


def test_the_second_file_of_the_readme_is_served_and_no_tool_removes_its_line(
    two_files: Path,
) -> None:
    for command in ("ruff check --fix .", "ruff check .", "mypy"):
        done = subprocess.run(
            [sys.executable, "-m", *command.split()], cwd=two_files, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout
    assert inferred(two_files) == ["order_total", "process"]
    with Foundry(two_files, SERVED) as foundry:
        assert sorted(foundry.functions) == ["order_total", "process"]
        assert foundry.call("order_total", {"prices": [1.5, 2]}) == {"total": 3.5}


def refusal(module: Path) -> str:
    """What the module says when it ends at its start."""
    with pytest.raises(CmError) as ended, Foundry(module, SERVED):
        pass
    return ended.value.what


@pytest.mark.parametrize("imported", [True, False], ids=["imported", "not imported"])
def test_a_file_of_functions_that_start_is_not_given_is_named(
    two_files: Path, imported: bool
) -> None:
    app = two_files / "src/app.py"
    text = app.read_text().replace("start(orders)", "start()")
    app.write_text(text if imported else text.replace("import orders\n", ""))
    assert (
        "start() is not given every file with functions: orders.py:25. "
        "Write in app.py: import orders, and at its end start(orders)"
    ) in refusal(two_files)


def test_a_file_in_a_folder_is_named_beside_those_that_are_given(two_files: Path) -> None:
    text = (two_files / "src/orders.py").read_text()
    for decorator in ("@function(streaming=False)", "@cmkit.function"):
        shop = text.replace("order_total", "shop_total").replace("@function", decorator)
        add(two_files, "shop/totals.py", "import cmkit\n" + shop)
        assert (
            "start() is not given every file with functions: shop/totals.py:26. "
            "Write in app.py: import shop.totals, and at its end start(orders, shop.totals)"
        ) in refusal(two_files)


def test_a_package_of_functions_is_named_as_it_is_imported(two_files: Path) -> None:
    package = two_files / "src/shop"
    package.mkdir()
    (two_files / "src/orders.py").rename(package / "__init__.py")
    app = two_files / "src/app.py"
    text = app.read_text().replace("import orders\n", "").replace("start(orders)", "start()")
    app.write_text(text)
    assert "import shop, and at its end start(shop)" in refusal(two_files)
    app.write_text(
        text.replace("from cmkit", "import shop\nfrom cmkit", 1).replace("start()", "start(shop)")
    )
    with Foundry(two_files, SERVED) as foundry:
        assert sorted(foundry.functions) == ["order_total", "process"]


def test_two_functions_of_one_name_are_named(two_files: Path) -> None:
    orders = two_files / "src/orders.py"
    orders.write_text(orders.read_text().replace("order_total", "process"))
    assert "Two functions have one name: process" in refusal(two_files)


def test_what_is_no_function_of_the_module_needs_no_line(two_files: Path) -> None:
    add(two_files, "old.py", "@function def (:\n")
    add(two_files, "notes.py", '"""Use @function."""\n\nfrom functools import cache as functions\n')
    with Foundry(two_files, SERVED) as foundry:
        assert sorted(foundry.functions) == ["order_total", "process"]


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        (
            '"inputs": {"input": "media_set"}',
            'the input "input" is a "media_set"; use dataset, stream or reference. To read media sets, copy a new '
            "module with media_set in its answer inputs",
        ),
        (
            '"inputs": {"input": "datset"}',
            'the input "input" is a "datset"; use dataset, stream or reference',
        ),
        (
            '"outputs": {"output": "media_set"}',
            'the output "output" is a "media_set"; use dataset or stream',
        ),
    ],
)
def test_a_kind_that_the_module_cannot_handle_is_named_at_the_start(
    render: Render, tmp_path: Path, resource: str, said: str
) -> None:
    module = render(tmp_path / "module", execution_mode="pipeline")
    assert not (module / "src/cmkit/pipelines/media.py").exists()
    settings = module / "src/resources.json"
    name = resource.split(":")[0]
    before = settings.read_text()
    settings.write_text(re.sub(rf"{name}: \{{.*?\}}", resource, before))
    done = subprocess.run(
        SERVED, cwd=module, capture_output=True, text=True, env={"RESOURCE_ALIAS_MAP": "x"}
    )
    assert done.returncode == 1
    assert done.stderr == f"SettingsError: resources.json: {said}\n"


def test_another_file_of_the_template_needs_no_other_edit(tmp_path: Path) -> None:
    source = snapshot(tmp_path / "template", "v1.0.0")
    module = tmp_path / "module"
    run_copy(str(source), module, defaults=True, quiet=True)
    commit(module, "as rendered")
    extra = source / "template/src/cmkit/extra.py"
    extra.write_text('"""One more."""\n')
    commit(source, "one more file")
    git(source, "tag", "v1.1.0")
    run_update(module, defaults=True, overwrite=True, quiet=True)
    assert (module / "src/cmkit/extra.py").read_text() == extra.read_text()
    changed = {line[3:] for line in git(module, "status", "--porcelain").splitlines()}
    assert changed == {".copier-answers.yml", "src/cmkit/extra.py"}
    extra.unlink()
    commit(source, "one file less")
    git(source, "tag", "v1.2.0")
    commit(module, "updated")
    run_update(module, defaults=True, overwrite=True, quiet=True)
    assert not (module / "src/cmkit/extra.py").exists()
