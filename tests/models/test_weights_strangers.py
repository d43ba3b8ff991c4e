"""A module from a stranger: `cm weights pull` touches nothing but what it made, below models/."""

from pathlib import Path

import pytest

from foundry_cm.errors import CmError
from foundry_cm.module.project import Project
from foundry_cm.weights.request import check
from tests.conftest import commit
from tests.models.conftest import REPO, Module
from tests.models.hub import COMMIT, Hub, status
from tests.models.weights import SAFETENSORS, pull_into

pytestmark = pytest.mark.usefixtures("no_waiting")

FILES = {"config.json", SAFETENSORS}


@pytest.fixture
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the person who pulls, with a file that no repository may touch."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "kept.txt").write_text("mine")
    return folder


def untouched(outside: Path) -> bool:
    return {path.name: path.read_text() for path in outside.iterdir()} == {"kept.txt": "mine"}


def refusal(module: Module, **options: bool) -> str:
    with pytest.raises(CmError) as refused:
        pull_into(module, **options)
    assert refused.value.fix
    return refused.value.what


# Names.


@pytest.mark.parametrize(
    "name",
    ["../src/planted.json", "../../x.json", "/tmp/x.json", "a\\b.json", "a\nb.json", "C:x.json"],
)
def test_a_name_in_the_listing_of_a_hub_never_leads_out(
    hub: Hub, module: Module, name: str
) -> None:
    hub.listed_too.append(name)
    assert f"of the files of acme/small, the path {name!r} " in refusal(module)
    assert not (module.folder / "weights.lock").exists()
    assert {path.name for path in module.folder.iterdir()} == {"pyproject.toml"}


def test_names_that_collide_in_a_listing_are_refused(hub: Hub, module: Module) -> None:
    hub.listed_too.append("Config.json")
    assert refusal(module) == (
        "of the files of acme/small, 'config.json' and 'Config.json' are one name on some systems"
    )


def test_what_is_not_chosen_from_a_listing_may_be_called_anything(hub: Hub, module: Module) -> None:
    hub.listed_too += [".gitattributes", "../README.md", "a\x1b[2J"]
    pull_into(module)
    module.ask(origin="huggingface", repo=REPO, revision="main", files=["*.jsn"])
    with pytest.raises(CmError) as refused:
        pull_into(module)
    assert "\x1b" not in str(vars(refused.value))


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a/../../x"])
def test_a_name_in_pyproject_never_leads_out(hub: Hub, module: Module, name: str) -> None:
    module.ask(origin="https", url=f"{hub.url}/plain/small", files=[name])
    assert refusal(module) == f"In files, the path {name!r} does not stay inside the folder"


# Links.


def test_a_committed_link_where_files_used_to_wait_is_left_alone(
    hub: Hub, module: Module, outside: Path
) -> None:
    (module.folder / "models.partial").symlink_to(outside)
    pull_into(module)
    assert untouched(outside)


@pytest.mark.parametrize("link", [".partial", ".partial/onnx", "onnx", "config.json"])
def test_a_link_below_models_is_refused_by_name(
    hub: Hub, module: Module, outside: Path, link: str
) -> None:
    module.ask(origin="huggingface", repo=REPO, revision=COMMIT, files=["onnx/*", "config.json"])
    path = module.folder / "models" / link
    path.parent.mkdir(parents=True)
    path.symlink_to(outside / "kept.txt" if link == "config.json" else outside)
    assert refusal(module) == f"{path} is a link, and may lead out of the module"
    assert untouched(outside)


@pytest.mark.parametrize("name", ["weights.lock", "models/.weights.lock"])
def test_a_committed_link_is_never_written_through(
    hub: Hub, module: Module, outside: Path, name: str
) -> None:
    path = module.folder / name
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(outside / "kept.txt")
    pull_into(module)
    assert untouched(outside)
    assert not path.is_symlink()


def test_a_link_in_place_of_the_guard_is_not_followed(
    hub: Hub, module: Module, outside: Path
) -> None:
    (module.folder / "models").mkdir()
    (module.folder / "models/.pull.guard").symlink_to(outside / "kept.txt")
    assert refusal(module).startswith(f"writing to {module.folder / 'models'} failed (")
    assert untouched(outside)


