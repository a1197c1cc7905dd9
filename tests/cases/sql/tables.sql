-- One statement per line: what FROM may not name.
SELECT * FROM read_csv('/etc/passwd')
SELECT * FROM read_csv_auto('/etc/passwd')
SELECT * FROM sniff_csv('/etc/passwd')
SELECT * FROM read_text('/etc/passwd')
SELECT * FROM read_blob('/etc/passwd')
SELECT * FROM read_json('/etc/passwd')
SELECT * FROM read_json_auto('/etc/passwd')
SELECT * FROM read_json_objects('/etc/passwd')
SELECT * FROM read_ndjson('/etc/passwd')
SELECT * FROM read_ndjson_objects('/etc/passwd')
SELECT * FROM read_parquet('/etc/passwd')
SELECT * FROM parquet_scan('/etc/passwd')
SELECT * FROM parquet_metadata('/etc/passwd')
SELECT * FROM parquet_schema('/etc/passwd')
SELECT * FROM parquet_file_metadata('/etc/passwd')
SELECT * FROM parquet_kv_metadata('/etc/passwd')
SELECT * FROM parquet_bloom_probe('/etc/passwd')
SELECT * FROM glob('/etc/passwd')
SELECT * FROM read_duckdb('/etc/passwd')
SELECT * FROM iceberg_scan('/etc/passwd')
SELECT * FROM delta_scan('/etc/passwd')
SELECT * FROM sqlite_scan('/etc/passwd')
SELECT * FROM postgres_scan('/etc/passwd')
SELECT * FROM query('/etc/passwd')
SELECT * FROM query_table('/etc/passwd')
SELECT * FROM arrow_scan('/etc/passwd')
SELECT * FROM pandas_scan('/etc/passwd')
SELECT * FROM python_map_function('/etc/passwd')
SELECT * FROM seq_scan('/etc/passwd')
SELECT * FROM checkpoint('/etc/passwd')
SELECT * FROM force_checkpoint('/etc/passwd')
SELECT * FROM json_execute_serialized_sql('/etc/passwd')
SELECT * FROM from_substrait('/etc/passwd')
SELECT * FROM st_read('/etc/passwd')
SELECT * FROM read_xlsx('/etc/passwd')
SELECT * FROM summary('/etc/passwd')
SELECT * FROM duckdb_settings()
SELECT * FROM duckdb_secrets()
SELECT * FROM duckdb_functions()
SELECT * FROM duckdb_tables()
SELECT * FROM duckdb_views()
SELECT * FROM duckdb_databases()
SELECT * FROM duckdb_extensions()
SELECT * FROM duckdb_memory()
SELECT * FROM duckdb_temporary_files()
SELECT * FROM duckdb_variables()
SELECT * FROM duckdb_logs()
SELECT * FROM duckdb_connections()
SELECT * FROM pragma_version()
SELECT * FROM pragma_database_size()
SELECT * FROM pragma_platform()
SELECT * FROM pragma_user_agent()
SELECT * FROM repeat_row()
SELECT * FROM test_all_types()
SELECT * FROM which_secret()
SELECT * FROM duckdb_optimizers()
SELECT * FROM duckdb_keywords()
SELECT * FROM duckdb_columns()
SELECT * FROM duckdb_external_file_cache()
SELECT * FROM sql_auto_complete()
SELECT * FROM icu_calendar_names()
SELECT * FROM pg_timezone_names()
SELECT * FROM duckdb_approx_database_count()
SELECT * FROM '/etc/passwd'
SELECT * FROM 'trades.parquet'
FROM 's3://bucket/x.parquet'
FROM 'https://example.com/x.csv'
FROM "/etc/passwd"
SELECT * FROM '*.csv'
SELECT * FROM information_schema.tables
SELECT * FROM pg_catalog.pg_settings
SELECT * FROM sqlite_master
SELECT * FROM memory.main.trades
SELECT * FROM main.trades
SELECT * FROM duckdb_settings
SELECT * FROM pg_tables
SELECT * FROM temp.trades
SELECT * FROM tail_rows
SELECT * FROM system.main.range(3)
SELECT * FROM nobody
SELECT * FROM trades AT (VERSION => 1)
SELECT * FROM trades TABLESAMPLE 10%
SELECT * FROM trades WHERE exchange_time_ns >= {T0} USING SAMPLE 3
SELECT * FROM (DESCRIBE trades)
SELECT * FROM (SHOW TABLES)
SELECT * FROM (PIVOT trades ON symbol USING count(*))
WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT * FROM r
WITH RECURSIVE trades AS (SELECT 1 AS n UNION ALL SELECT n FROM trades) SELECT * FROM trades
