"""Where the service may listen while API keys are off."""

from __future__ import annotations

import pytest

from features.errors import CallError
from serving.http.address import require_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "127.1", "::1", "localhost"])
def test_the_loopback_is_one(host: str) -> None:
    require_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "0", "::", "10.0.0.1", "203.0.113.7", "2001:db8::1", "::ffff:10.0.0.1", "128.0.0.1"])
def test_another_address_is_refused(host: str) -> None:
    with pytest.raises(CallError) as refused:
        require_loopback(host)
    assert host in refused.value.where and "loopback" in refused.value.expected and "foresell key create" in refused.value.repair


@pytest.mark.parametrize("host", ["", "no such host", "x" * 70, "nul\0", "host.invalid"])
def test_a_name_that_means_no_address_is_refused(host: str) -> None:
    with pytest.raises(CallError, match="an address of this machine"):
        require_loopback(host)
