-- One statement per line: allowed, and more than the limits give.
SELECT count(*) FROM range(100000) a, range(100000) b, range(1000) c
SELECT list(a.range) FROM range(100000000) a
SELECT * FROM range(1000000000) ORDER BY 1 DESC
SELECT DISTINCT range FROM range(1000000000)
SELECT sum(range) OVER () FROM range(1000000000)
SELECT string_agg(range::VARCHAR, ',') FROM range(1000000000)
SELECT a.range FROM range(1000000) a JOIN range(1000000) b ON a.range <> b.range + 1 ORDER BY 1 DESC
SELECT count(*) FROM trades a, trades b, trades c, trades d, trades e, range(1000) WHERE a.exchange_time_ns >= {T0} AND b.exchange_time_ns >= {T0} AND c.exchange_time_ns >= {T0} AND d.exchange_time_ns >= {T0} AND e.exchange_time_ns >= {T0}
SELECT histogram(range) FROM range(1000000000)
SELECT map_from_entries(list((range, 1))) FROM range(100000000)
SELECT median(range) FROM range(1000000000)
SELECT unnest(list(range)) FROM range(100000000)
