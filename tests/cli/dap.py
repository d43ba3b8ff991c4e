"""An editor's end of the debug protocol (DAP): what VS Code does when somebody presses F5."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

Message = dict[str, Any]


class Editor:
    """Attached to a debugger at an address; it remembers what arrives until somebody asks for it."""

    def __init__(self, address: str, seconds: float = 30) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), seconds)
        self._file = self._socket.makefile("rwb")
        self._sequence = 0
        self._arrived: list[Message] = []

    def __enter__(self) -> Editor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._file.close()
        self._socket.close()

    def attach(self, *breakpoints: tuple[Path, int], **options: Any) -> None:
        """Attach with the options of a launch.json, and stop at these lines."""
        self.ask("initialize", adapterID="debugpy", pathFormat="path")
        number = self._send("attach", {"justMyCode": True, **options})
        told = self._next(
            lambda each: each.get("event") == "initialized" or each.get("request_seq") == number
        )
        assert "event" in told, told
        for path, line in breakpoints:
            told = self.ask(
                "setBreakpoints", source={"path": str(path)}, breakpoints=[{"line": line}]
            )
            assert told["breakpoints"][0]["verified"], told
        self.ask("configurationDone")

    def stopped(self) -> tuple[int, Message]:
        """Wait until the module stops; gives the thread and the topmost frame."""
        thread = self.event("stopped")["threadId"]
        return thread, self.ask("stackTrace", threadId=thread)["stackFrames"][0]

    def value(self, frame: Message, expression: str) -> str:
        """What an expression is in a frame."""
        told = self.ask("evaluate", expression=expression, frameId=frame["id"], context="watch")
        return str(told["result"])

    def go_on(self, thread: int) -> None:
        self.ask("continue", threadId=thread)

    def ask(self, command: str, **arguments: Any) -> Message:
        """The answer to a request."""
        number = self._send(command, arguments)
        answer = self._next(lambda each: each.get("request_seq") == number)
        assert answer["success"], answer
        return dict(answer.get("body") or {})

    def event(self, name: str) -> Message:
        """Wait for an event."""
        return dict(self._next(lambda each: each.get("event") == name).get("body") or {})

    def _send(self, command: str, arguments: Message) -> int:
        self._sequence += 1
        message = {"seq": self._sequence, "type": "request", "command": command}
        body = json.dumps(message | {"arguments": arguments}).encode()
        self._file.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self._file.flush()
        return self._sequence

    def _next(self, wanted: Callable[[Message], bool]) -> Message:
        for each in self._arrived:
            if wanted(each):
                self._arrived.remove(each)
                return each
        while True:
            message = self._read()
            if wanted(message):
                return message
            self._arrived.append(message)

    def _read(self) -> Message:
        size = 0
        while line := self._file.readline().strip():
            if line.lower().startswith(b"content-length:"):
                size = int(line.partition(b":")[2])
        assert size, "the debugger has hung up"
        return dict(json.loads(self._file.read(size)))
