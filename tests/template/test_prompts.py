"""The interview, in a real terminal of 80 columns."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

DOWN, CLEAR, ENTER = "\x1b[B", "\x15", "\r"
Ask = Callable[..., "pexpect.spawn[str]"]


@pytest.fixture
def ask(template: Path, tmp_path: Path) -> Ask:
    """Start `copier copy` in a terminal; gives the terminal."""

    def run(columns: int = 80) -> pexpect.spawn[str]:
        return pexpect.spawn(
            str(Path(sys.executable).with_name("copier")),
            ["copy", str(template), str(tmp_path / "my-module")],
            dimensions=(40, columns),
            encoding="utf-8",
            timeout=30,
        )

    return run


def answer(terminal: pexpect.spawn[str], question: str, keys: str) -> None:
    terminal.expect(re.escape(question))
    terminal.send(keys)


def interview(terminal: pexpect.spawn[str]) -> None:
    """Press Enter until Copier ends."""
    while True:
        if terminal.expect(["🎤", pexpect.EOF], timeout=60) == 1:
            break
        terminal.send(ENTER)
    terminal.close()


def test_enter_all_the_way_gives_a_module_and_the_next_commands(ask: Ask, tmp_path: Path) -> None:
    terminal = ask()
    terminal.logfile_read = (tmp_path / "log").open("w")
    interview(terminal)
    assert terminal.exitstatus == 0
    assert (tmp_path / "my-module/src/app.py").exists()
    told = (tmp_path / "log").read_text().partition("is ready. Next:")[2]
    assert [
        word
        for word in ("cd ", "pip install -r requirements-dev.txt", "cm serve")
        if word not in told
    ] == []


@pytest.mark.parametrize(
    ("mode", "example", "file"),
    [
        (ENTER, DOWN + ENTER, "events/process.json"),
        (ENTER, 2 * DOWN + ENTER, "requirements-template-torch.txt"),
        (ENTER, 3 * DOWN + ENTER, "src/cmkit/images/references.py"),
        (DOWN + ENTER, ENTER, "src/resources.json"),
        (DOWN + ENTER, DOWN + ENTER, "data/input/sample.jsonl"),
        (DOWN + ENTER, 2 * DOWN + ENTER, "data/input/sample.png"),
    ],
    ids=["blank", "embedding", "yolo", "pipeline", "pipeline-embedding", "pipeline-yolo"],
)
def test_every_branch_of_the_interview_ends_in_a_module(
    ask: Ask, tmp_path: Path, mode: str, example: str, file: str
) -> None:
    terminal = ask()
    answer(terminal, "Where does it plug in?", mode)
    answer(terminal, "What should the first version do?", example)
    interview(terminal)
    assert terminal.exitstatus == 0
    assert (tmp_path / "my-module" / file).exists()


def test_wrong_answers_are_mended_at_the_prompt(ask: Ask, tmp_path: Path) -> None:
    terminal = ask()
    answer(terminal, "Where does it plug in?", ENTER)
    answer(terminal, "What should the first version do?", DOWN + ENTER)
    answer(terminal, "Which function do callers see?", CLEAR + "import" + ENTER)
    answer(terminal, 'Try import_record: "import" is', CLEAR + "classify" + ENTER)
    answer(terminal, "What goes in?", CLEAR + "{when: datetime}" + ENTER)
    answer(
        terminal, "when: use str (ISO text), not", CLEAR + "{when: str, tags: 'list[str]'}" + ENTER
    )
    answer(terminal, "What comes back", CLEAR + "[1]" + ENTER)
    answer(terminal, "Write {field: type}, such as", CLEAR + "{label: str}" + ENTER)
    interview(terminal)
    assert terminal.exitstatus == 0
    app = (tmp_path / "my-module/src/app.py").read_text()
    assert "def classify(context: QueryContext, event: ClassifyPayload) -> ClassifyResult:" in app
    assert "    tags: list[str]\n" in app


def test_media_sets_are_read_alone_and_have_their_own_fields(ask: Ask, tmp_path: Path) -> None:
    terminal = ask()
    answer(terminal, "Where does it plug in?", DOWN + ENTER)
    answer(terminal, "What should the first version do?", ENTER)
    answer(terminal, "What does it read?", CLEAR + "{a: media_set, b: dataset}" + ENTER)
    answer(terminal, "Use media_set for every input or", CLEAR + "{a: media_set}" + ENTER)
    answer(terminal, "What does it write?", CLEAR + "{b: media_set}" + ENTER)
    answer(terminal, "Use dataset or stream for", CLEAR + "{b: dataset}" + ENTER)
    # What goes in is not asked.
    answer(terminal, "What comes back", ENTER)
    interview(terminal)
    assert terminal.exitstatus == 0
    assert "    content: bytes\n" in (tmp_path / "my-module/src/app.py").read_text()


def test_weights_that_a_pipeline_cannot_read_are_not_on_offer(ask: Ask) -> None:
    terminal = ask()
    answer(terminal, "Where does it plug in?", DOWN + ENTER)
    answer(terminal, "What should the first version do?", DOWN + ENTER)
    answer(terminal, "What does it read?", ENTER)
    answer(terminal, "What does it write?", ENTER)
    answer(terminal, "After how many seconds", ENTER)
    answer(terminal, "How do the model's weights get", DOWN + ENTER)
    terminal.expect("needs weights_strategy baked")


@pytest.mark.parametrize("columns", [40, 200])
def test_narrow_and_wide_terminals_work(ask: Ask, tmp_path: Path, columns: int) -> None:
    terminal = ask(columns)
    interview(terminal)
    assert terminal.exitstatus == 0
    assert (tmp_path / "my-module/src/app.py").exists()


def test_ctrl_c_leaves_nothing_behind(ask: Ask, tmp_path: Path) -> None:
    terminal = ask()
    answer(terminal, "Where does it plug in?", ENTER)
    answer(terminal, "What should the first version do?", "\x03")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 1
    assert list(tmp_path.iterdir()) == []
