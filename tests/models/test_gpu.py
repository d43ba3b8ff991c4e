"""Each GPU gets a PyTorch with kernels for it, and a replica says in one line what it runs on."""

import importlib.util
import logging
import os
import sys
import warnings
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from allpairspy import AllPairs

from tests.conftest import Render
from tests.models.conftest import TORCH, check_rendered

CARDS = {
    "t4": (7, 5),
    "v100": (7, 0),
    "a10g": (8, 6),
    "l4": (8, 9),
    "a100": (8, 0),
    "h100": (9, 0),
}
# What the builds of PyTorch 2.14 have kernels for: https://github.com/pytorch/pytorch/issues/190355
CU126 = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]
CU130 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]


@pytest.mark.parametrize("gpu", ["none", *CARDS])
def test_torch_comes_from_the_index_of_the_card(render: Render, gpu: str) -> None:
    lines = (render(**TORCH, gpu=gpu) / "requirements-template-torch.txt").read_text()
    wanted = {
        "none": ("whl/cpu", "torch>=2.6,<3"),
        "v100": ("whl/cu126", "torch>=2.6,<2.15"),
    }.get(gpu, ("whl/cu130", "torch>=2.9,<3"))
    index, *packages = [line for line in lines.splitlines() if not line.startswith("#")]
    assert index == f"--extra-index-url https://download.pytorch.org/{wanted[0]}"
    assert packages == [wanted[1]]
    built = CU126 if gpu == "v100" else CU130
    assert gpu == "none" or device_module(render, gpu)._runs_any(built, *CARDS[gpu])


@pytest.mark.parametrize("multi_stage", [False, True])
@pytest.mark.parametrize("gpu", ["none", "a100"])
def test_base_image_brings_no_second_cuda(render: Render, gpu: str, multi_stage: bool) -> None:
    module = render(**TORCH, gpu=gpu, multi_stage=multi_stage)
    bases = [
        line for line in (module / "Dockerfile").read_text().splitlines() if line.startswith("FROM")
    ]
    assert bases[-1] == "FROM --platform=linux/amd64 python:3.13-slim"


def device_module(render: Render, gpu: str, engine: str = "sentence-transformers") -> Any:
    """src/cmkit/model/device.py of a module for a GPU, imported."""
    path = render(example="embedding", engine=engine, gpu=gpu) / "src/cmkit/model/device.py"
    spec = importlib.util.spec_from_file_location(f"device_{gpu}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fake_torch(
    monkeypatch: pytest.MonkeyPatch,
    *,
    built: list[str] = CU130,
    capability: tuple[int, int] | None = None,
    warning: str | None = None,
) -> SimpleNamespace:
    """A torch of this build beside this card, or beside none."""

    def is_available() -> bool:
        if warning:
            warnings.warn(warning, stacklevel=2)
        return capability is not None

    torch = ModuleType("torch")
    state = SimpleNamespace(threads=99)
    torch.__dict__.update(
        __version__="2.14.1+cu130",
        cuda=SimpleNamespace(
            is_available=is_available,
            get_device_capability=lambda: capability,
            get_device_name=lambda: "Some Card",
            get_arch_list=lambda: built,
        ),
        set_num_threads=lambda count: setattr(state, "threads", count),
        get_num_threads=lambda: state.threads,
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    return state


@pytest.mark.parametrize("gpu", CARDS)
def test_a_card_with_kernels_is_used(
    render: Render, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, gpu: str
) -> None:
    built = CU126 if gpu == "v100" else CU130
    fake_torch(monkeypatch, built=built, capability=CARDS[gpu])
    with caplog.at_level(logging.INFO):
        assert device_module(render, gpu).pick_device() == "cuda"
    assert caplog.messages == ["Device: cuda, Some Card"]


def test_a_card_without_kernels_ends_the_module_with_one_line(
    render: Render, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake_torch(monkeypatch, built=["sm_80", "sm_90a", "compute_90"], capability=(7, 0))
    with pytest.raises(SystemExit) as ended:
        device_module(render, "a100").pick_device()
    assert ended.value.code == 1
    assert caplog.messages == [
        "torch 2.14.1+cu130 has no kernels for Some Card (sm_70), only for sm_80, sm_90a, compute_90; "
        "run on a GPU of type A100, or change the answer: copier update -d gpu=..."
    ]


@pytest.mark.parametrize(
    ("warning", "why"),
    [
        (None, "none is visible here"),
        (
            "CUDA initialization: The NVIDIA driver on your system is too old (found version "
            "12040). (Triggered internally at c10.cpp:15)",
            "CUDA initialization: The NVIDIA driver on your system is too old (found version 12040).",
        ),
    ],
)
def test_a_gpu_module_without_a_gpu_says_so(
    render: Render,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    warning: str | None,
    why: str,
) -> None:
    fake_torch(monkeypatch, warning=warning)
    assert device_module(render, "h100").pick_device() == "cpu"
    assert caplog.messages == [
        f"Device: cpu, though this module is built for a GPU of type H100: {why}"
    ]


@pytest.mark.parametrize(
    ("quota", "threads"), [("100000 100000", 1), ("250000 100000", 2), ("50000 100000", 1)]
)
def test_cpu_threads_follow_the_limit_of_the_container(
    render: Render, monkeypatch: pytest.MonkeyPatch, quota: str, threads: int
) -> None:
    state = fake_torch(monkeypatch)
    device = device_module(render, "none")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(16), raising=False)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: quota)
    assert device.pick_device() == "cpu"
    assert state.threads == threads


