"""Dockerfiles are read as their builder reads them."""

from __future__ import annotations

import pytest

from foundry_cm.module.dockerfile import Stage, expand, instructions, parse

# One of each kind of line that the reference describes.
EACH_KIND = r"""# syntax=docker/dockerfile:1
ARG VERSION=3.12
# A comment.
FROM --platform=linux/amd64 python:${VERSION} AS build

RUN --mount=type=secret,id=a --mount=type=cache,target=/b \
    # a comment between
    pip install \

      numpy
RUN <<EOF
pip install pandas
# no comment here
EOF
COPY <<-"ONE" <<TWO /etc/
	one
	ONE
two
TWO
  from python:3.12-slim
RUN echo "a # b" << no-heredoc \\
ENV A=1 B="two words" C='$A' D=\$A
env OLD form of it
EXPOSE 8000/tcp 9000
COPY ["a b.txt", "/c/"]
SHELL ["/bin/sh", "-c"]
user 5000:5000
CMD ["python", "app.py"
ENTRYPOINT [ "python" , "-u" ]
RUN cat <<A && cat <<B
a
A
b
B
RUN python -c 'print(1<<2)' \
"""


def of(text: str) -> Stage:
    """The last stage of a Dockerfile."""
    return parse(text)[-1]


@pytest.mark.parametrize(
    "text",
    [
        EACH_KIND,
        "# escape=`\nFROM a\nRUN one `\n  two \\\nUSER 1\n",
        "FROM a\n# escape=`\nRUN one \\\n  two\n",
        "\ufeffFROM a\r\nRUN b \\\r\n  c\r\n",
        "FROM a\nRUN b \\  \n c\nRUN \\\nd\nRUN e\\\n",
    ],
)
def test_instructions_are_those_that_docker_itself_reads(text: str) -> None:
    docker = pytest.importorskip("dockerfile", reason="has no wheel for this system")
    theirs = [
        (
            command.cmd.upper(),
            command.start_line,
            list(command.flags),
            command.json,
            # The parser leaves it to the builder to strip the tabs of <<-.
            [heredoc.content.strip() for heredoc in command.heredocs],
        )
        for command in docker.parse_string(text)
    ]
    ours = [
        (
            found.name,
            found.line,
            [f"--{name}={value}" for name, value in found.flags],
            found.json_form is not None,
            list(found.heredocs),
        )
        for found in instructions(text)
    ]
    assert ours == theirs


def test_words_and_pairs_are_those_that_docker_itself_reads() -> None:
    docker = pytest.importorskip("dockerfile", reason="has no wheel for this system")
    theirs = {
        command.start_line: list(command.value)
        for command in docker.parse_string(EACH_KIND)
        if command.cmd.upper() in {"EXPOSE", "SHELL", "USER", "ENTRYPOINT"} or command.json
    }
    ours = {step.instruction.line: step.words for stage in parse(EACH_KIND) for step in stage.steps}
    assert {line: ours[line] for line in theirs} == theirs


def test_a_variable_has_its_value_where_its_turn_comes() -> None:
    stage = of(
        "ARG BASE=python\nARG TAG=3.12\nFROM ${BASE}:$TAG-slim\n"
        "USER $ID\nARG ID=5000\nUSER $ID\nARG TAG\nENV A=$TAG B=${A:-first}\nUSER ${A}$B${C}\n"
    )
    assert stage.base == "python:3.12-slim"
    users = [step.words for step in stage.steps if step.instruction.name == "USER"]
    assert users == [["$ID"], ["5000"], ["3.12first${C}"]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$A-${A}", "1-1"),
        ("${NO:-2}${EMPTY:-3}${EMPTY-4}", "23"),
        ("${A:+5}${NO:+6}${EMPTY:+7}${EMPTY+8}", "58"),
        ("${NO:-${A}}", "1"),
        (r"\$A $NO ${NO:?needed}", "$A $NO ${NO:?needed}"),
    ],
)
def test_a_variable_can_have_a_default(text: str, value: str) -> None:
    assert expand(text, {"A": "1", "EMPTY": ""}) == value


def test_a_stage_goes_on_from_an_earlier_one() -> None:
    stage = of("FROM a AS Base\nENV N=5000\nUSER 1\nFROM b\nUSER 2\nFROM base\nUSER $N\n")
    assert stage.root.base == "a"
    assert [step.words for step in stage.steps][1:] == [["1"], ["5000"]]


def test_a_name_that_comes_later_is_an_image() -> None:
    assert of("FROM b\nFROM a AS b\n").parent is None
    assert parse("FROM b\nFROM a AS b\n")[0].parent is None


def test_what_has_no_stage_is_empty() -> None:
    assert parse("# nothing\n\nRUN echo\n") == ()
