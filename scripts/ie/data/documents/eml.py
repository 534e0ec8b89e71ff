"""Read mails with the standard library: subject, body, and attachments that are documents themselves."""

import email
import email.policy
from collections.abc import Callable
from email.message import EmailMessage

from ie.data.documents import plain
from ie.data.documents.blocks import Content, UnreadableDocument, clean, decode

MAX_DEPTH = 3  # of mails inside mails
MAX_PARTS = 200
# A reader of an attachment: its name, content and depth.
AttachmentReader = Callable[[str, bytes, int], Content]


def read(data: bytes, read_attachment: AttachmentReader, depth: int = 0) -> Content:
    """The blocks of a mail; those of an attachment carry its name.

    Args:
        depth: how many mails this one is inside of.
    """
    message = email.message_from_bytes(data, policy=email.policy.default)
    content = Content()
    content.add(_header(message, "subject"), "heading")
    for name in ("From", "To", "Date"):
        if value := _header(message, name):
            content.add(f"{name}: {value}")
    body, attachments = _parts(message)
    for part in body:
        _add_body(content, part, read_attachment)
    for part in attachments:
        _add_attachment(content, part, read_attachment, depth + 1)
    return content


def _header(message: EmailMessage, name: str) -> str:
    try:
        return clean(str(message.get(name, "")))
    except (ValueError, LookupError, IndexError, AttributeError):  # the parser fails on some broken headers
        return ""


def _parts(message: EmailMessage) -> tuple[list[EmailMessage], list[EmailMessage]]:
    """The parts of the body, and the attachments; of alternatives, the plain text or else the HTML."""
    body: list[EmailMessage] = []
    attachments: list[EmailMessage] = []
    waiting = [message]
    seen = 0
    while waiting:
        part = waiting.pop(0)
        seen += 1
        if seen > MAX_PARTS:
            raise UnreadableDocument(f"has more than {MAX_PARTS} parts")
        kind = part.get_content_type()
        inner = part.get_payload() if part.is_multipart() and kind != "message/rfc822" else None
        if isinstance(inner, list):
            if kind == "multipart/alternative":
                ranks = {"text/plain": 0, "text/html": 1}
                texts = [one for one in inner if one.get_content_type() in ranks]
                inner = sorted(texts, key=lambda one: ranks[one.get_content_type()])[:1] or inner
            waiting[:0] = inner
        elif part.get_content_maintype() == "image" and part.get_content_disposition() != "attachment":
            continue  # of the HTML: a logo, an icon
        elif kind in ("text/plain", "text/html") and part.get_content_disposition() != "attachment":
            body.append(part)
        else:
            attachments.append(part)
    return body, attachments


def _payload(part: EmailMessage) -> bytes:
    if part.get_content_type() == "message/rfc822":
        inner = part.get_payload()
        return inner[0].as_bytes() if isinstance(inner, list) and inner else b""
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _add_body(content: Content, part: EmailMessage, read_attachment: AttachmentReader) -> None:
    data = _payload(part)
    text, _ = decode(data, part.get_content_charset("") or "")
    if part.get_content_type() == "text/plain":
        plain.add_paragraphs(content, text)
        return
    for block in read_attachment("body.html", text.encode(errors="replace"), 0).blocks:
        content.add(block.text, block.kind)


def _add_attachment(
    content: Content, part: EmailMessage, read_attachment: AttachmentReader, depth: int
) -> None:
    is_mail = part.get_content_type() == "message/rfc822"
    name = clean(part.get_filename("") or "") or ("mail" if is_mail else part.get_content_type())
    if depth > MAX_DEPTH:
        content.notes.append(f"its attachment {name} is a mail inside {MAX_DEPTH} others and wasn't read")
        return
    try:
        inner = read_attachment(f"{name}.eml" if is_mail else name, _payload(part), depth)
    except UnreadableDocument as error:
        content.notes.append(f"its attachment {name} {error}")
        return
    content.notes += [f"of its attachment {name}: {note}" for note in inner.notes]
    for block in inner.blocks:
        block.part = f"{name}: {block.part}" if block.part else name
        block.lines = []  # a page's picture can only be made of a file
    content.blocks += inner.blocks
