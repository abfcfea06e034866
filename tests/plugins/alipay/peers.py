"""Software that others wrote for Alipay's open platform, for tests.

The rule of this module: both Python packages are called `alipay`, so each runs alone, in a process of its own.
"""

from typing import Final

from tests.plugins.peers import NodePeer, Peer

OFFICIAL: Final = Peer(
    "Alipay's official SDK for Python",
    {
        "alipay_sdk_python-3.7.1411-*.whl": "alipay-sdk-python==3.7.1411",
        "pycryptodome-*.whl": "pycryptodome>=3.20",
        "rsa-*.whl": "rsa==4.9.1",
        "pyasn1-*.whl": "pyasn1>=0.6",
    },
)
THIRD_PARTY: Final = Peer(
    "python-alipay-sdk",
    {
        "python_alipay_sdk-3.4.0.tar.gz": "python-alipay-sdk==3.4.0",
        "pycryptodomex-*.whl": "pycryptodomex>=3.20",
        "pyopenssl-*.whl": "pyopenssl>=25",
    },
)
NODE: Final = NodePeer("Alipay's official SDK for Node", "alipay-sdk", "4.14.0")
