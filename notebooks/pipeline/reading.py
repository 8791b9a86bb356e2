"""Files that may not be there yet."""

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame


def if_there(read) -> DataFrame | None:
    """What `read()` gives, or None where its path does not exist; any other error (access, network) is raised."""
    try:
        found = read()
        # Spark Connect looks at a path no sooner than somebody asks.
        _ = found.schema
        return found
    except AnalysisException as error:
        # PATH_NOT_FOUND. Its condition does not come through Spark Connect where the path is long, its state does.
        if error.getSqlState() == "42K03":
            return None
        raise
