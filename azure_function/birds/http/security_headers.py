"""Send security headers with every response: errors and files too."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "content-security-policy"
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"  # JSON and files: they load nothing
OWN_PAGE = f"{DATA_POLICY}; base-uri 'none'; form-action 'none'; connect-src 'self'"
# The visitor's page draws its photos from blob: URLs, and has its icon in a data: URL.
PAGE_POLICY = (
    f"{OWN_PAGE}; script-src 'self'; style-src 'self'; img-src data: blob:; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
# Swagger UI's style sheet has images in data: URLs.
DOCS_POLICY = f"{OWN_PAGE}; script-src 'self'; style-src 'self'; img-src 'self' data:"

# A photo comes from a file chooser, whose camera is the system's and needs no permission here.
UNUSED_FEATURES = (
    *("accelerometer", "autoplay", "camera", "display-capture", "encrypted-media"),
    *("geolocation", "gyroscope", "hid", "magnetometer", "microphone", "midi", "payment"),
    *("screen-wake-lock", "serial", "usb", "xr-spatial-tracking"),
)
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", ", ".join(f"{name}=()" for name in UNUSED_FEATURES).encode()),
]
POLICY_NAME = POLICY.encode()
HEADERS_OF_DATA = [*HEADERS, (POLICY_NAME, DATA_POLICY.encode())]


class SecurityHeadersMiddleware:
    """ASGI middleware: add HEADERS, and DATA_POLICY unless the response has a policy of its own."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and add the headers to its response."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                has_policy = any(name == POLICY_NAME for name, _ in headers)
                message["headers"] = headers + (HEADERS if has_policy else HEADERS_OF_DATA)
            await send(message)

        await self.app(scope, receive, send_with_headers)