class Driver:
    """Stands in for the driver of NVIDIA, beside a card of a compute capability, or beside none."""

    def __init__(self, *capability: int) -> None:
        self.capability = capability

    def cuInit(self, _flags: int) -> int:  # noqa: N802  (the driver's names, here and below)
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = int(bool(self.capability))
        return 0

    def cuDeviceGetName(self, name: Any, _size: int, _card: int) -> int:  # noqa: N802
        name.value = b"Some Card"
        return 0

    def cuDeviceGetAttribute(self, value: Any, number: int, _card: int) -> int:  # noqa: N802
        value._obj.value = self.capability[number - 75]
        return 0


@pytest.mark.parametrize(
    ("driver", "device", "said"),
    [
        (Driver(8, 9), "cuda", "Device: cuda, Some Card"),
        (
            Driver(),
            "cpu",
            "Device: cpu, though this module is built for a GPU of type L4: none is visible here",
        ),
        (
            Driver(7, 0),
            None,
            "onnxruntime 1.31.1 has no kernels for Some Card (sm_70), only for sm_75 and newer; "
            "run on a GPU of type L4, or change the answer: copier update -d gpu=...",
        ),
    ],
)
def test_onnxruntime_is_given_only_a_card_that_it_has_kernels_for(
    render: Render,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    driver: Driver,
    device: str | None,
    said: str,
) -> None:
    loaded: list[str] = []
    onnxruntime = SimpleNamespace(__version__="1.31.1", preload_dlls=lambda: loaded.append("cuda"))
    monkeypatch.setitem(sys.modules, "onnxruntime", onnxruntime)
    module = device_module(render, "l4", "onnx")
    monkeypatch.setattr(module.ctypes, "CDLL", lambda _name: driver)
    with caplog.at_level(logging.INFO):
        if device:
            assert module.pick_device() == device
        else:
            with pytest.raises(SystemExit):
                module.pick_device()
    assert caplog.messages == [said]
    assert loaded == (["cuda"] if device == "cuda" else [])


def test_onnxruntime_comes_with_the_libraries_of_cuda_for_a_gpu(render: Render) -> None:
    def lines(**answers: str) -> list[str]:
        module = render(example="embedding", engine="onnx", **answers)
        assert not (module / "requirements-template-torch.txt").exists()
        return (module / "requirements-template.txt").read_text().splitlines()

    assert "onnxruntime>=1.32,<2" in lines()
    assert "onnxruntime-gpu[cuda,cudnn]>=1.31.1,<2" in lines(gpu="l4")
    with pytest.raises(ValueError, match="has no kernels for the V100"):
        lines(gpu="v100")


CHOICES: dict[str, list[Any]] = {
    "gpu": ["none", "v100", "l4"],
    "weights_strategy": ["baked", "downloaded"],
    "weights_origin": ["huggingface", "https", "foundry"],
    "weights_source": ["", "hub"],
    "multi_stage": [False, True],
    "python_version": ["3.11", "3.12", "3.13", "3.14"],
    "example": ["embedding", "yolo"],
    "engine": ["onnx", "sentence-transformers"],
}
MATRIX = [dict(zip(CHOICES, row, strict=True)) for row in AllPairs(list(CHOICES.values()))]
MATRIX = [row for row in MATRIX if (row["gpu"], row["engine"]) != ("v100", "onnx")]


@pytest.mark.slow
@pytest.mark.parametrize("answers", MATRIX, ids=lambda row: "-".join(map(str, row.values())))
def test_every_combination_is_formatted_and_linted(render: Render, answers: dict[str, Any]) -> None:
    module = render(**answers)
    check_rendered(module, ["ruff format --check .", "ruff check ."])


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"weights_repo": "MiniLM"}, 'such as "intfloat/e5-small-v2", not "MiniLM"'),
        ({"weights_revision": "a b"}, 'such as "main", not "a b"'),
        ({"weights_origin": "https", "weights_url": "http://x.org/"}, "Write an https address"),
        (
            {"weights_origin": "https", "weights_url": "https://me:pw@x.org/"},
            "Write an https address without credentials",
        ),
        (
            {"weights_origin": "https", "weights_files": ["../x"]},
            '"-" and "/" in a name, not "../x"',
        ),
        (
            {"weights_origin": "https", "weights_files": []},
            "Name at least one, such as [config.json",
        ),
        ({"gpu": "a10"}, "a10"),
        (
            {"weights_origin": "foundry", "weights_dataset": "parts"},
            "Copy the RID from the dataset",
        ),
        ({"weights_origin": "foundry", "weights_branch": "a b"}, "Write the name of a branch"),
        (
            {"weights_strategy": "downloaded", "weights_source": "my source"},
            "Write the API name of the Source",
        ),
    ],
)
def test_bad_answer_about_the_model_is_refused(
    render: Render, answers: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        render(example="embedding", **answers)
    assert reason in str(refused.value)
