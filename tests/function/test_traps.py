"""Every silent trap of the SDK, set in hand-written code, and what the local Foundry shows of it.

Measured with foundry-compute-modules 0.34.0; the numbers are those of docs/traps.md.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from foundry_cm.errors import CmError
from foundry_cm.testing import CallFailed, EventRefused, Foundry
from tests.conftest import LINUX, Render
from tests.function.conftest import HEAD, PROCESSES, THREADS, Serve
from tests.interpreters import interpreter

pytestmark = LINUX

ECHO = """
@function
def echo(context, event: Payload) -> str:
    return event.text
"""


def returning(annotation: str, value: str, imports: str = "") -> str:
    return f"""
{imports}
@function
def give(context, event: Payload) -> {annotation}:
    return {value}
"""


def test_1_sample_without_a_start_dies_on_python_3_12_1(tmp_path: Path) -> None:
    python = interpreter("3.12", "foundry-compute-modules")
    version = subprocess.run([python, "-V"], capture_output=True, text=True, check=True).stdout
    if version != "Python 3.12.1\n":
        pytest.skip("the trap is that of CPython 3.12.1")
    (tmp_path / "app.py").write_text(HEAD + ECHO)
    with pytest.raises((CmError, CallFailed), match="can't fork at interpreter shutdown"):
        with Foundry(tmp_path, [python, "app.py"]) as foundry:
            foundry.call("echo", {"text": "hi"})


def test_1_sample_without_a_start_works_elsewhere(serve: Serve) -> None:
    with serve(ECHO, tail="") as foundry:
        assert foundry.call("echo", {"text": "hi"}) == "hi"


def test_2_failed_import_that_the_sdk_starts_all_the_same_is_warned_of(serve: Serve) -> None:
    with serve(ECHO + "\nraise FileNotFoundError('model.bin')\n") as foundry:
        assert "raised while it was imported (FileNotFoundError: model.bin, " in foundry.warnings[0]
        assert "app.py:" in foundry.warnings[0]


def test_3_future_annotations_end_in_a_warning_and_no_function(serve: Serve) -> None:
    with serve(ECHO, head="from __future__ import annotations\n" + HEAD) as foundry:
        assert "NameError: name 'Payload' is not defined" in foundry.warnings[0]
        assert "the module declares no functions" in foundry.warnings
        with pytest.raises(EventRefused, match='The module has no function "echo"'):
            foundry.call("echo", {"text": "hi"})


@pytest.mark.parametrize("kind", ["Any", "object", "list", "Colour"])
def test_4_type_that_becomes_an_empty_struct_is_warned_of(serve: Serve, kind: str) -> None:
    body = f"""
    from enum import Enum
    from typing import Any

    class Colour(Enum):
        RED = 1

    @dataclass
    class Odd:
        field: {kind}

    @function
    def echo(context, event: Odd) -> str:
        return ""
    """
    with serve(body) as foundry:
        assert foundry.warnings == [
            "echo: event.field has no fields: the SDK could not read its type"
        ]


@pytest.mark.parametrize(
    "kind", ["dict", "tuple[int, int]", "Literal['a']", "Union[int, str]", "Sequence[int]"]
)
def test_5_type_that_the_sdk_refuses_is_shown_with_its_line(serve: Serve, kind: str) -> None:
    body = f"""
    from typing import Literal, Sequence, Union

    @dataclass
    class Odd:
        field: {kind}

    @function
    def echo(context, event: Odd) -> str:
        return ""
    """
    with serve(body) as foundry:
        assert "raised while it was imported (" in foundry.warnings[0]
        assert "app.py:" in foundry.warnings[0]


def test_6_optional_value_that_arrives_unconverted_is_warned_of(serve: Serve) -> None:
    body = """
    from datetime import datetime
    from typing import Optional

    @dataclass
    class Odd:
        when: Optional[datetime]

    @function
    def kind(context, event: Odd) -> str:
        return type(event.when).__name__
    """
    with serve(body) as foundry:
        assert foundry.warnings == [
            "kind: event.when is Optional: what is inside reaches the handler unconverted"
        ]
        assert foundry.call("kind", {"when": "2026-01-31T12:00:00Z"}) == "str"


@pytest.mark.parametrize(
    ("annotation", "value"), [("set[int]", "{1, 2}"), ("bytes", "b'x'"), ("Decimal", "Decimal(1)")]
)
def test_7_and_9_result_that_the_sdk_cannot_send_fails_with_the_reason(
    serve: Serve, annotation: str, value: str
) -> None:
    with serve(returning(annotation, value, "from decimal import Decimal")) as foundry:
        assert "the SDK cannot send such a result" in foundry.warnings[0]
        with pytest.raises(CallFailed, match="Circular reference detected") as failed:
            foundry.call("give", {"text": ""})
        assert "return plain Python values" in str(failed.value)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_8_number_that_json_lacks_fails(serve: Serve, value: str) -> None:
    with serve(returning("float", f"float('{value}')")) as foundry:
        with pytest.raises(
            CallFailed, match=r"The result holds (NaN|-?Infinity), which is not JSON"
        ):
            foundry.call("give", {"text": ""})


def test_10_pool_forked_after_threads_were_started_hangs_and_is_named(serve: Serve) -> None:
    # What torch does with its OpenMP threads, with the standard library's threads.
    body = """
    from concurrent.futures import ThreadPoolExecutor
    WARM = ThreadPoolExecutor(1)
    WARM.submit(time.sleep, 0).result()

    @function
    def echo(context, event: Payload) -> str:
        return WARM.submit(str.upper, event.text).result()
    """
    with serve(body, tail=PROCESSES) as foundry:
        with pytest.raises(
            CallFailed, match="No answer within 3 s, though the module is still running"
        ):
            foundry.call("echo", {"text": "hi"}, timeout=3)
    with serve(body, tail=THREADS) as foundry:
        assert foundry.call("echo", {"text": "hi"}, timeout=10) == "HI"


KILL = """
@function
def crash(context, event: Payload) -> str:
    os.kill(os.getpid(), 9)
