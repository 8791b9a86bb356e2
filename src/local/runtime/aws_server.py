"""Secrets Manager, KMS and STS for the local platform: moto's backends over TLS on 127.0.0.1, plus what moto leaves out.

moto takes any credentials and forgets everything at its end. Here each request must carry a valid Signature Version 4 of
the platform's one key pair, and secrets and keys are on disk before the request that changed them is answered.
Reads its settings from the environment (AWS_SERVER_*), never from argv: one of them is the secret access key.
"""

import hmac
import hashlib
import io
import json
import os
import pickle
import ssl
import sys
import threading
from datetime import datetime, timedelta, timezone
from urllib.parse import quote

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives import serialization
from moto.backends import get_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

SERVICES = ("secretsmanager", "kms", "sts")
KEPT = ("secretsmanager", "kms")
# A secret value has at most 64 KiB; nothing that these services take comes near this.
MOST_BODY_BYTES = 1 << 20
# How far apart the clocks may be, as at AWS.
CLOCK_SKEW = timedelta(minutes=5)


class Refused(Exception):
    def __init__(self, status, code, message):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Handler(MotoRequestHandler):
    # Also bounds the TLS handshake, which happens at the first read: a silent client holds one thread, and not for long.
    timeout = 60

    def log_request(self, code="-", size="-"):
        pass


