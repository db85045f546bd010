"""One call to the AWS API, as its request tells it, and the errors that answer it."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SCOPE = re.compile(r"Credential=([^/,\s]+)/\d+/[^/]+/([^/]+)/aws4_request")
_ERROR = (
    '<ErrorResponse xmlns="http://lab.invalid/"><Error><Type>Sender</Type><Code>{code}</Code>'
    "<Message>{message}</Message></Error><RequestId>lab</RequestId></ErrorResponse>"
)
_EC2_ERROR = (
    '<?xml version="1.0" encoding="UTF-8"?><Response><Errors><Error><Code>{code}</Code>'
    "<Message>{message}</Message></Error></Errors><RequestID>lab</RequestID></Response>"
)


@dataclass(frozen=True)
class Call:
    """service: as in an IAM action. action: empty where the request names none. params: the form, or the
    top level of a JSON body. key: the access key that signed it, empty if none did. source: address."""

    service: str
    action: str
    params: Mapping[str, str]
    key: str
    source: str

    @property
    def dry_run(self) -> bool:
        return self.service == "ec2" and self.params.get("DryRun", "").lower() == "true"

    def listed(self, name: str) -> list[str]:
        """The values of a parameter that may be given several times (`InstanceId.1`, …) or once."""
        return [value for key, value in self.params.items() if re.fullmatch(rf"{name}(\.\d+)?", key)]


@dataclass(frozen=True)
class Refusal:
    """An error as AWS answers it. status: with its reason."""

    status: str
    code: str
    message: str

    def body(self, service: str) -> bytes:
        text = _EC2_ERROR if service == "ec2" else _ERROR
        return text.format(code=self.code, message=self.message).encode()


def parse(environ: Mapping[str, Any], body: bytes) -> Call:
    """The call of a WSGI request. A request to no API has no action."""
    scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    key, service = scope.groups() if scope else ("", environ.get("HTTP_HOST", "").partition(".")[0])
    form = dict(urllib.parse.parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    action = form.get("Action", "")
    if target := environ.get("HTTP_X_AMZ_TARGET", ""):
        action, form = target.rpartition(".")[2], _json(body)
    return Call(service, action, form, key, source(environ))


def source(environ: Mapping[str, Any]) -> str:
    """The asker's address; an IPv4 one as such."""
    return environ.get("REMOTE_ADDR", "").removeprefix("::ffff:")


def _json(body: bytes) -> dict[str, str]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return {key: str(value) for key, value in found.items()} if isinstance(found, dict) else {}