"""


def test_11_job_of_a_worker_that_dies_is_answered(serve: Serve) -> None:
    with serve(KILL, tail=PROCESSES) as foundry:
        with pytest.raises(
            CallFailed, match="The worker process of the module died while it held this call"
        ):
            foundry.call("crash", {"text": ""}, timeout=20)


def test_11_job_of_a_module_that_dies_is_answered_within_two_seconds(serve: Serve) -> None:
    with serve(KILL) as foundry:
        began = time.monotonic()
        with pytest.raises(
            CallFailed, match="The module was killed by SIGKILL, as a system does where memory"
        ):
            foundry.call("crash", {"text": ""})
        assert time.monotonic() - began < 2


def test_12_pool_whose_workers_cannot_start_is_shown(serve: Serve) -> None:
    tail = """
    if __name__ == "__main__":
        import multiprocessing
        multiprocessing.set_start_method("forkserver")
        start_compute_module()
    """
    with serve(ECHO, tail=tail) as foundry:
        with pytest.raises(CallFailed, match="No answer within 5 s, though the module is still"):
            foundry.call("echo", {"text": "hi"}, timeout=5)
        assert "QUERY_CLIENT is uninitialized" in foundry.output


NO_INPUTS = "echo: it declares no inputs: annotate the event with a dataclass of your own"
NO_CLASS = (
    "the module raised while it was imported (ValueError: Custom Type int | str found but invalid"
)


@pytest.mark.parametrize(
    ("annotation", "warning"),
    [("", NO_INPUTS), (": dict", NO_INPUTS), (": int | str", NO_CLASS)],
)
def test_13_event_without_a_record_type_is_warned_of(
    serve: Serve, annotation: str, warning: str
) -> None:
    body = f"""
    @function
    def echo(context, event{annotation}) -> str:
        return ""
    """
    with serve(body) as foundry:
        assert foundry.warnings[0].startswith(warning)
        if annotation == ": dict":
            with pytest.raises(CallFailed, match="annotate it with a dataclass"):
                foundry.call("echo", {"text": ""})


def test_14_exception_posted_as_a_result_is_a_failure_with_the_users_frames(serve: Serve) -> None:
    body = """
    def divide(number):
        return 1 / number

    @function
    def fail(context, event: Payload) -> float:
        return divide(0)
    """
    with serve(body) as foundry:
        with pytest.raises(CallFailed, match="ZeroDivisionError: division by zero") as failed:
            foundry.call("fail", {"text": ""})
        assert "site-packages" not in str(failed.value)
        assert str(failed.value).count("app.py:") == 3


def test_17_module_that_ignores_sigterm_is_killed_in_time(serve: Serve) -> None:
    with serve("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + ECHO):
        began = time.monotonic()
    assert time.monotonic() - began < 3


def test_20_state_kept_between_calls_differs_between_replicas(serve: Serve) -> None:
    body = """
    SEEN = []

    @function
    def count(context, event: Payload) -> int:
        SEEN.append(event.text)
        time.sleep(0.05)
        return len(SEEN)
    """
    with serve(body, replicas=2) as foundry:
        counts = [foundry.call("count", {"text": ""}) for _ in range(10)]
        assert max(counts) < 10


class TestRenderedModule:
    """The same traps, set in the handler of a module that the template rendered."""

    @pytest.fixture
    def module(self, render: Render, tmp_path: Path) -> Path:
        return render(tmp_path / "trapped", example="blank", result_fields={"score": "float"})

    def edit(self, module: Path, old: str, new: str) -> Foundry:
        app = module / "src" / "app.py"
        text = app.read_text()
        assert old in text
        app.write_text(text.replace(old, new))
        return Foundry(module, [sys.executable, "src/app.py"])

    def test_2_failed_import_ends_the_process(self, module: Path) -> None:
        with pytest.raises(
            CmError, match="exited with code 1 before it declared its functions"
        ) as died:
            with self.edit(
                module,
                "@dataclass\nclass ProcessPayload",
                "1 / 0\n\n\n@dataclass\nclass ProcessPayload",
            ):
                pass
        assert "ZeroDivisionError" in died.value.what
        assert died.value.where is not None
        assert "src/app.py:" in died.value.where

    @pytest.mark.parametrize("value", ["numpy.float32(0.5)", "numpy.array(0.5)"])
    def test_7_numpy_number_is_sent_as_a_number(self, module: Path, value: str) -> None:
        with self.edit(
            module, "score=0.0", f"score=__import__('numpy').{value.split('.', 1)[1]}"
        ) as foundry:
            assert foundry.call("process", {"text": ""}) == {"score": 0.5}

    def test_8_nan_fails_and_the_log_names_the_place(self, module: Path) -> None:
        with self.edit(module, "score=0.0", "score=float('nan')") as foundry:
            with pytest.raises(CallFailed, match="process failed on job"):
                foundry.call("process", {"text": ""})
            assert "process().score is nan, which JSON cannot carry" in foundry.output

    def test_9_set_fails_and_the_log_names_the_place(self, module: Path) -> None:
        with self.edit(module, "score=0.0", "score={1}") as foundry:
            with pytest.raises(CallFailed, match="process failed on job"):
                foundry.call("process", {"text": ""})
            assert "process().score is of type set, which the SDK cannot send" in foundry.output

    def test_14_exception_reaches_the_log_but_not_the_caller(self, module: Path) -> None:
        with self.edit(module, "score=0.0", "score={}['secret']") as foundry:
            with pytest.raises(CallFailed) as failed:
                foundry.call("process", {"text": ""})
            assert "secret" not in str(failed.value)
            assert "KeyError: 'secret'" in foundry.output

    def test_17_sigterm_ends_it_with_code_0(self, module: Path) -> None:
        with Foundry(module, [sys.executable, "src/app.py"]) as foundry:
            process = foundry.local.replicas[0]._process
            assert process is not None
            process.send_signal(signal.SIGTERM)
            assert process.wait(5) == 0
