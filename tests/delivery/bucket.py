"""A real S3-compatible server for the delivery tests: moto over TLS, which asks for signatures and permissions.

    bucket.py CERTIFICATE KEY BUCKET

Prints one line of JSON: its port, and the keys of two users: `both` may do everything in the bucket, `write` may only put
objects. Ends when its standard input does.
"""

import json
import os
import sys
import threading

os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "0"

from moto.backends import get_backend
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

ACCOUNT = "123456789012"


def user(name: str, actions: list[str], bucket: str) -> dict[str, str]:
    iam = get_backend("iam")[ACCOUNT]["aws"]
    iam.create_user(region_name="us-east-1", user_name=name)
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    statement = [{"Effect": "Allow", "Action": actions, "Resource": resources}]
    iam.put_user_policy(name, "usage", json.dumps({"Version": "2012-10-17", "Statement": statement}))
    key = iam.create_access_key(name)
    return {"id": key.access_key_id, "secret": key.secret_access_key}


def main() -> None:
    certificate, key, bucket = sys.argv[1:]
    s3 = get_backend("s3")[ACCOUNT]["aws"]
    s3.create_bucket(bucket, "us-east-1")
    both = user("both", ["s3:*"], bucket)
    write = user("write", ["s3:PutObject"], bucket)
    application = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, application, threaded=True, ssl_context=(certificate, key))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_port, "both": both, "write": write}), flush=True)
    sys.stdin.read()


main()