def main() -> None:
    settings = {name: os.environ[f"AWS_SERVER_{name}"] for name in ("PORT", "CERT", "KEY", "STATE", "ACCESS_KEY", "SECRET_KEY")}
    state = State(settings["STATE"])
    state.load()
    credentials = Credentials(settings["ACCESS_KEY"], settings["SECRET_KEY"])
    application = Application(DomainDispatcherApplication(create_backend_app), credentials, state)
    server = make_server("127.0.0.1", int(settings["PORT"]), application, threaded=True, request_handler=Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(settings["CERT"], settings["KEY"])
    # Not in accept(): there one stalled handshake would stop every other client.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


class Application:
    """WSGI: checks the signature, lets moto answer, and keeps what changed before the answer goes out."""

    def __init__(self, moto, credentials, state):
        self.moto, self.credentials, self.state = moto, credentials, state
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        service = "unknown"
        try:
            body = read_body(environ)
            service = authenticate(environ, body, self.credentials)
        except Refused as refused:
            return refuse(service, environ, refused, start_response)
        environ["wsgi.input"] = io.BytesIO(body)
        # One at a time: a snapshot must not see half of another request's change.
        with self.lock:
            answer = b"".join(self.moto(environ, start_response))
            if service in KEPT:
                self.state.save()
        return [answer]


def read_body(environ) -> bytes:
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
    except ValueError:
        raise Refused(400, "SerializationException", "Content-Length is not a number") from None
    if length > MOST_BODY_BYTES or environ.get("HTTP_TRANSFER_ENCODING"):
        raise Refused(413, "RequestEntityTooLarge", f"the request body may have {MOST_BODY_BYTES} bytes, with a Content-Length")
    return environ["wsgi.input"].read(length)


def authenticate(environ, body: bytes, credentials: Credentials) -> str:
    """The service that a correctly signed request is for."""
    header = environ.get("HTTP_AUTHORIZATION", "")
    if not header.startswith("AWS4-HMAC-SHA256 "):
        raise Refused(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
    try:
        fields = dict(part.strip().split("=", 1) for part in header.removeprefix("AWS4-HMAC-SHA256 ").split(","))
        access_key, day, region, service, end = fields["Credential"].split("/")
        signed, signature = fields["SignedHeaders"].split(";"), fields["Signature"]
        stamp = environ["HTTP_X_AMZ_DATE"]
        signed_at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    except (KeyError, ValueError):
        raise Refused(403, "IncompleteSignatureException", "The Authorization header or X-Amz-Date is malformed") from None
    if service not in SERVICES or environ.get("PATH_INFO", "/") != "/":
        raise Refused(501, "NotImplemented", f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO')} of {service}: the platform has {', '.join(SERVICES)}")
    if not hmac.compare_digest(access_key.encode(), credentials.access_key.encode()):
        raise Refused(403, unknown_key_code(service), "The security token included in the request is invalid.")
    if abs(datetime.now(timezone.utc) - signed_at) > CLOCK_SKEW:
        raise Refused(403, wrong_signature_code(service), f"Signature expired: {stamp} is not within 5 minutes of the server's clock")
    expected = signature_of(environ, body, signed, stamp, region, service, credentials)
    complete = "host" in signed and end == "aws4_request" and stamp.startswith(day)
    if not complete or not hmac.compare_digest(expected.encode(), signature.encode()):
        raise Refused(403, wrong_signature_code(service), "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.")
    return service


def signature_of(environ, body: bytes, signed, stamp: str, region: str, service: str, credentials: Credentials) -> str:
    headers = {}
    for name in signed:
        key = name.upper().replace("-", "_")
        headers[name] = environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}", "")
    # botocore believes this header; whoever changed the body would not change it.
    if "x-amz-content-sha256" in headers:
        headers["x-amz-content-sha256"] = hashlib.sha256(body).hexdigest()
    query = environ.get("QUERY_STRING")
    url = f"https://{environ['HTTP_HOST']}{quote(environ.get('PATH_INFO', '/'))}" + (f"?{query}" if query else "")
    request = AWSRequest(method=environ["REQUEST_METHOD"], url=url, headers=headers, data=body)
    request.context["timestamp"] = stamp
    signer = SigV4Auth(credentials, service, region)
    return signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)


def unknown_key_code(service: str) -> str:
    return "InvalidClientTokenId" if service == "sts" else "UnrecognizedClientException"


def wrong_signature_code(service: str) -> str:
    return "SignatureDoesNotMatch" if service == "sts" else "InvalidSignatureException"


def refuse(service: str, environ, refused: Refused, start_response):
    """In the shape of the protocol: STS speaks XML, the others JSON."""
    if "/sts/" in environ.get("HTTP_AUTHORIZATION", ""):
        text = f"<ErrorResponse><Error><Type>Sender</Type><Code>{refused.code}</Code><Message>{refused.message}</Message></Error></ErrorResponse>"
        kind = "text/xml"
    else:
        text, kind = json.dumps({"__type": refused.code, "message": refused.message}), "application/x-amz-json-1.1"
    answer = text.encode()
    headers = [("Content-Type", kind), ("Content-Length", str(len(answer))), ("x-amzn-errortype", refused.code), ("Connection", "close")]
    start_response(f"{refused.status} {refused.code}", headers)
    return [answer]


class State:
    """moto's keys and secrets in one file of mode 0600, replaced whole. The file is this program's own: pickle is safe there."""

    def __init__(self, file: str):
        self.file, self.written = file, b""

    def load(self) -> None:
        try:
            with open(self.file, "rb") as file:
                self.written = file.read()
        except FileNotFoundError:
            return
        for service, accounts in pickle.loads(self.written).items():
            for (account, region), attributes in accounts.items():
                get_backend(service)[account][region].__dict__.update(attributes)

    def save(self) -> None:
        kept = {service: backends_of(service) for service in KEPT}
        buffer = io.BytesIO()
        StatePickler(buffer).dump(kept)
        if buffer.getvalue() == self.written:
            return
        temporary = f"{self.file}.new"
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(buffer.getvalue())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.file)
        self.written = buffer.getvalue()


def backends_of(service: str) -> dict:
    return {(account, region): backend.__dict__ for account, regions in get_backend(service).items() for region, backend in regions.items()}


class StatePickler(pickle.Pickler):
    def reducer_override(self, value):
        # A KMS key's material is an object of OpenSSL, which only knows how to export itself.
        if hasattr(value, "private_bytes"):
            der = value.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            return private_key, (der,)
        return NotImplemented


def private_key(der: bytes):
    return serialization.load_der_private_key(der, None)


if __name__ == "__main__":
    # Pickled by name: `private_key` must be found in this module whatever it is run as.
    sys.modules["aws_server"] = sys.modules["__main__"]
    private_key.__module__ = "aws_server"
    main()