def test_models_on_a_larger_disk_are_filled_there_and_stay_a_link(
    hub: Hub, module: Module, tmp_path_factory: pytest.TempPathFactory
) -> None:
    disk = tmp_path_factory.mktemp("disk")
    models = module.folder / "models"
    models.symlink_to(disk)
    for update in (False, True, False):
        pull_into(module, update=update)
        assert models.is_symlink()
        assert module.files() == FILES
        assert (disk / SAFETENSORS).is_file()
    module.ask(origin="huggingface", repo=REPO, revision=COMMIT, files=["config.json"])
    pull_into(module)
    assert module.files() == {"config.json"}
    assert {path.name for path in module.folder.iterdir()} == {
        "models",
        "pyproject.toml",
        "weights.lock",
    }


def test_a_pull_to_a_larger_disk_that_failed_can_go_on(
    hub: Hub, module: Module, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (module.folder / "models").symlink_to(tmp_path_factory.mktemp("disk"))
    hub.fail(SAFETENSORS, status(404))
    assert "answered 404" in refusal(module)
    pull_into(module)
    assert module.files() == FILES


def test_models_that_lead_to_other_files_are_refused(
    hub: Hub, module: Module, outside: Path
) -> None:
    (module.folder / "models").symlink_to(outside)
    assert refusal(module) == (
        f"{module.folder / 'models'} is a link to {outside}, which holds other files than pulled "
        f"weights"
    )
    assert untouched(outside)


def test_models_that_came_as_a_link_are_refused(
    hub: Hub, module: Module, tmp_path_factory: pytest.TempPathFactory
) -> None:
    empty = tmp_path_factory.mktemp("autostart")
    (module.folder / "models").symlink_to(empty)
    commit(module.folder, "A link to somebody's folder")
    assert refusal(module) == (
        f"{module.folder / 'models'} is a link that came with the repository"
    )
    assert list(empty.iterdir()) == []


# What a person put there.


def test_a_persons_own_file_in_models_is_never_removed(hub: Hub, module: Module) -> None:
    pull_into(module)
    notes = module.folder / "models/notes.txt"
    notes.write_text("mine")
    module.ask(origin="huggingface", repo=REPO, revision=COMMIT, files=["config.json"])
    assert refusal(module) == ("models/notes.txt is not a file that `cm weights pull` downloads")
    assert notes.read_text() == "mine"
    assert module.files() == {*FILES, "notes.txt"}


def test_a_persons_own_weights_are_never_replaced(hub: Hub, module: Module) -> None:
    (module.folder / "models").mkdir()
    mine = module.folder / "models" / SAFETENSORS
    mine.write_bytes(b"tuned for weeks")
    assert refusal(module) == (
        f"models/{SAFETENSORS} already exists, and is not from `cm weights pull`"
    )
    assert mine.read_bytes() == b"tuned for weeks"


def test_a_file_that_was_changed_after_the_pull_is_not_removed(hub: Hub, module: Module) -> None:
    pull_into(module)
    changed = module.folder / "models" / SAFETENSORS
    changed.write_bytes(b"tuned for weeks")
    module.ask(origin="huggingface", repo=REPO, revision=COMMIT, files=["config.json"])
    pull_into(module)
    assert changed.read_bytes() == b"tuned for weeks"
    with pytest.raises(CmError, match=f"models/{SAFETENSORS} is not in weights.lock"):
        check(Project.read(module.folder))


def test_weights_of_a_colleague_that_are_right_are_taken_over(hub: Hub, module: Module) -> None:
    pull_into(module)
    (module.folder / "models/.weights.lock").unlink()
    hub.requests.clear()
    assert not pull_into(module).relocked
    assert hub.requests == []
    module.ask(origin="huggingface", repo=REPO, revision=COMMIT, files=["config.json"])
    pull_into(module)
    assert module.files() == {"config.json"}


def test_a_committed_file_where_files_wait_is_not_taken_for_one_that_arrived(
    hub: Hub, module: Module
) -> None:
    pull_into(module)
    waiting = module.folder / "models/.partial"
    waiting.mkdir()
    (waiting / "config.json").write_text('{"evil": 1}')
    (module.folder / "models" / SAFETENSORS).unlink()
    pull_into(module)
    check(Project.read(module.folder))


def test_a_pull_leaves_nothing_but_the_weights(hub: Hub, module: Module) -> None:
    pull_into(module)
    left = {path.name for path in (module.folder / "models").iterdir()} - {".pull.guard"}
    assert left == {*FILES, ".weights.lock"}
    assert {path.name for path in module.folder.iterdir()} == {
        "models",
        "pyproject.toml",
        "weights.lock",
    }
