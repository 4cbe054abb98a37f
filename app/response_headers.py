"""Headers of every response: what a browser may do with the page."""

from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from html.parser import HTMLParser

UNUSED_FEATURES = (  # the camera of a file chooser needs no permission
    *("accelerometer", "autoplay", "camera", "display-capture", "encrypted-media"),
    *("geolocation", "gyroscope", "hid", "magnetometer", "microphone", "midi", "payment"),
    *("screen-wake-lock", "serial", "usb", "xr-spatial-tracking"),
)
COMMON = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer, a page's POST would have no origin
    "Permissions-Policy": ", ".join(f"{feature}=()" for feature in UNUSED_FEATURES),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
CLOSED = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
DATA_POLICY = f"default-src 'none'; {CLOSED}"  # of everything but pages


class _InlineParts(HTMLParser):
    """Collect the inline scripts and styles of a page."""

    def __init__(self, page: str):
        super().__init__()
        self.parts: dict[str, list[str]] = {"script": [], "style": []}
        self._open: str | None = None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        is_data = "json" in (values.get("type") or "")
        self._open = tag if tag in self.parts and "src" not in values and not is_data else None
        if self._open:
            self.parts[tag].append("")

    def handle_data(self, data):
        if self._open:
            self.parts[self._open][-1] += data

    def handle_endtag(self, tag):
        self._open = None


def page_policy(page: str) -> str:
    """Return the policy of Voila's page: its inline scripts, and files of this server.

    anywidget imports its module from a blob: URL, and shows photos from others. JupyterLab's
    scripts insert styles.
    """
    return (
        f"default-src 'none'; script-src 'self' blob: {_hashes(page, 'script')}; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        f"connect-src 'self'; {CLOSED}"
    )


@lru_cache(maxsize=16)
def plain_policy(page: str) -> str:
    """Return the policy of a page without a kernel: its own inline script and style."""
    script, style = _hashes(page, "script") or "'none'", _hashes(page, "style") or "'none'"
    return f"default-src 'none'; script-src {script}; style-src {style}; img-src data:; {CLOSED}"


def _hashes(page: str, tag: str) -> str:
    digests = (sha256(part.encode()).digest() for part in _InlineParts(page).parts[tag])
    return " ".join(f"'sha256-{b64encode(digest).decode()}'" for digest in digests)
