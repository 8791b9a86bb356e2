"""Keeps a Spark with the plugin of Spark Connect running, until it is ended; spark-submit starts it.

Spark's own main class of Spark Connect gives every session a class loader of its own, whatever the settings say, and the code that Spark
generates is kept by class loader: each session, and so each task of a job, would compile and warm up the same code anew.
"""

import os
import signal

from py4j.java_gateway import GatewayParameters, JavaGateway

port, token = int(os.environ["PYSPARK_GATEWAY_PORT"]), os.environ["PYSPARK_GATEWAY_SECRET"]
java = JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=token)).jvm
java.org.apache.spark.sql.SparkSession.builder().getOrCreate()
while True:
    signal.pause()
