"""How to connect to the brokers: TLS always, SASL/SCRAM from a secret scope or IAM from the cluster's own role."""

import os

_MODULES = {
    "scram": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "iam": "software.amazon.msk.auth.iam.IAMLoginModule",
}
_IAM_CALLBACK = "software.amazon.msk.auth.iam.IAMClientCallbackHandler"


def connection(auth: str, secret, on_databricks: bool = "DATABRICKS_RUNTIME_VERSION" in os.environ) -> dict:
    """Options of Spark's Kafka source. `secret(key)` reads the scope: bootstrap_servers, and for SCRAM username, password.

    Databricks ships the Kafka classes under other package names than open-source Spark, so the login module's name differs.
    """
    options = {
        "kafka.bootstrap.servers": secret("bootstrap_servers"),
        "kafka.security.protocol": "SASL_SSL",
    }
    if auth == "iam":
        prefix = "shadedmskiam." if on_databricks else ""
        return options | {
            "kafka.sasl.mechanism": "AWS_MSK_IAM",
            "kafka.sasl.jaas.config": f"{prefix}{_MODULES['iam']} required;",
            "kafka.sasl.client.callback.handler.class": f"{prefix}{_IAM_CALLBACK}",
        }
    prefix = "kafkashaded." if on_databricks else ""
    user, password = _quoted(secret("username")), _quoted(secret("password"))
    return options | {
        "kafka.sasl.mechanism": "SCRAM-SHA-512",
        "kafka.sasl.jaas.config": f"{prefix}{_MODULES['scram']} required username={user} password={password};",
    }


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
