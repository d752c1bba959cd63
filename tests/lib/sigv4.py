# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures of AWS, version 4, as a client of S3 makes them: for what no ready-made client sends."""
import hashlib
import hmac
import time
import urllib.parse

EMPTY = hashlib.sha256(b"").hexdigest()


def now():
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def canonical_query(query):
    pairs = (p.partition("=") for p in query.split("&") if p)
    encoded = [tuple(urllib.parse.quote(urllib.parse.unquote_plus(x), safe="-_.~")
                     for x in (name, value)) for name, _, value in pairs]
    return "&".join(f"{n}={v}" for n, v in sorted(encoded) if n != "X-Amz-Signature")


def signature(method, target, headers, names, payload, when, scope, secret):
    """headers: values by lower-case name; names: what is signed; scope: date/region/s3/..."""
    path, _, query = target.partition("?")
    lines = "".join(f"{n}:{' '.join(headers.get(n, '').split())}\n" for n in names)
    canonical = "\n".join([method, path, canonical_query(query), lines, ";".join(names), payload])
    text = "\n".join(["AWS4-HMAC-SHA256", when, scope,
                      hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + secret).encode()
    for part in scope.split("/") + [text]:
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    return key.hex()


def signed(method, target, headers, payload, key_id, secret, host, region="us-east-1", when=None):
    """The headers with Host left out and Authorization added; target with its prefix."""
    when = when or now()
    headers = dict(headers, **{"x-amz-date": when, "x-amz-content-sha256": payload})
    lower = {name.lower(): value for name, value in headers.items()}
    lower["host"] = host
    names = sorted(lower)
    scope = f"{when[:8]}/{region}/s3/aws4_request"
    sign = signature(method, target, lower, names, payload, when, scope, secret)
    headers["Authorization"] = (f"AWS4-HMAC-SHA256 Credential={key_id}/{scope}, "
                                f"SignedHeaders={';'.join(names)}, Signature={sign}")
    return headers
