"""Keeps a Spark with Spark Connect running, until it is ended; spark-submit starts it.

Spark's own main class of Spark Connect gives every session a class loader of its own, whatever the settings say, and the code that Spark
generates is kept by class loader: each session, and so each task of a job, would compile and warm up the same code anew.
"""

import os
import signal

from py4j.java_gateway import GatewayParameters, JavaGateway

port, token = int(os.environ["PYSPARK_GATEWAY_PORT"]), os.environ["PYSPARK_GATEWAY_SECRET"]
java = JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=token)).jvm
session = java.org.apache.spark.sql.SparkSession.builder().getOrCreate()
# Not as a plugin: that opens the door before there is a session that others can be made of.
java.org.apache.spark.sql.connect.service.SparkConnectService.start(session.sparkContext())
while True:
    signal.pause()
