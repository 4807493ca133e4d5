"""The address a service listens at."""

from __future__ import annotations

import errno
import socket

from features.errors import CallError, ForesellError


def require_free(host: str, port: int) -> None:
    """See to it that a service can listen there.

    Raises:
        ForesellError: something else listens there already, or the port is reserved.
        CallError: this machine has no such address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except socket.gaierror as problem:
            raise _no_address(host, problem) from None
        except OSError as problem:
            if problem.errno == errno.EADDRNOTAVAIL:
                raise _no_address(host, problem) from None
            raise ForesellError(
                f"port {port} of {host}",
                expected="a free port",
                received=problem.strerror or str(problem),
                repair="stop what listens there, or choose another with --port",
            ) from None


def free_port(host: str) -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def url(host: str, port: int) -> str:
    """Where a caller on this machine finds the service."""
    named = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{named}:{port}"


def _no_address(host: str, problem: OSError) -> CallError:
    return CallError(
        f"--host {host}",
        expected="an address of this machine, such as 127.0.0.1 or 0.0.0.0",
        received=problem.strerror or str(problem),
        repair="leave --host out to listen on the loopback only",
    )
