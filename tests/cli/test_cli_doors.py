"""The gRPC door and `gnomon mcp`, in real processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client as McpClient
from mcp.client.stdio import StdioServerParameters, stdio_client
from xai_sdk import Client
from xai_sdk.chat import user

from gnomon.app import locked

GNOMON = str(Path(sys.executable).with_name("gnomon"))
PATIENCE_S = 60


def environment() -> dict[str, str]:
    """The environment without settings; the weights stay where the tests keep them."""
    kept = "GNOMON_MODELS__DIR"
    return {k: v for k, v in os.environ.items() if not k.startswith("GNOMON_") or k == kept}


def up(home: Path, grpc_port: int) -> list[str]:
    quiet = ["--home", str(home), "--set", "log.level=error"]
    return [GNOMON, *quiet, "up", "--demo", "--port", "0", "--grpc-port", str(grpc_port)]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int, Any]]:
    """A home, the port of its gRPC door, and the process."""
    home = tmp_path_factory.mktemp("doors") / "home"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        up(home, port),
        cwd=home.parent,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Gnomon is at ")
    yield home, port, process
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0 and "Traceback" not in errors


def test_the_xai_sdk_asks_a_running_gnomon(door: tuple[Path, int, Any]) -> None:
    _, port, _ = door
    client = Client(api_key="k", api_host=f"127.0.0.1:{port}", use_insecure_channel=True)
    try:
        chat = client.chat.create(model="gnomon", messages=[user("What about the bridge?")])
        response = chat.sample()
    finally:
        client.close()
    assert response.content and response.citations


def test_without_the_library_it_says_what_to_install(tmp_path: Path) -> None:
    absent = tmp_path / "path" / "grpc"
    absent.mkdir(parents=True)
    (absent / "__init__.py").write_text("raise ModuleNotFoundError('No grpc', name='grpc')\n")
    done = subprocess.run(
        up(tmp_path / "home", 1),
        cwd=tmp_path, env=environment() | {"PYTHONPATH": str(absent.parent)},
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "gnomon[grpc]" in done.stderr


async def test_mcp_uses_the_running_server_and_else_opens_the_home_itself(
    door: tuple[Path, int, Any], tmp_path: Path
) -> None:
    running, _, _ = door
    env = environment() | {"GNOMON_DEMO__MODE": "off"}
    for home in (running, tmp_path / "home"):
        command = StdioServerParameters(
            command=GNOMON, args=["--home", str(home), "mcp"], env=env, cwd=tmp_path
        )
        with (tmp_path / "errors").open("w") as errors:
            async with McpClient(stdio_client(command, errlog=errors)) as client:
                listed = await client.call_tool("sources", {})
                found = await client.call_tool("search", {"query": "bridge"})
                assert not listed.is_error and not found.is_error
                if home is running:
                    assert listed.structured_content["sources"]
                    assert found.structured_content["hits"]
                else:
                    with locked(home):  # Nothing holds it between calls.
                        pass
