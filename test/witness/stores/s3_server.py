"""S3 on 127.0.0.1 (moto's), with one bucket; for whoever names the access key. Ends with its standard input."""

import os
import sys
from threading import Thread

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

port, bucket, access_key, secret_key = (os.environ[f"S3_{name}"] for name in ("PORT", "BUCKET", "ACCESS_KEY", "SECRET_KEY"))
moto = DomainDispatcherApplication(create_backend_app)


class Handler(MotoRequestHandler):
    def log_request(self, code="-", size="-"):
        pass


def application(environ, start_response):
    """moto answers anybody; S3 does not."""
    if f"Credential={access_key}/" in environ.get("HTTP_AUTHORIZATION", ""):
        return moto(environ, start_response)
    start_response("403 Forbidden", [("Content-Type", "application/xml")])
    return [b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"]


server = make_server("127.0.0.1", int(port), application, threaded=True, request_handler=Handler)
Thread(target=server.serve_forever, daemon=True).start()
client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", aws_access_key_id=access_key, aws_secret_access_key=secret_key)
client.create_bucket(Bucket=bucket)
print("ready", flush=True)
sys.stdin.read()
