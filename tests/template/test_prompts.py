"""The interview, in a real terminal of 80 columns."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pexpect
import pyte
import pytest

from tests.conftest import UNIX

pytestmark = UNIX

DOWN, CLEAR, ENTER = "\x1b[B", "\x15", "\r"


class Interview:
    """`copier copy` in a terminal, and what a person sees there."""

    def __init__(self, template: Path, module: Path, columns: int) -> None:
        self.module = module
        self.screen = pyte.Screen(columns, 200)
        self.stream = pyte.Stream(self.screen)
        self.asked = self.widest = 0
        self.copier = pexpect.spawn(
            str(Path(sys.executable).with_name("copier")),
            ["copy", str(template), str(module)],
            dimensions=(200, columns),
            encoding="utf-8",
        )

    @property
    def text(self) -> str:
        """What is on the screen."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def wait(self, until: Callable[[], bool]) -> None:
        """Read on until something is on the screen, or Copier ends."""
        deadline = time.monotonic() + 60
        while not until() and not self.copier.flag_eof:
            assert time.monotonic() < deadline, self.text
            try:
                self.stream.feed(self.copier.read_nonblocking(4096, timeout=1))
            except (pexpect.TIMEOUT, pexpect.EOF):
                continue

    def see(self, text: str) -> None:
        """Wait for a text."""
        self.wait(lambda: text in self.text)
        assert text in self.text

    def answer(self, question: str, keys: str) -> None:
        """Wait for a question or the fault of an answer, then type."""
        self.see(question)
        self.type(keys)

    def begin(self, mode: str, example: str) -> None:
        """Answer the first two questions."""
        self.answer("Where does it plug in?", mode)
        self.answer("What should the first version do?", example)

    def type(self, keys: str) -> None:
        """Press keys."""
        self.asked = self.text.count("🎤")
        self.widest = max(self.widest, *(len(line) for line in self.text.splitlines()))
        self.copier.send(keys)

    def enter(self, *questions: str, more: bool = False) -> None:
        """Press Enter at each of these, or else until Copier ends; `more` opens the gate on the way."""
        for question in questions:
            self.answer(question, ENTER)
        while not questions and not self.copier.flag_eof:
            self.wait(lambda: self.text.count("🎤") > self.asked)
            if not self.copier.flag_eof:
                at_gate = more and "Also choose" in self.text.rpartition("🎤")[2]
                self.type("y" if at_gate else ENTER)
        if not questions:
            self.copier.close()
            assert self.copier.exitstatus == 0, self.text


Ask = Callable[..., Interview]


@pytest.fixture
def ask(template: Path, tmp_path: Path) -> Ask:
    """Start an interview."""
    return lambda columns=80: Interview(template, tmp_path / "my-module", columns)


def test_enter_all_the_way_gives_a_module_and_the_next_commands(ask: Ask, tmp_path: Path) -> None:
    interview = ask()
    interview.enter()
    assert (tmp_path / "my-module/src/app.py").exists()
    told = interview.text.partition("is ready. Next:")[2]
    assert [
        word
        for word in (
            "cd ",
            "git init && git add --all && git commit",
            "pip install -r requirements-dev.txt",
            "cm serve",
        )
        if word not in told
    ] == []


BRANCHES = pytest.mark.parametrize(
    ("mode", "example", "file"),
    [
        (ENTER, DOWN + ENTER, "events/process.json"),
        (ENTER, 2 * DOWN + ENTER, "src/cmkit/model/encoder.py"),
        (ENTER, 3 * DOWN + ENTER, "src/cmkit/images/references.py"),
        (DOWN + ENTER, ENTER, "src/resources.json"),
        (DOWN + ENTER, DOWN + ENTER, "data/input/sample.jsonl"),
        (DOWN + ENTER, 2 * DOWN + ENTER, "data/input/sample.png"),
    ],
    ids=["blank", "embedding", "yolo", "pipeline", "pipeline-embedding", "pipeline-yolo"],
)


@BRANCHES
def test_every_branch_of_the_interview_ends_in_a_module(
    ask: Ask, tmp_path: Path, mode: str, example: str, file: str
) -> None:
    interview = ask()
    interview.begin(mode, example)
    interview.enter()
    assert (tmp_path / "my-module" / file).exists()
    # What fits in a person's patience: nine questions for a function, ten for a pipeline.
    assert interview.asked <= (9 if mode == ENTER else 10)


