"""What the notebooks share: plain Python over Spark SQL, the same on Databricks and on any other Spark with Delta.

    events      a Kafka payload -> event time, key, value, or the reason why it is a bad record
    kafka       how to connect to the brokers
    tables      names and definitions of raw, shards, windows, late_records
    shards      slices of a partition's offsets, with a digest each
    statistics  what a window's values amount to
    windows     which windows closed, what they hold, and how they are published
"""
