"""Antom's own software, for tests."""

from typing import Final

from tests.plugins.peers import Peer

SDK: Final = Peer(
    "Antom's official SDK",
    {
        "global_open_sdk_python-1.7.1-*.whl": "global-open-sdk-python==1.7.1",
        "rsa-*.whl": "rsa==4.9.1",
        "pyasn1-*.whl": "pyasn1>=0.6",
    },
)
run_with_sdk: Final = SDK.run
