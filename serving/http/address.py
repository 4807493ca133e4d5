"""The address a service listens at."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from contextlib import suppress
from pathlib import Path
from stat import S_ISSOCK

from features.errors import CallError, ForesellError

DESCRIPTORS = Path("/dev/fd")


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


def require_loopback(host: str) -> None:
    """See to it that nobody but this machine reaches what listens there: every address the host means is a loopback one.

    Raises:
        CallError: it means another address, every address, or none.
    """
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except (OSError, ValueError) as problem:
        raise _no_address(host, problem) from None
    outside = sorted(address for address in found if not ipaddress.ip_address(address).is_loopback)
    if outside:
        raise CallError(
            f"--host {host}",
            expected='a loopback address such as 127.0.0.1, ::1 or localhost, for API keys are off (`keys = "off"` in [serving])',
            received=", ".join(outside),
            repair='listen at 127.0.0.1, or set `keys = "required"` and make a key with `foresell key create`',
        )


def listening() -> set[str]:
    """The addresses at which this process listens, also those whose socket it was given by the process that started it."""
    found = set()
    for number in [int(path.name) for path in DESCRIPTORS.iterdir()]:
        with suppress(OSError):  # it was closed meanwhile, as that of this very folder is
            if S_ISSOCK(os.fstat(number).st_mode):
                with socket.socket(fileno=os.dup(number)) as one:
                    found |= _address(one)
    return found


def _address(one: socket.socket) -> set[str]:
    is_open = one.family in (socket.AF_INET, socket.AF_INET6) and one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    return {str(one.getsockname()[0])} if is_open else set()


def free_port(host: str) -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def url(host: str, port: int) -> str:
    """Where a caller on this machine finds the service."""
    named = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{named}:{port}"


def _no_address(host: str, problem: OSError | ValueError) -> CallError:
    return CallError(
        f"--host {host}",
        expected="an address of this machine, such as 127.0.0.1 or 0.0.0.0",
        received=getattr(problem, "strerror", None) or str(problem),
        repair="leave --host out to listen on the loopback only",
    )
