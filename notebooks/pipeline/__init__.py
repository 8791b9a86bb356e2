"""What the notebooks share: plain Python over Spark SQL, the same on Databricks and on any other Spark with Delta.

    events      a Kafka payload -> event time, key, value, or the reason why it is a bad record
    kafka       how to connect to the brokers
    tables      names and definitions of raw, shards, windows, late_records
    shards      slices of a partition's offsets, with a digest each
    statistics  what a window's values amount to
    merkle      one digest over a list of others
    objects     one shard as an object of the backup, written and read
    backup      which shards go to the backup
    manifest    what the backup says that it holds
    restore     is the backup whole, and its records back into a table
    drill       do restored records give the windows that are published
    reading     files that may not be there yet
    files       windows as Parquet on any filesystem
    rebuild     windows computed anew beside those that are published
    judged      which records the rule judges in another way now
    compared    what is published beside what was computed anew
    closing     up to where windows have closed
    late        records that come after their window was published
    windows     what closed windows hold, and how they are published
"""
