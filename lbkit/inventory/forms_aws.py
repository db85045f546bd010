"""The forms of what AWS names: ids, ARNs, and what SNS delivers to. forms.py says what a form is."""

from __future__ import annotations

from lbkit.inventory.forms import email, text

region = text(r"[a-z]{2}(-[a-z]+)+-[0-9]+", "an AWS region such as ap-northeast-2", r"[a-z0-9-]", 32)
allocation = text(r"eipalloc-[0-9a-f]{8,17}", "an allocation id (eipalloc-…)", r"[a-z0-9-]", 40)
interface_id = text(r"eni-[0-9a-f]{8,17}", "the id of a network interface (eni-…)", r"[a-z0-9-]", 40)
security_group = text(r"sg-[0-9a-f]{8,17}", "the id of a security group (sg-…)", r"[a-z0-9-]", 40)
role = text(r"[A-Za-z0-9_+=,.@-]+", "the name of a role, without its path", r"[A-Za-z0-9_+=,.@-]", 64)
profile = text(r"[A-Za-z0-9_.@+-]+", "the name of a profile", r"[A-Za-z0-9_.@+-]", 128)
topic = text(
    r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}",
    "the ARN of an SNS topic (arn:aws:sns:REGION:ACCOUNT:NAME)",
    r"[A-Za-z0-9:_-]",
    400,
)
access_key = text(r"[A-Z0-9]{16,128}", "the id of an access key (AKIA…)", r"[A-Z0-9]", 128)
# What SNS delivers to, by protocol.
ENDPOINTS = {
    "email": email,
    "email-json": email,
    "http": text(r"http://[A-Za-z0-9.\[\]:-]+(/.*)?", "an http:// URL", r"[!-?A-~]", 1024),
    "https": text(r"https://[A-Za-z0-9.\[\]:-]+(/.*)?", "an https:// URL", r"[!-?A-~]", 1024),
    "sms": text(r"\+[1-9][0-9]{6,14}", "a telephone number such as +821012345678", r"[+0-9]", 16),
    "sqs": text(r"arn:aws[a-z-]*:sqs:.+", "the ARN of a queue", r"[A-Za-z0-9:_.-]", 400),
    "lambda": text(r"arn:aws[a-z-]*:lambda:.+", "the ARN of a function", r"[A-Za-z0-9:_-]", 400),
}
endpoint = text(r"[!-~]+", "an e-mail address, a URL, a telephone number or an ARN", r"[!-~]", 1024)
