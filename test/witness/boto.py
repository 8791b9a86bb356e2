"""MSK, Secrets Manager and KMS through boto3, as a script of somebody else's would use them."""

import json
import time
import uuid

import boto3
from botocore.exceptions import ClientError

NAME = "boto3-witness"


def refused(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        return [error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]]
    return None


def cluster():
    """Creates a cluster, associates one good secret of three, looks at everything, deletes it."""
    kafka, kms, secrets = boto3.client("kafka"), boto3.client("kms"), boto3.client("secretsmanager")
    provisioned = {
        "BrokerNodeGroupInfo": {"ClientSubnets": ["subnet-a"], "InstanceType": "kafka.m7g.large"},
        "KafkaVersion": "3.9.x",
        "NumberOfBrokerNodes": 1,
        "ClientAuthentication": {"Sasl": {"Scram": {"Enabled": True}}},
    }
    created = kafka.create_cluster_v2(ClusterName=NAME, Provisioned=provisioned, Tags={"team": "traffic"})
    arn = created["ClusterArn"]
    seen = [created["State"]]
    deadline = time.monotonic() + 120
    while seen[-1] != "ACTIVE" and time.monotonic() < deadline:
        state = kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]["State"]
        if state != seen[-1]:
            seen.append(state)
        time.sleep(0.2)
    configuration = kafka.create_configuration(Name=f"boto-{uuid.uuid4().hex[:8]}", KafkaVersions=["3.9.x"], ServerProperties=b"num.partitions=2\n")
    revision = kafka.describe_configuration_revision(Arn=configuration["Arn"], Revision=1)
    kafka.delete_configuration(Arn=configuration["Arn"])
    key = kms.create_key()["KeyMetadata"]["Arn"]
    run = uuid.uuid4().hex[:8]
    login = json.dumps({"username": "boto", "password": run})
    good = secrets.create_secret(Name=f"AmazonMSK_boto_{run}", SecretString=login, KmsKeyId=key)["ARN"]
    unprefixed = secrets.create_secret(Name=f"boto_{run}", SecretString=login, KmsKeyId=key)["ARN"]
    default_key = secrets.create_secret(Name=f"AmazonMSK_boto_default_{run}", SecretString=login)["ARN"]
    unprocessed = kafka.batch_associate_scram_secret(ClusterArn=arn, SecretArnList=[good, unprefixed, default_key])["UnprocessedScramSecrets"]
    pages = kafka.get_paginator("list_clusters_v2").paginate(ClusterNameFilter=NAME, PaginationConfig={"PageSize": 1})
    facts = {
        "states": seen,
        "listed": [cluster["ClusterName"] for page in pages for cluster in page["ClusterInfoList"]],
        "tags": kafka.list_tags_for_resource(ResourceArn=arn)["Tags"],
        "properties": revision["ServerProperties"].decode(),
        "configurations": [one["Name"] for one in kafka.list_configurations()["Configurations"] if one["Arn"] == configuration["Arn"]],
        "v1": kafka.describe_cluster(ClusterArn=arn)["ClusterInfo"]["NumberOfBrokerNodes"],
        "unprocessed": [[good, unprefixed, default_key].index(one["SecretArn"]) for one in unprocessed],
        "associated": kafka.list_scram_secrets(ClusterArn=arn)["SecretArnList"] == [good],
        "again": refused(kafka.create_cluster_v2, ClusterName=NAME, Provisioned=provisioned),
        "absent": refused(kafka.describe_cluster_v2, ClusterArn=arn + "x"),
        "bootstrap": kafka.get_bootstrap_brokers(ClusterArn=arn)["BootstrapBrokerStringSaslScram"],
        "password": run,
    }
    kafka.batch_disassociate_scram_secret(ClusterArn=arn, SecretArnList=[good])
    facts["left"] = kafka.list_scram_secrets(ClusterArn=arn)["SecretArnList"]
    facts["deleted"] = kafka.delete_cluster(ClusterArn=arn)["State"]
    while refused(kafka.describe_cluster_v2, ClusterArn=arn) is None and time.monotonic() < deadline:
        time.sleep(0.2)
    facts["gone"] = refused(kafka.describe_cluster_v2, ClusterArn=arn)
    for secret in (good, unprefixed, default_key):
        secrets.delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
    return facts


def stranger():
    """Whom each service turns away, and how."""
    wrong = {"aws_access_key_id": "AKIASOMEBODYELSE", "aws_secret_access_key": "x"}
    calls = {"kafka": "list_clusters_v2", "secretsmanager": "list_secrets", "kms": "list_keys", "sts": "get_caller_identity"}
    return {service: refused(getattr(boto3.client(service, **wrong), call)) for service, call in calls.items()}
