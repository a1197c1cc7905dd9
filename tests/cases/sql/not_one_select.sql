-- One text per line: what is no SELECT, or more than one.
;
-- nothing
SELECT 1; SELECT 2
SELECT 1; DROP TABLE trades
SELEC 1
COPY trades TO '/tmp/x.csv'
COPY (SELECT 1) TO '/tmp/x.parquet'
COPY trades FROM '/etc/passwd'
EXPORT DATABASE '/tmp/x'
IMPORT DATABASE '/tmp/x'
ATTACH '/tmp/x.db'
ATTACH ':memory:' AS m
DETACH memory
USE memory
INSTALL httpfs
FORCE INSTALL httpfs
LOAD httpfs
LOAD '/tmp/x.duckdb_extension'
SET memory_limit = '1TB'
SET GLOBAL threads = 64
RESET threads
SET enable_external_access = true
SET lock_configuration = false
PRAGMA version
PRAGMA database_list
PRAGMA memory_limit = '1TB'
PRAGMA show_tables
CREATE TABLE t (a INT)
CREATE TABLE t AS SELECT 1
CREATE VIEW v AS SELECT 1
CREATE TEMP TABLE t AS SELECT 1
CREATE MACRO f(a) AS a
CREATE SCHEMA s
CREATE SEQUENCE s
CREATE TYPE t AS ENUM ('a')
CREATE SECRET s (TYPE s3)
CREATE OR REPLACE VIEW trades AS SELECT 1
CREATE INDEX i ON trades (symbol)
INSERT INTO trades VALUES (1)
UPDATE trades SET price = 0
DELETE FROM trades
TRUNCATE trades
DROP VIEW trades
ALTER TABLE trades ADD COLUMN a INT
MERGE INTO trades USING trades ON true WHEN MATCHED THEN DELETE
BEGIN
COMMIT
ROLLBACK
CHECKPOINT
VACUUM
ANALYZE
CALL pragma_version()
EXPLAIN SELECT 1
EXPLAIN ANALYZE SELECT 1
PREPARE p AS SELECT 1
EXECUTE p
DEALLOCATE p
COMMENT ON TABLE trades IS 'x'
SET VARIABLE a = 1
RESET VARIABLE a
WITH x AS (SELECT 1) INSERT INTO trades SELECT * FROM x
WITH x AS (SELECT 1) DELETE FROM trades
PIVOT trades ON symbol
SHOW TABLES
SHOW ALL
DESCRIBE trades
SUMMARIZE trades
DESCRIBE SELECT 1
UNPIVOT trades ON price INTO NAME a VALUE b