@BRANCHES
def test_no_question_and_no_choice_is_wider_than_a_terminal(
    ask: Ask, tmp_path: Path, mode: str, example: str, file: str
) -> None:
    interview = ask()
    interview.begin(mode, example)
    interview.enter(more=True)
    assert (tmp_path / "my-module" / file).exists()
    assert interview.asked > 10
    # A line that wraps fills the screen's 80 columns, or 79 where the next one is two columns wide.
    assert interview.widest < 79


def test_wrong_answers_are_mended_at_the_prompt(ask: Ask, tmp_path: Path) -> None:
    interview = ask()
    interview.begin(ENTER, DOWN + ENTER)
    interview.answer("Which function do callers see?", CLEAR + "import" + ENTER)
    interview.answer('Try import_record: "import" is', CLEAR + "classify" + ENTER)
    interview.answer("What goes in?", CLEAR + "{when: datetime}" + ENTER)
    interview.answer("when: use str (ISO text), not", CLEAR + "{a: Optional[int]}" + ENTER)
    interview.answer("a: no Optional: use a sentinel", CLEAR + "{a: str, a: int}" + ENTER)
    interview.answer('Give "a" once in a record', CLEAR + "{z: [str]}" + ENTER)
    interview.answer("Write list[str] or list[{...}]", CLEAR + "{z: dict[str, int]}" + ENTER)
    interview.answer("z: write out {field: type}", CLEAR + "{z: str, tags: list[str]" + ENTER)
    interview.answer('Write "}" at the end', "}" + ENTER)
    interview.answer("What comes back", CLEAR + "[1]" + ENTER)
    interview.answer('Write "{" before "["', CLEAR + "{label: str, a: list[{b: int}]}" + ENTER)
    interview.enter()
    app = (tmp_path / "my-module/src/app.py").read_text()
    assert "def classify(context: QueryContext, event: ClassifyPayload) -> ClassifyResult:" in app
    assert "    z: str\n    tags: list[str]\n" in app
    assert "    a: list[ClassifyResultA]\n" in app


def test_media_sets_are_read_alone_and_have_their_own_fields(ask: Ask, tmp_path: Path) -> None:
    interview = ask()
    interview.begin(DOWN + ENTER, ENTER)
    interview.answer("What does it read?", CLEAR + "{a: media_set, b: dataset}" + ENTER)
    interview.answer("Use media_set for every input or", CLEAR + "{a: media_set}" + ENTER)
    interview.answer("What does it write?", CLEAR + "{b: media_set}" + ENTER)
    interview.answer("Use dataset or stream for", CLEAR + "{b: dataset}" + ENTER)
    # What goes in is not asked.
    interview.answer("Which columns has an output?", ENTER)
    interview.enter()
    assert "    content: bytes\n" in (tmp_path / "my-module/src/app.py").read_text()


def test_weights_that_a_pipeline_cannot_read_are_not_on_offer(ask: Ask) -> None:
    interview = ask()
    interview.begin(DOWN + ENTER, DOWN + ENTER)
    interview.answer("What does it read?", ENTER)
    interview.answer("What does it write?", ENTER)
    interview.answer("How do the model's weights get", DOWN + ENTER)
    interview.enter("Which GPU", "Name of the module", "What does it do", "Which Sources")
    interview.answer("Also choose engine, origin", "y")
    interview.enter("After how many seconds", "What runs the model")
    interview.see("needs weights_strategy baked")


def test_what_contradicts_an_earlier_answer_is_not_on_offer(ask: Ask) -> None:
    interview = ask()
    interview.begin(ENTER, 3 * DOWN + ENTER)
    interview.enter("How do the model's weights get", "Which GPU")
    interview.enter("Name of the module", "What does it do", "Which Sources")
    interview.answer("Also choose the weights' origin", "y")
    interview.enter("Where do the weights", "The https address", "The files to take")
    interview.enter("Which index has PyTorch")
    interview.see("reading media needs application")


@pytest.mark.parametrize("columns", [40, 200])
def test_narrow_and_wide_terminals_work(ask: Ask, tmp_path: Path, columns: int) -> None:
    interview = ask(columns)
    interview.enter()
    assert (tmp_path / "my-module/src/app.py").exists()


def test_ctrl_c_leaves_nothing_behind(ask: Ask, tmp_path: Path) -> None:
    interview = ask()
    interview.begin(ENTER, "\x03")
    interview.wait(lambda: False)
    interview.copier.close()
    assert interview.copier.exitstatus == 1
    assert list(tmp_path.iterdir()) == []
