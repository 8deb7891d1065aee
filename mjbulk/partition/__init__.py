"""Imports past one machine: a plain function that any engine may call in any worker, for a part of a run.

Dask, Ray, Spark, Celery or Airflow cut the rows into partitions, choose workers and retry. What belongs to mjbulk is
the journal, which makes a retry harmless, and the quota that all workers share::

    spec = PartitionSpec(run_id="lake-2026-11-27", lists={42: "addnoforce"}, journal="postgresql://db/imports")
    report = import_partition(spec, "part-0007.parquet", "/lake/part-0007.parquet")  # in a worker

Reports of partitions can be merged. `mjbulk.dask` does all of this for Dask.
"""

from mjbulk.partition.by_address import partition_by_address
from mjbulk.partition.report import PartitionReport
from mjbulk.partition.spec import PartitionSpec
from mjbulk.partition.work import import_partition

__all__ = ["PartitionReport", "PartitionSpec", "import_partition", "partition_by_address"]
