"""The provider interface: everything that a plugin imports.

Read `refundry.provider.interface` first.
"""

from refundry.errors import Forged, Invalid
from refundry.provider.codes import Code, CodeClass
from refundry.provider.interface import (
    Acknowledgement,
    Answer,
    Headers,
    HttpUrl,
    Notification,
    NotificationHandler,
    Provider,
    ProviderCall,
    ProviderPlugin,
    PublicKeyPem,
    RefundInstruction,
    ReportFormat,
    Request,
    Secret,
    Terms,
    VerifiedNotification,
)
from refundry.provider.outcomes import (
    Blocked,
    DefinitiveFailure,
    Informational,
    NotFound,
    NotSent,
    Outcome,
    Pending,
    Quote,
    Resend,
    Scope,
    Succeeded,
    Unknown,
)
from refundry.provider.strict_json import MAX_BYTES, Unreadable, read_object

__all__ = [
    "Acknowledgement",
    "Answer",
    "Blocked",
    "Code",
    "CodeClass",
    "ProviderCall",
    "DefinitiveFailure",
    "Forged",
    "Headers",
    "VerifiedNotification",
    "HttpUrl",
    "Invalid",
    "NotificationHandler",
    "MAX_BYTES",
    "Informational",
    "NotFound",
    "Notification",
    "NotSent",
    "RefundInstruction",
    "Outcome",
    "Pending",
    "Provider",
    "ProviderPlugin",
    "PublicKeyPem",
    "Quote",
    "read_object",
    "ReportFormat",
    "Request",
    "Resend",
    "Scope",
    "Secret",
    "Succeeded",
    "Terms",
    "Unknown",
    "Unreadable",
]
