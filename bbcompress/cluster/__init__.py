"""Work on shards by many processes and machines: an engine on dask.distributed, which the extra `cluster` installs."""
