"""Past one machine, on PySpark 4 (the extra `spark`, and Java 17): logs to sequences, negatives, and the fleet.

Everything that decides a value is a function of the single-process way, run on a part of the data; here is only who
runs it where. So both ways give equal output, and nothing in this package but `session` knows of a cluster.
"""
